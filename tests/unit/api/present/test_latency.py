from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.api.present.latency import quantile_ms
from kernos.runtime.wanted import LATENCY_BOUNDS_MS

COUNTS = st.lists(
    st.integers(0, 50), min_size=len(LATENCY_BOUNDS_MS) + 1, max_size=len(LATENCY_BOUNDS_MS) + 1
)


@given(COUNTS)
def test_quantiles_rise_and_stay_within_the_bounds(buckets: list[int]) -> None:
    values = [quantile_ms(buckets, share) for share in (0.0, 0.25, 0.5, 0.9, 0.99, 1.0)]

    assert values == sorted(values)
    assert all(0 <= value <= LATENCY_BOUNDS_MS[-1] for value in values)


@pytest.mark.parametrize("place", range(len(LATENCY_BOUNDS_MS)))
def test_a_quantile_lies_in_the_bucket_that_holds_all(place: int) -> None:
    buckets = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    buckets[place] = 10

    low = LATENCY_BOUNDS_MS[place - 1] if place else 0.0
    assert low < quantile_ms(buckets, 0.5) <= LATENCY_BOUNDS_MS[place]


def test_without_requests_it_is_zero_and_beyond_the_last_bound_it_is_that() -> None:
    beyond = [0] * len(LATENCY_BOUNDS_MS) + [3]

    assert quantile_ms([], 0.5) == 0.0
    assert quantile_ms(beyond, 0.5) == LATENCY_BOUNDS_MS[-1]
