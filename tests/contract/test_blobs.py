from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore, ObjectStore

from kernos.base.ids import Digest
from kernos.catalog.blobs import Blobs, FileBlobs, ObjectBlobs
from kernos.testing.contracts import BlobsContract


class TestFileBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return FileBlobs(tmp_path / "blobs")

    def damage(self, blobs: Blobs, digest: Digest) -> None:
        file = blobs.path(digest)
        file.chmod(0o600)
        file.write_bytes(b"the lie!!")


class TestObjectBlobs(BlobsContract):
    place: ObjectStore

    @pytest.fixture(params=["memory", "folder"])
    def objects(self, request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
        if request.param == "memory":
            return MemoryStore()
        return LocalStore(tmp_path / "objects", mkdir=True)

    @pytest.fixture
    def blobs(self, objects: ObjectStore, tmp_path: Path) -> Blobs:
        self.place = objects
        return ObjectBlobs(objects, tmp_path / "cache")

    def damage(self, blobs: Blobs, digest: Digest) -> None:
        hexadecimal = digest.removeprefix("sha256:")
        self.place.put(f"blobs/{hexadecimal[:2]}/{hexadecimal[2:]}", b"the lie!!")
