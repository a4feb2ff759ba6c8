from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta  # type: ignore[import-untyped]  # scipy ships no types

from kernos.monitor.bounds import distribution_distance, mean_above, mean_below


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.5, 0.05, 1e-4]))
def test_bounds_contain_the_exact_binomial_ones(hits: int, count: int, risk: float) -> None:
    hits = min(hits, count)
    exact = beta.ppf(1 - risk, hits + 1, count - hits) if hits < count else 1.0

    bound = mean_above(hits / count, count, risk)

    assert exact - 1e-9 <= bound <= 1.0
    assert mean_below(1 - hits / count, count, risk) == pytest.approx(1 - bound)


def test_no_event_in_n_leaves_the_rule_of_three() -> None:
    assert mean_above(0.0, 1000, 0.05) == pytest.approx(1 - 0.05 ** (1 / 1000), rel=1e-6)


def test_without_data_anything_is_plausible() -> None:
    assert (mean_above(0.3, 0, 0.01), mean_below(0.3, 0, 0.01), distribution_distance(0, 0.01)) == (
        1.0,
        0.0,
        1.0,
    )


def test_distribution_distance_is_massarts() -> None:
    assert distribution_distance(200, 0.05) == pytest.approx(math.sqrt(math.log(40) / 400))


def test_empirical_distributions_stay_within_the_distance() -> None:
    random = np.random.default_rng(0)
    misses = 0
    for _ in range(400):
        sample = np.sort(random.random(50))
        above, below = np.arange(1, 51) / 50 - sample, sample - np.arange(50) / 50
        misses += max(above.max(), below.max()) > distribution_distance(50, 0.1)

    assert misses <= 0.1 * 400
