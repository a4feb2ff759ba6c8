"""What kernel and warm parent say to each other: messages as JSON, each after its length in four bytes, big-
endian."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kernos.base.errors import CorruptError
from kernos.base.ids import RunId
from kernos.kernel.run import Exit, Limits

SOCKET = "warm.sock"
MESSAGE_LIMIT_BYTES = 2**20
_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Kernel: who lives? Whoever was connected before is not heard any more."""


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Kernel: fork a worker for the task in this folder."""

    run: RunId
    attempt: int
    entry: str
    folder: str
    limits: Limits


class Slay(msgspec.Struct, frozen=True, tag="slay"):
    """Kernel: kill this Run's processes, all of them."""

    run: RunId


class Quit(msgspec.Struct, frozen=True, tag="quit"):
    """Kernel: kill every Run, then end."""


class Born(msgspec.Struct, frozen=True, tag="born"):
    """Warm parent: this attempt lives."""

    run: RunId
    attempt: int
    pid: int


class Living(msgspec.Struct, frozen=True, tag="living"):
    """Warm parent: the answer to Hello."""

    pid: int
    children: list[Born]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Warm parent: this attempt is over, its exit.json is written."""

    exit: Exit


class Idle(msgspec.Struct, frozen=True, tag="idle"):
    """Warm parent: nothing to do for long. The kernel answers Quit, or does not answer."""


Message = Hello | Begin | Slay | Quit | Born | Living | Ended | Idle

_decoder = msgspec.json.Decoder(Message)


def pack(message: Message) -> bytes:
    body = msgspec.json.encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Messages out of bytes as they come. CorruptError on anything that is not one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MESSAGE_LIMIT_BYTES:
                raise CorruptError(f"A message of {length} bytes came over {SOCKET}.")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            try:
                messages.append(_decoder.decode(body))
            except msgspec.DecodeError as error:
                raise CorruptError(f"A message that came over {SOCKET} is not one: {error}.") from error
        return messages


def listen(home: Path) -> socket.socket:
    """Take over `home/warm.sock`, for this user alone."""
    listener = socket.socket(socket.AF_UNIX)
    (home / SOCKET).unlink(missing_ok=True)
    with _short(home) as path:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
    listener.listen(8)
    return listener


def connect(home: Path) -> socket.socket | None:
    """A connection to the warm parent of this home, or None where none listens."""
    link = socket.socket(socket.AF_UNIX)
    try:
        with _short(home) as path:
            link.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        link.close()
        return None
    return link


@contextmanager
def _short(home: Path) -> Iterator[str]:
    """A path to the socket of a few bytes: a Unix socket's address holds 107, a home may be deeper."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)
