"""Datasets the loop writes itself: one after the other, with the first one's columns."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kernos.base.ids import Digest
from kernos.catalog.blobs import FileBlobs
from kernos.data.dataset import load, scan
from kernos.loop import datasets
from kernos.loop.datasets import described, extend


def test_a_dataset_starts_with_its_first_rows_and_leaves_no_file(blobs: FileBlobs, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()

    manifest = extend(None, pl.DataFrame({"a": [1, 2]}), blobs, work)

    assert scan(manifest, blobs).collect().to_dict(as_series=False) == {"a": [1, 2]}
    assert list(work.iterdir()) == []


def test_rows_are_added_with_the_columns_there_were(blobs: FileBlobs, tmp_path: Path) -> None:
    first = extend(None, pl.DataFrame({"a": [1], "b": ["x"]}), blobs, tmp_path)

    second = extend(first, pl.DataFrame({"a": [2.0, 3.0], "new": [1, 1]}), blobs, tmp_path)

    rows = scan(second, blobs).collect()
    assert rows.to_dict(as_series=False) == {"a": [1, 2, 3], "b": ["x", None, None]}
    assert rows.schema == {"a": pl.Int64(), "b": pl.String()}
    assert (second.rows, len(second.parts)) == (3, 2)
    assert second.parts[0] == first.parts[0]


def test_a_value_that_does_not_fit_its_column_becomes_null(blobs: FileBlobs, tmp_path: Path) -> None:
    first = extend(None, pl.DataFrame({"a": [1]}), blobs, tmp_path)

    second = extend(first, pl.DataFrame({"a": ["x"]}), blobs, tmp_path)

    assert scan(second, blobs).collect()["a"].to_list() == [1, None]


def test_many_small_parts_are_written_again_as_one(
    blobs: FileBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MOST_PARTS", 3)
    manifest = extend(None, pl.DataFrame({"a": [0]}), blobs, tmp_path)
    for number in range(1, 4):
        manifest = extend(manifest, pl.DataFrame({"a": [number]}), blobs, tmp_path)

    assert len(manifest.parts) == 1
    assert scan(manifest, blobs).collect()["a"].to_list() == [0, 1, 2, 3]


def test_a_description_names_the_stored_manifest(blobs: FileBlobs, tmp_path: Path) -> None:
    manifest = extend(
        extend(None, pl.DataFrame({"a": [1]}), blobs, tmp_path), pl.DataFrame({"a": [2, 3]}), blobs, tmp_path
    )

    told = described(manifest, blobs)

    assert load(Digest(told["digest"]), blobs) == manifest
    assert (told["rows"], told["newest_part_rows"], told["columns"]) == (3, 2, {"a": "Int64"})
    assert told["parts"] == [part.digest for part in manifest.parts]
    assert told["size_bytes"] == sum(part.size_bytes for part in manifest.parts)
