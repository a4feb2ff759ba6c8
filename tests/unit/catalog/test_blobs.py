from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from obstore.exceptions import GenericError
from obstore.store import LocalStore, MemoryStore

from kernos.base import digests
from kernos.base.errors import CorruptError, UnavailableError
from kernos.catalog.blobs import FileBlobs, ObjectBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one mebibyte, where the caller may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class FullDisk(io.BytesIO):
    """A file on a disk that fills up after so many bytes."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__()
        self._room = room
        path.touch()

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return 0


class FileBlobsOnAFullDisk(FileBlobs):
    def _create(self, temporary: Path) -> IO[bytes]:
        return FullDisk(temporary, room=2**20)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    blobs = FileBlobsOnAFullDisk(tmp_path / "blobs")
    (tmp_path / "big").write_bytes(bytes(2 * 2**20))

    with pytest.raises(UnavailableError, match="disk is full") as caught:
        blobs.put(bytes(2 * 2**20))
    with pytest.raises(UnavailableError, match="disk is full"):
        blobs.put_file(tmp_path / "big")

    assert "Free space" in caught.value.hint
    assert files(tmp_path / "blobs") == []


def test_a_really_full_disk_leaves_nothing_and_heals(small_disk: Path, tmp_path: Path) -> None:
    blobs = FileBlobs(small_disk / "blobs")
    (tmp_path / "big").write_bytes(bytes(2 * 2**20))

    with pytest.raises(UnavailableError, match="disk is full"):
        blobs.put(bytes(2 * 2**20))
    with pytest.raises(UnavailableError, match="disk is full"):
        blobs.put_file(tmp_path / "big")

    assert files(small_disk) == []
    assert blobs.get(blobs.put(b"small")) == b"small"


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_bytes(b"a file where the folder belongs")

    with pytest.raises(NotADirectoryError):
        FileBlobs(tmp_path / "blobs")


def test_a_blob_lies_under_its_digest_and_is_read_only(blobs: FileBlobs, tmp_path: Path) -> None:
    digest = blobs.put(b"x")
    hexadecimal = digest.removeprefix("sha256:")

    file = tmp_path / "blobs" / hexadecimal[:2] / hexadecimal[2:]
    assert blobs.path(digest) == file
    assert stat.S_IMODE(file.stat().st_mode) & 0o222 == 0
    assert files(tmp_path / "blobs") == [file]


def test_a_writer_that_is_killed_leaves_no_blob_and_is_swept_after_a_day(tmp_path: Path) -> None:
    FileBlobs(tmp_path / "blobs")
    old, young = tmp_path / "blobs/tmp/old", tmp_path / "blobs/tmp/young"
    for file in (old, young):
        file.write_bytes(b"half of it")
    then_s = young.stat().st_mtime - 90_000
    os.utime(old, (then_s, then_s))

    blobs = FileBlobs(tmp_path / "blobs")

    assert list(blobs.digests()) == []
    assert files(tmp_path / "blobs") == [young]


def test_pieces_become_one_blob(blobs: FileBlobs) -> None:
    digest = blobs.put_chunks(memoryview(bytes([number])) for number in range(5))

    assert digest == digests.of_bytes(bytes(range(5)))
    assert blobs.get(digest) == bytes(range(5))


def test_pieces_that_stop_coming_leave_nothing(blobs: FileBlobs, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError("cut off")

    with pytest.raises(ConnectionError):
        blobs.put_chunks(pieces())

    assert files(tmp_path / "blobs") == []


def test_a_path_is_verified_again_when_its_file_has_changed(blobs: FileBlobs) -> None:
    digest = blobs.put(b"the truth")
    file = blobs.path(digest)
    assert blobs.path(digest) == file

    file.chmod(0o600)
    file.write_bytes(b"the trutH")

    with pytest.raises(CorruptError, match="other bytes"):
        blobs.path(digest)


def test_what_an_object_store_gives_is_verified_on_its_way_into_the_cache(tmp_path: Path) -> None:
    objects = MemoryStore()
    here, there = ObjectBlobs(objects, tmp_path / "here"), ObjectBlobs(objects, tmp_path / "there")
    good, bad = here.put(b"good"), here.put(b"bad")
    hexadecimal = bad.removeprefix("sha256:")
    objects.put(f"blobs/{hexadecimal[:2]}/{hexadecimal[2:]}", b"worse")

    assert there.path(good).read_bytes() == b"good"
    with pytest.raises(CorruptError):
        there.path(bad)
    assert [file.read_bytes() for file in files(tmp_path / "there")] == [b"good"]


def test_a_cached_blob_needs_the_object_store_no_more(tmp_path: Path) -> None:
    objects = MemoryStore()
    blobs = ObjectBlobs(objects, tmp_path / "cache")
    digest = blobs.put(b"x")
    blobs.path(digest)
    objects.delete([meta["path"] for page in objects.list() for meta in page])

    assert blobs.path(digest).read_bytes() == b"x"
    assert not blobs.has(digest)


def test_an_object_store_that_fails_is_unavailable(tmp_path: Path) -> None:
    class Failing(LocalStore):
        def head(self, path: str) -> object:  # type: ignore[override] # it never returns
            raise GenericError(f"connection refused: {path}\nDebug source: secrets")

    blobs = ObjectBlobs(Failing(tmp_path), tmp_path / "cache")

    with pytest.raises(UnavailableError, match="connection refused") as caught:
        blobs.put(b"x")
    assert "secrets" not in caught.value.message
    assert caught.value.hint
