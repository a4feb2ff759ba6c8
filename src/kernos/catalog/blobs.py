"""Bytes by digest. A read never returns other bytes; a blob is there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from kernos.base import digests
from kernos.base.errors import CorruptError, NotFoundError, UnavailableError
from kernos.base.files import sync_folder
from kernos.base.ids import Digest, parse_digest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from obstore.store import ObjectStore

_CHUNK_BYTES = 1 << 20
_ABANDONED_S = 86_400
"""A temporary file older than this belongs to nobody: no blob takes a day to write."""
_PREFIX = "blobs"
_DISK_ERRORS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is used up",
    errno.EACCES: "The disk may not be written by this user",
    errno.EROFS: "The disk is read-only",
    errno.EIO: "The disk failed",
}


class Blobs(Protocol):
    """Where bytes live. Thread-safe; many processes may use one place.

    Putting the same bytes again is harmless. A crash leaves a blob whole or absent. Unknown digests are
    NotFoundError, changed bytes CorruptError, storage that fails UnavailableError with nothing left behind;
    what is no digest is InvalidError.
    """

    def put(self, data: bytes) -> Digest: ...

    def put_file(self, path: Path) -> Digest:
        """Copy a file of any size in, in bounded memory."""
        ...

    def get(self, digest: Digest) -> bytes:
        """The bytes, verified."""
        ...

    def path(self, digest: Digest) -> Path:
        """A local file with these bytes, to read only; verified once, and again when it has changed."""
        ...

    def has(self, digest: Digest) -> bool: ...

    def size(self, digest: Digest) -> int:
        """In bytes."""
        ...

    def delete(self, digest: Digest) -> None:
        """Gone when it returns; harmless where there was none."""
        ...

    def digests(self) -> Iterator[Digest]:
        """Every blob there is, in no order."""
        ...


class FileBlobs:
    """Blobs in a folder: written beside, synced, renamed into place. `<root>/ab/cdef…`, read-only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / "tmp"
        self._verified: dict[Digest, tuple[int, int, int]] = {}
        """Digest to (inode, modification time, size) of the file when its bytes were last right."""
        with _disk(root):
            self._temporary.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def put(self, data: bytes) -> Digest:
        digest = digests.of_bytes(data)
        if not self.has(digest):
            with self._incoming() as (file, temporary):
                file.write(data)
                self._settle(file, temporary, digest)
        return digest

    def put_file(self, path: Path) -> Digest:
        with path.open("rb") as source:
            return self.put_chunks(iter(lambda: source.read(_CHUNK_BYTES), b""))

    def put_chunks(self, chunks: Iterable[Buffer]) -> Digest:
        """Bytes that arrive in pieces, in the memory of one piece."""
        with self._incoming() as (file, temporary):
            hasher = hashlib.sha256()
            for chunk in chunks:
                hasher.update(chunk)
                file.write(chunk)
            digest = Digest("sha256:" + hasher.hexdigest())
            if not self.has(digest):
                self._settle(file, temporary, digest)
        return digest

    def get(self, digest: Digest) -> bytes:
        place = self._place(digest)
        with _disk(place):
            try:
                data = place.read_bytes()
            except FileNotFoundError:
                raise _no_blob(digest) from None
        return _checked(data, digest)

    def path(self, digest: Digest) -> Path:
        place = self._place(digest)
        with _disk(place):
            try:
                state = place.stat()
                seen = (state.st_ino, state.st_mtime_ns, state.st_size)
                if self._verified.get(digest) != seen:
                    if digests.of_file(place) != digest:
                        raise _corrupt(digest)
                    self._verified[digest] = seen
            except FileNotFoundError:
                raise _no_blob(digest) from None
        return place

    def has(self, digest: Digest) -> bool:
        return self._place(digest).is_file()

    def size(self, digest: Digest) -> int:
        try:
            return self._place(digest).stat().st_size
        except FileNotFoundError:
            raise _no_blob(digest) from None

    def delete(self, digest: Digest) -> None:
        place = self._place(digest)
        self._verified.pop(digest, None)
        with _disk(place):
            place.unlink(missing_ok=True)
            if place.parent.is_dir():
                sync_folder(place.parent)

    def digests(self) -> Iterator[Digest]:
        for folder in self._root.iterdir():
            if len(folder.name) == 2:
                for file in folder.iterdir():
                    yield Digest(f"sha256:{folder.name}{file.name}")

    def _place(self, digest: Digest) -> Path:
        hexadecimal = parse_digest(digest).removeprefix("sha256:")
        return self._root / hexadecimal[:2] / hexadecimal[2:]

    @contextmanager
    def _incoming(self) -> Iterator[tuple[IO[bytes], Path]]:
        """A new temporary file, gone at the end unless it was renamed."""
        temporary = self._temporary / secrets.token_hex(16)
        with _disk(self._root):
            try:
                with self._create(temporary) as file:
                    yield file, temporary
            finally:
                temporary.unlink(missing_ok=True)

    def _create(self, temporary: Path) -> IO[bytes]:
        return os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444), "wb")

    def _settle(self, file: IO[bytes], temporary: Path, digest: Digest) -> None:
        """Bytes first, then the name, then its folder: in this order a crash loses nothing."""
        place = self._place(digest)
        file.flush()
        os.fsync(file.fileno())
        if not place.parent.is_dir():
            place.parent.mkdir(exist_ok=True)
            sync_folder(self._root)
        temporary.replace(place)
        sync_folder(place.parent)

    def _sweep(self) -> None:
        """Remove what killed processes left. Ages are by the file system's own clock, read off the folder."""
        probe = self._temporary / secrets.token_hex(16)
        probe.touch()
        now_s = probe.stat().st_mtime
        for file in [probe, *self._temporary.iterdir()]:
            try:
                if file == probe or now_s - file.stat().st_mtime > _ABANDONED_S:
                    file.unlink()
            except FileNotFoundError:  # another process was faster
                continue


class ObjectBlobs:
    """Blobs in an object store (S3, Azure, Google, a folder, memory) through obstore, with a local cache.

    An object appears whole when its upload ends. Deleting removes this cache's copy alone: other machines may
    still read theirs, which is sound, for bytes never change.
    """

    def __init__(self, store: ObjectStore, cache: Path) -> None:
        self._store = store
        self._cache = FileBlobs(cache)

    def put(self, data: bytes) -> Digest:
        digest = digests.of_bytes(data)
        self._upload(digest, data)
        return digest

    def put_file(self, path: Path) -> Digest:
        digest = self._cache.put_file(path)
        self._upload(digest, self._cache.path(digest))
        return digest

    def get(self, digest: Digest) -> bytes:
        key = _key(digest)
        with _objects(digest):
            data = bytes(self._store.get(key).bytes())
        return _checked(data, digest)

    def path(self, digest: Digest) -> Path:
        if not self._cache.has(digest):
            with _objects(digest):
                found = self._cache.put_chunks(self._store.get(_key(digest)).stream())
            if found != digest:
                self._cache.delete(found)
                raise _corrupt(digest)
        return self._cache.path(digest)

    def has(self, digest: Digest) -> bool:
        try:
            self.size(digest)
        except NotFoundError:
            return False
        return True

    def size(self, digest: Digest) -> int:
        with _objects(digest):
            return int(self._store.head(_key(digest))["size"])

    def delete(self, digest: Digest) -> None:
        try:
            with _objects(digest):
                self._store.delete(_key(digest))
        except NotFoundError:
            pass
        self._cache.delete(digest)

    def digests(self) -> Iterator[Digest]:
        with _objects():
            for page in self._store.list(_PREFIX):
                for meta in page:
                    yield Digest("sha256:" + meta["path"].removeprefix(f"{_PREFIX}/").replace("/", ""))

    def _upload(self, digest: Digest, data: bytes | Path) -> None:
        """Bytes under a digest are the same bytes: who uploads last changes nothing."""
        if not self.has(digest):
            with _objects(digest):
                self._store.put(_key(digest), data)


def _key(digest: Digest) -> str:
    hexadecimal = parse_digest(digest).removeprefix("sha256:")
    return f"{_PREFIX}/{hexadecimal[:2]}/{hexadecimal[2:]}"


def _checked(data: bytes, digest: Digest) -> bytes:
    if digests.of_bytes(data) != digest:
        raise _corrupt(digest)
    return data


def _no_blob(digest: str) -> NotFoundError:
    return NotFoundError(f"There is no blob {digest}.", hint="It was deleted, or lives in another home.")


def _corrupt(digest: Digest) -> CorruptError:
    return CorruptError(
        f"The blob {digest} holds other bytes than its digest says.",
        hint="Delete it and put the right bytes again, or restore it from a backup.",
    )


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    """Failures of the disk as UnavailableError; every other OSError stays what it is."""
    try:
        yield
    except OSError as error:
        if (what := _DISK_ERRORS.get(error.errno or 0)) is None:
            raise
        raise UnavailableError(
            f"{what}: the blob was not written or read ({place}).",
            hint="Free space, or check the disk and its permissions, then try again.",
        ) from error


@contextmanager
def _objects(digest: str = "") -> Iterator[None]:
    """Failures of the object store as ours. obstore is loaded by whoever made the store."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise _no_blob(digest) from None
    except BaseError as error:
        reason = str(error).partition("\n")[0]
        raise UnavailableError(
            f"The object store failed: {reason}.", hint="Check its address and credentials, then try again."
        ) from error
