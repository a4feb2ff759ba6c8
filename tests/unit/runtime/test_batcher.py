"""Batching decisions from cost curves like those of real models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernos.base.errors import InvalidError
from kernos.runtime.batcher import INLINE_S, MAX_ROWS, Batcher

Curve = Callable[[int], float]


def tiny(rows: int) -> float:
    return 5e-6 + rows * 1e-6


def deep(rows: int) -> float:
    """A model that reads its weights once a run: rows are nearly free for a long time."""
    return 230e-6 + rows * 15e-6


def image(rows: int) -> float:
    return rows * 27e-3


def load(batcher: Batcher, curve: Curve, runs: int, waiting: int = 10_000) -> None:
    """Runs with `waiting` rows queued: each takes what the batcher allows."""
    for _ in range(runs):
        rows = min(batcher.limit_rows, waiting)
        batcher.measured(rows, curve(rows))
        batcher.check()


def test_a_cheap_model_stays_on_the_loop_with_batches_of_some_tens() -> None:
    batcher = Batcher()
    load(batcher, tiny, 200)

    assert batcher.is_inline
    assert 32 <= batcher.limit_rows <= 128


def test_a_model_whose_rows_share_a_cost_moves_to_a_thread_and_batches_widely() -> None:
    batcher = Batcher()
    load(batcher, deep, 200)

    assert not batcher.is_inline
    assert 64 <= batcher.limit_rows <= 512


def test_a_model_that_gains_nothing_from_batches_takes_one_row() -> None:
    batcher = Batcher()
    load(batcher, image, 50)

    assert not batcher.is_inline
    assert batcher.limit_rows == 1


def test_no_batch_is_grown_beyond_the_patience() -> None:
    batcher = Batcher()
    load(batcher, lambda rows: 15e-3 + rows * 1e-6, 100)

    assert batcher.limit_rows <= 16


def test_one_slow_run_leaves_the_loop_at_once_and_short_ones_bring_it_back() -> None:
    batcher = Batcher()
    load(batcher, tiny, 100)
    batcher.measured(1, 0.028)
    assert not batcher.is_inline

    load(batcher, tiny, 20, waiting=1)
    assert not batcher.is_inline, "a few short runs prove nothing"
    load(batcher, tiny, 100, waiting=1)

    assert batcher.is_inline


@given(st.lists(st.floats(0.7, 1.3), min_size=200, max_size=200))
def test_a_model_on_the_border_does_not_change_with_every_run(noise: list[float]) -> None:
    batcher = Batcher()
    changes, before = 0, batcher.is_inline
    for factor in noise:
        batcher.measured(1, INLINE_S * factor)
        changes += batcher.is_inline != before
        before = batcher.is_inline

    assert changes <= 2


def test_a_large_request_does_not_run_on_the_loop() -> None:
    batcher = Batcher()
    load(batcher, tiny, 100)

    assert batcher.suits_loop(1)
    assert batcher.suits_loop(500)
    assert not batcher.suits_loop(20_000)


def test_what_is_expected_follows_what_was_measured() -> None:
    batcher = Batcher()
    assert batcher.expected_s(100) == 0.0
    batcher.measured(4, 4e-3)

    assert batcher.expected_s(4) == pytest.approx(4e-3)
    assert batcher.expected_s(400) == pytest.approx(0.4)
    assert batcher.expected_s(1) == pytest.approx(4e-3)


def test_a_run_that_was_interrupted_hardly_counts() -> None:
    batcher = Batcher()
    load(batcher, tiny, 100)
    limit = batcher.limit_rows
    batcher.measured(limit, 2e-3)
    load(batcher, tiny, 10)

    assert batcher.limit_rows >= limit // 2
    assert batcher.is_inline


def test_a_larger_batch_is_tried_again_after_long() -> None:
    batcher = Batcher()
    load(batcher, image, 50)
    load(batcher, lambda rows: 1e-3, 3000)

    assert batcher.limit_rows == MAX_ROWS


def test_a_request_larger_than_any_batch_teaches_nothing() -> None:
    batcher = Batcher()
    batcher.measured(MAX_ROWS + 1, 9.0)

    assert batcher.is_inline
    assert batcher.expected_s(1) == 0.0


def test_a_run_without_rows_is_a_mistake() -> None:
    with pytest.raises(InvalidError):
        Batcher().measured(0, 1.0)


class AnyCosts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher()

    @rule(rows=st.integers(1, MAX_ROWS + 1), seconds=st.floats(0, 10), times=st.integers(1, 5))
    def run(self, rows: int, seconds: float, times: int) -> None:
        for _ in range(times):
            self.batcher.measured(rows, seconds)

    @rule(seconds=st.floats(1e-6, 0.1))
    def run_at_the_limit(self, seconds: float) -> None:
        self.batcher.measured(self.batcher.limit_rows, seconds)

    @invariant()
    def holds(self) -> None:
        self.batcher.check()
        assert self.batcher.expected_s(1) >= 0.0


TestAnyCosts = AnyCosts.TestCase
