from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kernos.base import digests
from kernos.base.errors import CorruptError, NotFoundError
from kernos.base.ids import Digest
from kernos.data.ingest import ingest
from kernos.data.manifest import DatasetManifest
from kernos.spec.manifest import Column


class FolderBlobs:
    """Bytes by digest in a folder: what the data layer needs of `catalog.blobs.Blobs`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> Digest:
        digest = digests.of_bytes(data)
        (self.root / digest).write_bytes(data)
        return digest

    def put_file(self, path: Path) -> Digest:
        return self.put(path.read_bytes())

    def get(self, digest: Digest) -> bytes:
        data = self.path(digest).read_bytes()
        if digests.of_bytes(data) != digest:
            raise CorruptError(f"{digest} is damaged.")
        return data

    def path(self, digest: Digest) -> Path:
        if not self.has(digest):
            raise NotFoundError(f"There is no blob {digest}.")
        return self.root / digest

    def has(self, digest: Digest) -> bool:
        return (self.root / digest).exists()

    def size(self, digest: Digest) -> int:
        return self.path(digest).stat().st_size

    def delete(self, digest: Digest) -> None:
        self.path(digest).unlink()

    def digests(self) -> list[Digest]:
        return [Digest(file.name) for file in self.root.iterdir()]


Ingest = Callable[..., DatasetManifest]


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    root = tmp_path / "blobs"
    root.mkdir()
    return FolderBlobs(root)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def ingest_frame(tmp_path: Path, blobs: FolderBlobs, work: Path) -> Ingest:
    """Ingest a frame through a Parquet file."""

    def take(frame: pl.DataFrame, contract: list[Column] | None = None) -> DatasetManifest:
        frame.write_parquet(tmp_path / "table.parquet")
        return ingest(tmp_path / "table.parquet", contract or [], blobs, work)

    return take


@pytest.fixture
def ingest_text(tmp_path: Path, blobs: FolderBlobs, work: Path) -> Ingest:
    """Ingest text as a file of this name."""

    def take(
        text: str | bytes, contract: list[Column] | None = None, name: str = "table.csv"
    ) -> DatasetManifest:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return ingest(tmp_path / name, contract or [], blobs, work)

    return take
