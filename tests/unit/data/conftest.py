from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kernos.catalog.blobs import FileBlobs
from kernos.data.ingest import ingest
from kernos.data.manifest import DatasetManifest
from kernos.spec.manifest import Column

Ingest = Callable[..., DatasetManifest]


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def ingest_frame(tmp_path: Path, blobs: FileBlobs, work: Path) -> Ingest:
    """Ingest a frame through a Parquet file."""

    def take(frame: pl.DataFrame, contract: list[Column] | None = None) -> DatasetManifest:
        frame.write_parquet(tmp_path / "table.parquet")
        return ingest(tmp_path / "table.parquet", contract or [], blobs, work)

    return take


@pytest.fixture
def ingest_text(tmp_path: Path, blobs: FileBlobs, work: Path) -> Ingest:
    """Ingest text as a file of this name."""

    def take(
        text: str | bytes, contract: list[Column] | None = None, name: str = "table.csv"
    ) -> DatasetManifest:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return ingest(tmp_path / name, contract or [], blobs, work)

    return take
