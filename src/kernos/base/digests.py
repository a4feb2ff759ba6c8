"""SHA-256 of bytes, files and values. The same value has the same digest on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from kernos.base.ids import Digest

_CHUNK_BYTES = 1 << 20
_canonical = msgspec.json.Encoder(order="deterministic")


def of_bytes(data: bytes | memoryview) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def of_file(path: Path) -> Digest:
    """The digest of a file of any size, in one mebibyte of memory."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return Digest("sha256:" + hasher.hexdigest())


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the bytes that digests of values are taken over."""
    return _canonical.encode(value)


def of_value(value: Any) -> Digest:
    return of_bytes(canonical(value))
