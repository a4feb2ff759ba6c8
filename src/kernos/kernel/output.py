"""A Run's log: what its processes print, up to a limit; the rest is read and dropped, and the log says how
much."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from kernos.base.units import show_bytes

_CHUNK_BYTES = 2**20
_READS = 8
"""Reads a turn: a Run that prints without end must not keep the others waiting."""


class Output:
    """The reading end of a pipe, and the log it goes to. Never blocks, never raises for a full disk."""

    def __init__(self, path: Path, attempt: int, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._log).st_size
        self._dropped = 0
        self.is_open = True
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        with suppress(OSError):  # a user has a quota of pipe pages: the usual size is only slower
            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        if attempt > 1:
            self._write(f"[kernos: attempt {attempt}]\n".encode())

    @property
    def size_bytes(self) -> int:
        return self._size

    def drain(self) -> bool:
        """Read what is there; False once every writer has closed."""
        for _ in range(_READS):
            try:
                data = os.read(self.reading, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            room = max(0, self._limit_bytes - self._size)
            self._dropped += len(data) - self._write(data[:room])
        return True

    def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        if self._dropped:
            limit = show_bytes(self._limit_bytes)
            dropped = show_bytes(self._dropped)
            self._write(
                f"\n[kernos: {dropped} more were printed and dropped; the limit is {limit}]\n".encode()
            )
        os.close(self.reading)
        os.close(self._log)

    def _write(self, data: bytes) -> int:
        """How much went to the log; less than all where the disk is full."""
        try:
            written = os.write(self._log, data) if data else 0
        except OSError:
            return 0
        self._size += written
        return written
