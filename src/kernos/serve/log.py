"""The prediction log: what was asked, what was answered, and the labels that came back.

The plane hands batches over; a thread writes them, off the hot path. A segment is `<name>.open` while it
grows and `<name>.seg` once it is on disk for good. Predictions reach the file within `log_flush_s`;
feedback is on disk before it is acknowledged. Where the disk refuses, predictions are dropped and
counted, and answers go on.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from kernos.base.clock import Clock
from kernos.base.errors import CorruptError, KernosError, UnavailableError
from kernos.base.files import sync_folder
from kernos.runtime.engine import NUMPY_TYPES
from kernos.runtime.feedback import FeedbackItem, Value
from kernos.runtime.lane import Loaded
from kernos.runtime.plane import Answered
from kernos.runtime.signature import TensorSpec
from kernos.runtime.tensors import array_of
from kernos.serve.frames import MAGIC, Array, Batch, FrameEncoder, Notes, Stream, frames, whole_bytes

_log = logging.getLogger(__name__)

SEGMENT_BYTES = 8 * 2**20
SEGMENT_S = 1.0
"""A segment waits no longer than this for its reader."""
WAITING_BYTES = 64 * 2**20
"""Predictions that may wait for a disk that hangs; more are dropped and counted."""
_JOIN_S = 30.0


class Prediction(msgspec.Struct):
    id: str
    at_ms: int
    app: str
    version: int
    """That answered."""
    principal: str
    inputs: dict[str, list[Any]]
    """Column -> values, one per row; an input that is no table under its own name."""
    outputs: dict[str, list[Any]]
    latency_ms: float
    rescued: bool
    """A canary failed on it."""


class Feedback(msgspec.Struct):
    id: str
    """`<prediction id>` or `<prediction id>:<row>`."""
    at_ms: int
    principal: str
    values: dict[str, Value]


class PredictionLog:
    """Writes segments to `folder`. `record` and `feedback` are for one thread, the event loop's; they do
    not block."""

    def __init__(self, folder: Path, boot: str, clock: Clock, *, flush_s: float) -> None:
        self.dropped = 0
        """Predictions that were not written."""
        self._folder = folder
        self._clock = clock
        self._flush_s = flush_s
        self._segments = _Segments(folder, boot, clock)
        self._waiting: deque[Answered | _Told] = deque()
        self._given_bytes = 0  # written by the event loop
        self._taken_bytes = 0  # written by the thread: two counters need no lock
        self._something = threading.Event()
        self._urgent = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)

    def open(self) -> None:
        """Finish what dead planes left open, then begin to write. The caller is the only plane of this
        home."""
        self._folder.mkdir(parents=True, exist_ok=True)
        finish_leftovers(self._folder)
        self._thread.start()

    def close(self) -> None:
        """Write all there is, finish the segment, end the thread."""
        self._is_closed = True
        self._urgent.set()
        self._something.set()
        self._thread.join(_JOIN_S)

    def record(self, answered: Answered) -> None:
        weight = _weight(answered)
        if self._given_bytes - self._taken_bytes + weight > WAITING_BYTES:
            self.dropped += len(answered.rows)
            return
        self._given_bytes += weight
        self._waiting.append(answered)
        if not self._something.is_set():
            self._something.set()

    def feedback(
        self, items: Sequence[FeedbackItem], principal: str, done: Callable[[KernosError | None], None]
    ) -> None:
        """`done` is called from the log's thread when the items are on disk, or with why they are not."""
        notes = Notes(self._clock.wall_ms(), principal, [(item.id, item.values) for item in items])
        self._waiting.append(_Told(notes, done))
        self._something.set()
        self._urgent.set()

    def _work(self) -> None:
        """Wait for something, let it gather for `flush_s`, write it; finish the segment when it is due."""
        while True:
            due_s = self._segments.due_in_s()
            if self._something.wait(due_s):
                self._something.clear()
                self._urgent.wait(self._flush_s)
                self._urgent.clear()
            is_last = self._is_closed
            self._write_waiting()
            if is_last or self._segments.due_in_s() == 0.0:
                self._finish()
            if is_last:
                return

    def _write_waiting(self) -> None:
        taken: list[Answered | _Told] = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        if not taken:
            return
        self._taken_bytes += sum(_weight(one) for one in taken if isinstance(one, Answered))
        told = [one for one in taken if isinstance(one, _Told)]
        problem: KernosError | None = None
        try:
            self._segments.write(taken, is_sync=bool(told))
        except OSError as error:
            _log.exception("the prediction log cannot be written")
            self.dropped += sum(len(one.rows) for one in taken if isinstance(one, Answered))
            reason = error.strerror or str(error)
            problem = UnavailableError(f"Feedback cannot be kept: {reason}.", hint="Send it again later.")
        for one in told:
            one.done(problem)

    def _finish(self) -> None:
        try:
            self._segments.finish()
        except OSError:
            _log.exception("a segment of the prediction log cannot be finished")


class _Told:
    """Feedback, and whom to tell."""

    __slots__ = ("done", "notes")

    def __init__(self, notes: Notes, done: Callable[[KernosError | None], None]) -> None:
        self.notes = notes
        self.done = done


def _weight(answered: Answered) -> int:
    """Bytes it holds, about."""
    return 512 + sum([len(v) if isinstance(v, bytes) else 64 * len(v) for v in answered.inputs.values])


class _Segments:
    """The growing file, and the frames in it. Used by the log's thread alone."""

    def __init__(self, folder: Path, boot: str, clock: Clock) -> None:
        self._folder = folder
        self._boot = boot
        self._clock = clock
        self._encoder = FrameEncoder()
        self._count = 0
        self._file: BinaryIO | None = None
        self._path = folder
        self._size = 0
        self._since_s = 0.0
        self._streams: dict[tuple[str, int, str], int] = {}

    def due_in_s(self) -> float | None:
        """Seconds until the segment must be finished; None while there is none."""
        if self._file is None:
            return None
        if self._size > SEGMENT_BYTES:
            return 0.0
        return max(0.0, self._since_s + SEGMENT_S - self._clock.monotonic_s())

    def write(self, taken: Iterable[Answered | _Told], *, is_sync: bool) -> None:
        file = self._file or self._begin()
        data = b"".join([frame for one in taken for frame in self._frames(one)])
        try:
            file.write(data)
            file.flush()
            if is_sync:
                os.fsync(file.fileno())
        except OSError:
            self._abandon()
            raise
        self._size += len(data)

    def finish(self) -> None:
        """Fsync and rename: from here on the segment is its reader's."""
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            os.fsync(file.fileno())
        self._path.rename(self._path.with_suffix(".seg"))
        sync_folder(self._folder)

    def _begin(self) -> BinaryIO:
        self._path = self._folder / f"{self._boot}-{self._count:08d}.open"
        file = self._path.open("xb")
        self._count += 1
        self._file = file
        self._streams = {}
        self._since_s = self._clock.monotonic_s()
        self._size = file.write(MAGIC)
        return file

    def _abandon(self) -> None:
        """After a failed write: keep the frames that were whole, go on in a new file."""
        file, self._file = self._file, None
        with suppress(OSError):
            if file is not None:
                file.close()
        with suppress(OSError):
            finish_leftovers(self._folder)

    def _frames(self, one: Answered | _Told) -> list[bytes]:
        if isinstance(one, _Told):
            return [self._encoder.encode(one.notes)]
        number, head = self._stream(one.model)
        signature, given = one.model.signature, one.inputs
        inputs = [
            Array(spec.datatype, shape, values)
            for spec, shape, values in zip(signature.inputs, given.shapes, given.values, strict=True)
        ]
        outputs = [_packed(spec, array) for spec, array in zip(signature.outputs, one.outputs, strict=True)]
        batch = Batch(
            number,
            one.at_ms,
            one.first,
            one.rows,
            one.principals,
            one.latencies_ms,
            one.rescued,
            inputs,
            outputs,
        )
        return [*head, self._encoder.encode(batch)]

    def _stream(self, model: Loaded) -> tuple[int, list[bytes]]:
        key = (model.app, model.version, model.digest)
        number = self._streams.get(key)
        if number is not None:
            return number, []
        number = self._streams[key] = len(self._streams)
        return number, [
            self._encoder.encode(Stream(number, self._boot, model.app, model.version, model.signature))
        ]


def finish_leftovers(folder: Path) -> None:
    """Rename segments that dead planes left open, cut to their whole frames; remove empty ones."""
    for path in sorted(folder.glob("*.open")):
        whole = whole_bytes(path.read_bytes())
        if whole <= len(MAGIC):
            path.unlink()
            continue
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
        path.rename(path.with_suffix(".seg"))
    sync_folder(folder)


def read_segment(path: Path) -> list[Prediction]:
    """All predictions of a segment, oldest first; a torn tail is dropped. CorruptError for another file."""
    predictions: list[Prediction] = []
    streams: dict[int, Stream] = {}
    for frame in _frames_of(path):
        if isinstance(frame, Stream):
            streams[frame.number] = frame
        elif isinstance(frame, Batch):
            predictions += _expand(frame, streams[frame.stream])
    return predictions


def read_feedback(path: Path) -> list[Feedback]:
    """All feedback of a segment, oldest first; a torn tail is dropped. CorruptError for another file."""
    return [
        Feedback(id_, frame.at_ms, frame.principal, values)
        for frame in _frames_of(path)
        if isinstance(frame, Notes)
        for id_, values in frame.items
    ]


def _frames_of(path: Path) -> list[Stream | Batch | Notes]:
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise CorruptError(f"{path.name} is not a segment of the prediction log.", hint="Move it away.")
    return list(frames(data))


def _expand(batch: Batch, stream: Stream) -> list[Prediction]:
    """One Prediction a request, its tensors as columns."""
    signature = stream.signature
    inputs = _columns(signature.inputs, batch.inputs)
    outputs = _columns(signature.outputs, batch.outputs)
    rescued = set(batch.rescued)
    is_whole = len(batch.rows) == 1
    predictions, start = [], 0
    for place, rows in enumerate(batch.rows):
        part = slice(None) if is_whole else slice(start, start + rows)
        start += rows
        predictions.append(
            Prediction(
                id=f"{stream.boot}-{batch.first + place:x}",
                at_ms=batch.at_ms,
                app=stream.app,
                version=stream.version,
                principal=batch.principals[place],
                inputs={name: values[part] for name, values in inputs.items()},
                outputs={name: values[part] for name, values in outputs.items()},
                latency_ms=batch.latencies_ms[place],
                rescued=place in rescued,
            )
        )
    return predictions


def _columns(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for spec, array in zip(specs, arrays, strict=True):
        values = array_of(array.values, array.datatype, array.shape)
        if values.ndim == 2 and len(spec.columns) == values.shape[1]:
            columns |= dict(zip(spec.columns, values.T.tolist(), strict=True))
        else:
            is_column = values.ndim == 2 and values.shape[1] == 1
            columns[spec.name] = (values[:, 0] if is_column else values).tolist()
    return columns


def _packed(spec: TensorSpec, array: np.ndarray) -> Array:
    if spec.datatype == "BYTES":
        return Array(spec.datatype, list(array.shape), [str(text) for text in array.ravel().tolist()])
    exact = array.astype(NUMPY_TYPES[spec.datatype], copy=False)
    return Array(spec.datatype, list(array.shape), exact.tobytes())
