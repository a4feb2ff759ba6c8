from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.monitor.accuracy import Accuracy, AccuracyState, AccuracyWatch, wilson


def test_wilson_matches_published_figures() -> None:
    # Newcombe, Statistics in Medicine 1998, table I
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_the_share_within_zero_and_one(rows: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, rows))
    low, high = wilson(hits, rows)

    assert 0 <= low <= hits / rows + 1e-12
    assert hits / rows - 1e-12 <= high <= 1


def test_without_labels_there_is_no_figure() -> None:
    watch = AccuracyWatch(1e4)

    assert watch.report() == Accuracy(None, None, None, 0)
    assert watch.alarm_row is None


def test_accuracy_as_promised_raises_no_alarm_though_held_out_rows_were_few() -> None:
    random = np.random.default_rng(1)
    watch = AccuracyWatch(1e4)

    watch.feed(random.random(5000) < 0.72, 0.76, held_out_rows=110)

    assert watch.alarm_row is None
    assert watch.report().value == pytest.approx(0.72, abs=0.02)
    assert watch.report().rows == 5000


def test_many_more_errors_raise_one_soon() -> None:
    random = np.random.default_rng(2)
    watch = AccuracyWatch(1e4)

    watch.feed(random.random(500) < 0.76, 0.76, held_out_rows=110)
    watch.feed(random.random(500) < 0.4, 0.76, held_out_rows=110)

    assert 500 < (watch.alarm_row or 0) < 700


def test_more_held_out_rows_find_smaller_changes() -> None:
    correct = np.random.default_rng(3).random(3000) < 0.68

    def alarm(rows: int) -> int | None:
        watch = AccuracyWatch(1e4)
        watch.feed(correct, 0.76, held_out_rows=rows)
        return watch.alarm_row

    assert alarm(100) is None
    assert (alarm(5000) or 9999) < 2000


def test_state_survives_json() -> None:
    watch = AccuracyWatch(1e4)
    watch.feed(np.array([True, False]), 0.9, held_out_rows=50)

    again = AccuracyWatch(1e4, msgspec.json.decode(msgspec.json.encode(watch.state()), type=AccuracyState))
    for one in (watch, again):
        one.feed(np.array([False] * 5), 0.9, held_out_rows=50)

    assert again.state() == watch.state()


@pytest.mark.parametrize("expected", [-0.1, 1.1, float("nan")])
def test_an_accuracy_that_is_none_is_refused(expected: float) -> None:
    with pytest.raises(InvalidError):
        AccuracyWatch(1e4).feed(np.array([True]), expected, held_out_rows=5)
