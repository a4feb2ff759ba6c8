from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.govern import intervals


def test_wilson_gives_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263, score method without continuity correction.
    low, high = intervals.wilson(81, 263)

    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_newcombe_gives_the_published_interval() -> None:
    # Newcombe 1998 (differences), method 10: 56/70 - 48/80.
    low, high = intervals.newcombe(56, 70, 48, 80)

    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_nothing_counted_leaves_every_share_possible() -> None:
    figure = intervals.share(0, 0)

    assert (figure.value, figure.low, figure.high, figure.rows) == (0.0, 0.0, 1.0, 0)


@given(st.integers(1, 10_000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_wilson_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    hits, rows = counts

    low, high = intervals.wilson(hits, rows)

    assert 0 <= low <= hits / rows <= high <= 1
    assert low < high


def test_a_means_interval_shrinks_with_the_root_of_the_rows() -> None:
    few, many = np.tile([0.0, 1.0], 50), np.tile([0.0, 1.0], 5000)

    ratio = (intervals.mean(few).high - 0.5) / (intervals.mean(many).high - 0.5)

    assert ratio == pytest.approx(10, rel=0.01)


def test_an_interval_is_kept_within_the_metrics_range() -> None:
    figure = intervals.mean(np.asarray([0.0] * 9 + [1.0]), low=0.0, high=0.15)

    assert (figure.low, figure.high) == (0.0, 0.15)
