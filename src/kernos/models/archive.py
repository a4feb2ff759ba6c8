"""A zip with one possible spelling: the same files are the same bytes, on every machine.

Each byte outside the files follows from their names, sizes and checksums: stored, in order, without times.
So the reader does not interpret a foreign zip; it works out what the archive must look like and compares. A
hidden entry, a second entry of one name, a link, compression, a comment, bytes before, between or after are
then all the same finding: not ours.
Format: APPNOTE 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, without zip64.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from kernos.base.digests import of_bytes
from kernos.base.errors import CorruptError, LimitError, RefusedError
from kernos.base.ids import Digest
from kernos.base.units import show_bytes

TOTAL_LIMIT_BYTES = 2**30
"""A package is held in memory by whoever makes it, and zip without zip64 ends at 4 GiB."""
FILES_LIMIT = 64
NAME_LIMIT_BYTES = 100
_CHUNK_BYTES = 2**20
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _UNIX = 10, 3 << 8 | 10
_MIDNIGHT, _YEAR_1980 = 0, 0x21
_MODE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive."""

    name: str
    digest: Digest
    checksum: int
    """CRC-32, as zip wants it."""
    offset: int
    """Where its bytes begin in the archive."""
    size_bytes: int


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of `files`. LimitError above `TOTAL_LIMIT_BYTES`."""
    total = sum(len(data) for data in files.values())
    if total > TOTAL_LIMIT_BYTES or len(files) > FILES_LIMIT:
        raise LimitError(
            f"The package has {len(files)} files of {show_bytes(total)}.",
            hint=f"A package holds {FILES_LIMIT} files and {show_bytes(TOTAL_LIMIT_BYTES)} at most.",
        )
    parts: list[bytes] = []
    entries: list[Entry] = []
    offset = 0
    for name in sorted(files):
        data = files[name]
        header = _local(name, zlib.crc32(data), len(data))
        entries.append(Entry(name, of_bytes(data), zlib.crc32(data), offset + len(header), len(data)))
        parts += [header, data]
        offset += len(header) + len(data)
    return b"".join([*parts, _directory(entries)])


def scan(file: BinaryIO, is_expected: Callable[[str], bool]) -> tuple[list[Entry], Digest]:
    """Read the archive once, front to back, in bounded memory: its files, and the digest of the whole.

    RefusedError for a name that is not expected and for anything `pack` would not have written;
    CorruptError for bytes that do not fit their checksum or that are missing; LimitError beyond the bounds.
    """
    reader = _Reader(file)
    entries: list[Entry] = []
    while (head := reader.take(4)) == b"PK\x03\x04":
        entries.append(_entry(reader, head, entries, is_expected))
    directory = _directory(entries)
    rest = head + reader.take_rest(len(directory))
    if rest != directory:
        if directory.startswith(rest):
            raise _cut_off()
        raise _not_ours("its directory is not the one its files call for")
    return entries, reader.digest()


class _Reader:
    """A file read forward, hashed as it goes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.offset = 0

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes, CorruptError where the file ends before."""
        data = self._file.read(size)
        if len(data) != size:
            raise _cut_off()
        self._hash.update(data)
        self.offset += size
        return data

    def take_rest(self, expected: int) -> bytes:
        """What is left, but one byte more than expected at most: enough to see that there is too much."""
        data = self._file.read(expected - 4 + 1)
        self._hash.update(data)
        return data

    def digest(self) -> Digest:
        return Digest("sha256:" + self._hash.hexdigest())


def _entry(reader: _Reader, head: bytes, before: list[Entry], is_expected: Callable[[str], bool]) -> Entry:
    header = head + reader.take(_LOCAL.size - 4)
    fields = _LOCAL.unpack(header)
    checksum, size, name_bytes = fields[6], fields[8], fields[9]
    if name_bytes > NAME_LIMIT_BYTES or len(before) >= FILES_LIMIT:
        raise _not_ours("it has too many files or too long a name")
    raw = reader.take(name_bytes)
    name = raw.decode("ascii", errors="replace")
    if not is_expected(name) or (before and name <= before[-1].name):
        raise _not_ours(f"there is no place for a file {name!r}")
    if header + raw != _local(name, checksum, size):
        raise _not_ours(f"{name} is not stored as plain bytes")
    if sum(entry.size_bytes for entry in before) + size > TOTAL_LIMIT_BYTES:
        raise LimitError(
            f"The package holds more than {show_bytes(TOTAL_LIMIT_BYTES)}.", hint="Make a smaller model."
        )
    offset = reader.offset
    digest = _content(reader, name, size, checksum)
    return Entry(name, digest, checksum, offset, size)


def _content(reader: _Reader, name: str, size: int, checksum: int) -> Digest:
    hasher, found, left = hashlib.sha256(), 0, size
    while left:
        chunk = reader.take(min(left, _CHUNK_BYTES))
        hasher.update(chunk)
        found = zlib.crc32(chunk, found)
        left -= len(chunk)
    if found != checksum:
        raise CorruptError(f"The package's {name} does not fit its checksum.", hint="Copy it again.")
    return Digest("sha256:" + hasher.hexdigest())


def _local(name: str, checksum: int, size: int) -> bytes:
    raw = name.encode()
    head = _LOCAL.pack(
        b"PK\x03\x04", _VERSION, 0, 0, _MIDNIGHT, _YEAR_1980, checksum, size, size, len(raw), 0
    )
    return head + raw


def _directory(entries: list[Entry]) -> bytes:
    """All that follows the last file."""
    parts = []
    for entry in entries:
        raw = entry.name.encode()
        parts.append(
            _CENTRAL.pack(
                b"PK\x01\x02", _UNIX, _VERSION, 0, 0, _MIDNIGHT, _YEAR_1980, entry.checksum, entry.size_bytes,
                entry.size_bytes, len(raw), 0, 0, 0, 0, _MODE, entry.offset - _LOCAL.size - len(raw),
            )
            + raw
        )  # fmt: skip
    listing = b"".join(parts)
    end = entries[-1].offset + entries[-1].size_bytes if entries else 0
    return listing + _END.pack(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(listing), end, 0)


def _cut_off() -> CorruptError:
    return CorruptError("The package is cut off.", hint="Copy it again, whole.")


def _not_ours(why: str) -> RefusedError:
    return RefusedError(f"This is not a package Kernos made: {why}.", hint="Get it again from its source.")
