"""Frames of the prediction log: length, CRC-32, msgpack. A frame that is cut off or damaged ends what is
read.

A segment is the text `KPL1` and frames. A `Stream` frame names a revision once; `Batch` frames refer to
it and hold the tensors as the plane had them, so that the writer copies bytes and the reader pays for the
columns.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

from kernos.runtime.feedback import Value
from kernos.runtime.signature import Datatype, Signature
from kernos.runtime.tensors import Packed

MAGIC = b"KPL1"
_HEAD = struct.Struct("<II")


class Array(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a batch, row-major."""

    datatype: Datatype
    shape: list[int]
    values: Packed


class Stream(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """The revision that later batches mean by `number`, within one segment."""

    number: int
    boot: str
    app: str
    version: int
    signature: Signature


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """Predictions `first`, `first + 1`, … of a stream. `rows`, `principals` and `latencies_ms` have one
    entry each."""

    stream: int
    at_ms: int
    first: int
    rows: list[int]
    principals: list[str]
    latencies_ms: list[float]
    rescued: list[int]
    inputs: list[Array]
    outputs: list[Array]


class Notes(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Feedback of one request: (prediction id, values)."""

    at_ms: int
    principal: str
    items: list[tuple[str, dict[str, Value]]]


Frame = Stream | Batch | Notes


class FrameEncoder:
    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, frame: Frame) -> bytes:
        body = self._encoder.encode(frame)
        return _HEAD.pack(len(body), zlib.crc32(body)) + body


def whole_bytes(data: bytes) -> int:
    """How many bytes from the start are the mark and whole, undamaged frames."""
    return max((end for end, _ in _bodies(data)), default=0)


def frames(data: bytes) -> Iterator[Frame]:
    """The whole frames of a segment's bytes."""
    decoder = msgspec.msgpack.Decoder(Frame)
    for _, body in _bodies(data):
        if body:
            yield decoder.decode(body)


def _bodies(data: bytes) -> Iterator[tuple[int, memoryview]]:
    if data[: len(MAGIC)] != MAGIC:
        return
    view, start = memoryview(data), len(MAGIC)
    yield start, view[:0]
    while start + _HEAD.size <= len(data):
        size, checksum = _HEAD.unpack_from(data, start)
        body = view[start + _HEAD.size : start + _HEAD.size + size]
        if len(body) != size or zlib.crc32(body) != checksum:
            return
        start += _HEAD.size + size
        yield start, body
