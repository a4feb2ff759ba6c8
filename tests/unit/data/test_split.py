from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.data.split import held_out

rows = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", None]), st.floats(allow_infinity=False)),
    min_size=1,
    max_size=20,
)
shares, seeds = st.floats(0, 1), st.integers(0, 2**64)


def table(values: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(values, schema={"a": pl.Int64, "b": pl.String, "c": pl.Float64}, orient="row")


@given(rows, rows, shares, seeds)
def test_appending_rows_moves_none(old: list[Any], new: list[Any], share: float, seed: int) -> None:
    assert (
        held_out(table(old + new), share, seed)[: len(old)].tolist()
        == held_out(table(old), share, seed).tolist()
    )


@given(rows, shares, seeds, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_the_split(values: list[Any], share: float, seed: int, random: Any) -> None:
    order = random.sample(range(len(values)), len(values))
    split = held_out(table(values), share, seed)

    assert held_out(table(values)[order], share, seed).tolist() == split[order].tolist()


@given(rows, shares, seeds)
def test_equal_rows_are_on_one_side(values: list[Any], share: float, seed: int) -> None:
    split = held_out(table(values + values), share, seed)

    assert split[: len(values)].tolist() == split[len(values) :].tolist()


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_share_is_within_binomial_bounds(share: float, seed: int) -> None:
    count = 40_000

    held = int(held_out(pl.DataFrame({"a": range(count)}), share, seed).sum())

    assert abs(held - share * count) < 4 * np.sqrt(count * share * (1 - share))


def test_splits_of_two_seeds_are_independent() -> None:
    frame = pl.DataFrame({"a": range(40_000)})

    both = held_out(frame, 0.5, 1) & held_out(frame, 0.5, 2)

    assert abs(int(both.sum()) - 10_000) < 4 * np.sqrt(40_000 * 0.25 * 0.75)


def test_no_rows_and_every_row_can_be_held_out() -> None:
    frame = pl.DataFrame({"a": range(1000)})

    assert not held_out(frame, 0.0, 1).any()
    assert held_out(frame, 1.0, 1).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidError):
        held_out(pl.DataFrame({"a": [1]}), share, 0)
