from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kernos.base import digests
from kernos.base.errors import InvalidError, RefusedError
from kernos.catalog.blobs import FileBlobs
from kernos.data.dataset import append, load, scan
from kernos.data.manifest import ColumnStatistics
from kernos.spec.manifest import Column

FRAME = pl.DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x", None]})
MORE = pl.DataFrame({"c": ["z"], "a": [7], "b": [float("nan")]})


def test_append_keeps_the_old_parts_and_adds_one(ingest_frame: Any, blobs: FileBlobs, work: Path) -> None:
    old = ingest_frame(FRAME)

    new = append(old, MORE, [], blobs, work)

    assert new.parts[:1] == old.parts
    assert [part.rows for part in new.parts] == [2, 1]
    assert (new.rows, new.source, new.base) == (3, "append", old.digest)
    assert new.statistics == {
        "a": ColumnStatistics(0, 1, 7),
        "b": ColumnStatistics(2, 0.5, 0.5),
        "c": ColumnStatistics(1),
    }
    assert scan(new, blobs).collect().rows() == [(1, 0.5, "x"), (2, None, None), (7, None, "z")]
    assert_frame_equal(scan(old, blobs).collect(), FRAME)
    assert list(work.iterdir()) == []


def test_the_same_append_is_the_same_version(ingest_frame: Any, blobs: FileBlobs, work: Path) -> None:
    old = ingest_frame(FRAME)

    assert append(old, MORE, [], blobs, work).digest == append(old, MORE, [], blobs, work).digest


def test_statistics_grow_from_an_empty_column(ingest_frame: Any, blobs: FileBlobs, work: Path) -> None:
    old = ingest_frame(pl.DataFrame({"a": pl.Series([None], dtype=pl.Float64)}))

    new = append(old, pl.DataFrame({"a": [3.0]}), [], blobs, work)
    newer = append(new, pl.DataFrame({"a": [None]}), [], blobs, work)

    assert newer.statistics["a"] == ColumnStatistics(2, 3.0, 3.0)


def test_the_contract_is_checked_on_new_rows_alone(ingest_frame: Any, blobs: FileBlobs, work: Path) -> None:
    old = ingest_frame(FRAME)
    stored = set(blobs.digests())

    with pytest.raises(RefusedError, match=r"a is not in 0\.\.5 in 1 rows \(row 1: 7\)"):
        append(
            old, MORE, [Column("a", "int", low=0, high=5), Column("b", "float", nullable=True)], blobs, work
        )
    with pytest.raises(RefusedError, match=r"b is not a number \(NaN\)"):
        append(old, MORE, [Column("b", "float")], blobs, work)

    assert set(blobs.digests()) == stored


@pytest.mark.parametrize(
    ("frame", "kind", "told"),
    [
        (FRAME[:0], InvalidError, "no rows"),
        (FRAME.drop("b"), InvalidError, "lack the column 'b'"),
        (FRAME.with_columns(d=1), InvalidError, "unknown column 'd'"),
        (FRAME.with_columns(a=pl.lit("x")), RefusedError, "do not fit the dataset's types"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    ingest_frame: Any, blobs: FileBlobs, work: Path, frame: pl.DataFrame, kind: Any, told: str
) -> None:
    with pytest.raises(kind, match=told):
        append(ingest_frame(FRAME), frame, [], blobs, work)


def test_a_manifest_comes_back_from_its_blob(ingest_frame: Any, blobs: FileBlobs) -> None:
    manifest = ingest_frame(FRAME)

    assert load(blobs.put(digests.canonical(manifest)), blobs) == manifest
