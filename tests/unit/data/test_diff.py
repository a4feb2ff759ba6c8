from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernos.catalog.blobs import FileBlobs
from kernos.data.dataset import append
from kernos.data.diff import DatasetDiff, diff


def test_a_version_does_not_differ_from_itself(ingest_frame: Any, blobs: FileBlobs) -> None:
    manifest = ingest_frame(pl.DataFrame({"a": [1, 1]}))

    assert diff(manifest, manifest, blobs) == DatasetDiff({}, {}, {}, 0, 0, [], [])


def test_shared_parts_are_not_read(ingest_frame: Any, blobs: FileBlobs, work: Path) -> None:
    old = ingest_frame(pl.DataFrame({"a": [1, 2]}))
    new = append(old, pl.DataFrame({"a": [2, 3]}), [], blobs, work)
    blobs.delete(old.parts[0].digest)

    found = diff(old, new, blobs)

    assert (found.rows_added, found.rows_removed, found.added) == (2, 0, [{"a": 2}, {"a": 3}])


def test_columns_come_go_and_change(ingest_frame: Any, blobs: FileBlobs) -> None:
    old = ingest_frame(pl.DataFrame({"a": [1, 2], "b": [1, 2], "c": ["x", "y"]}))
    new = ingest_frame(pl.DataFrame({"a": [1, 3], "b": [1.5, 2.5], "d": ["x", "y"]}))

    found = diff(old, new, blobs)

    assert found.columns_added == {"d": "String"}
    assert found.columns_removed == {"c": "String"}
    assert found.columns_changed == {"b": ("Int64", "Float64")}
    assert (found.added, found.removed) == ([{"a": 3}], [{"a": 2}])


def test_samples_are_few(ingest_frame: Any, blobs: FileBlobs) -> None:
    found = diff(
        ingest_frame(pl.DataFrame({"a": range(100)})),
        ingest_frame(pl.DataFrame({"a": range(50, 250)})),
        blobs,
    )

    assert (found.rows_added, found.rows_removed) == (150, 50)
    assert [row["a"] for row in found.added] == [100, 101, 102, 103, 104]
    assert len(found.removed) == 5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=8), st.lists(st.integers(0, 3), min_size=1, max_size=8)
)
def test_rows_count_as_a_multiset(ingest_frame: Any, blobs: FileBlobs, a: list[int], b: list[int]) -> None:
    found = diff(ingest_frame(pl.DataFrame({"a": a})), ingest_frame(pl.DataFrame({"a": b})), blobs)

    more, less = Counter(b) - Counter(a), Counter(a) - Counter(b)
    assert (found.rows_added, found.rows_removed) == (more.total(), less.total())
    assert Counter(row["a"] for row in found.added) <= more
    assert len(found.removed) == min(5, less.total())
