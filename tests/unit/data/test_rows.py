from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from kernos.data.rows import mix, row_hashes


def test_hashes_are_these_for_ever() -> None:
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "f": [0.5, -0.0],
            "s": ["é", ""],
            "b": [True, None],
            "t": [datetime(2024, 1, 1), None],
        }
    )

    assert row_hashes(frame).tolist() == [9205429157962762872, 13717995698130599791]


def test_mix_is_splitmix64() -> None:
    assert mix(np.array([0], np.uint64)).tolist() == [0xE220A8397B1DCDAF]


def test_order_of_columns_and_width_of_types_do_not_matter() -> None:
    a = pl.DataFrame({"x": pl.Series([1, 2], dtype=pl.Int8), "y": pl.Series([0.5, 1.5], dtype=pl.Float32)})
    b = pl.DataFrame({"y": [0.5, 1.5], "x": [1, 2]})

    assert row_hashes(a).tolist() == row_hashes(b).tolist()


@pytest.mark.parametrize(
    ("values", "equal"),
    [
        ([0.0, -0.0], True),
        ([float("nan"), None], True),
        ([0, None], False),
        (["", None], False),
        (["a", "b"], False),
        ([1, -1], False),
        ([True, False], False),
        ([date(2024, 1, 1), date(2024, 1, 2)], False),
        ([2**53, 2**53 + 1], False),
    ],
)
def test_cells_differ_exactly_where_their_values_do(values: list[Any], *, equal: bool) -> None:
    first, second = row_hashes(pl.DataFrame({"a": values}, strict=False))

    assert (first == second) is np.bool_(equal)


def test_swapping_values_between_columns_changes_the_row() -> None:
    first, second = row_hashes(pl.DataFrame({"a": [1, 2], "b": [2, 1]}))

    assert first != second


def test_there_are_no_collisions_among_close_rows() -> None:
    frame = pl.DataFrame({"a": range(500)}).join(pl.DataFrame({"b": range(500)}), how="cross")

    assert len(np.unique(row_hashes(frame))) == 250_000


def test_an_empty_frame_has_no_hashes() -> None:
    assert row_hashes(pl.DataFrame({"a": [], "s": pl.Series([], dtype=pl.String)})).tolist() == []
