from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.monitor.edetector import DetectorState, EDetector


def run_length(random: np.random.Generator, mean: float, bound: float, arl: float, limit: int) -> int:
    detector = EDetector(np.array([bound]), arl)
    while detector.alarm_row is None and detector.rows < limit:
        detector.feed((random.random((64, 1)) < mean).astype(float))
    return detector.alarm_row or limit


@pytest.mark.parametrize("bound", [0.05, 0.5])
def test_false_alarms_are_rarer_than_promised_at_the_very_bound(bound: float) -> None:
    random = np.random.default_rng(1)
    arl = 100

    lengths = [run_length(random, bound, bound, arl, 4000) for _ in range(150)]

    assert np.mean(lengths) > arl


def test_a_stationary_stream_rarely_alarms() -> None:
    random = np.random.default_rng(2)
    rows, streams, arl = 5000, 20, 1e4

    lengths = [run_length(random, 0.2, 0.2, arl, rows) for _ in range(streams)]

    assert sum(length < rows for length in lengths) <= rows * streams / arl


@pytest.mark.parametrize(("mean", "rows"), [(0.4, 150), (0.3, 600)])
def test_a_change_is_found_soon(mean: float, rows: int) -> None:
    random = np.random.default_rng(3)
    delays = []
    for _ in range(15):
        detector = EDetector(np.array([0.2]), 1e4)
        detector.feed((random.random((1000, 1)) < 0.2).astype(float))
        detector.feed((random.random((3000, 1)) < mean).astype(float))
        delays.append((detector.alarm_row or 4000) - 1000)

    assert 0 < np.median(delays) < rows


def test_one_changed_input_among_many_is_found_and_named() -> None:
    random = np.random.default_rng(4)
    detector = EDetector(np.full(40, 0.5), 1e5)
    values = random.random((600, 40))
    values[300:, 17] = np.minimum(1.0, values[300:, 17] + 0.3)

    detector.feed(values)

    assert detector.alarm_row is not None
    assert 300 < detector.alarm_row < 450
    assert detector.leader() == 17


@given(st.integers(0, 2**32), st.lists(st.integers(0, 60), max_size=6), st.sampled_from([0.0, 0.4]))
def test_batches_and_restarts_change_nothing(seed: int, cuts: list[int], shifted: float) -> None:
    random = np.random.default_rng(seed)
    values = np.minimum(1.0, random.random((60, 3)) + shifted)
    values[random.random((60, 3)) < 0.1] = np.nan
    bounds = np.array([0.5, 0.6, 1.0])
    whole = EDetector(bounds, 50)
    whole.feed(values)

    parted = EDetector(bounds, 50)
    for part in np.split(values, sorted(cuts)):
        parted.feed(part)
        state = msgspec.json.decode(msgspec.json.encode(parted.state()), type=DetectorState)
        parted = EDetector(bounds, 50, state)

    assert parted.state() == whole.state()
    assert parted.rows == 60


def test_what_is_not_observed_counts_neither_way() -> None:
    detector = EDetector(np.array([0.5]), 1e9)

    detector.feed(np.full((10, 1), np.nan))

    assert detector.value == 10.0


def test_wealth_follows_the_formula() -> None:
    detector = EDetector(np.array([0.25]), 1e9)
    detector.feed(np.array([[1.0], [0.0]]))

    bets = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9]) / 0.25
    assert detector.value == pytest.approx(((1 + (1 + bets * 0.75)) * (1 - bets * 0.25)).mean())


def test_nothing_is_learned_after_the_alarm() -> None:
    detector = EDetector(np.array([0.1]), 100)
    detector.feed(np.ones((50, 1)))
    row, value = detector.alarm_row, detector.value
    detector.feed(np.zeros((50, 1)))

    assert (detector.alarm_row, detector.value, detector.rows) == (row, value, 100)


def test_without_inputs_there_is_nothing_to_alarm() -> None:
    detector = EDetector(np.array([]), 10)
    detector.feed(np.empty((100, 0)))

    assert (detector.rows, detector.alarm_row) == (100, None)
