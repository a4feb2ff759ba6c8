"""Shares that can be counted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.runtime.services import Service, Splitter
from kernos.runtime.wanted import Route


@given(st.floats(0, 1), st.integers(1, 500))
def test_of_n_requests_the_share_goes_to_the_canary(share: float, count: int) -> None:
    splitter = Splitter(share)

    taken = sum(splitter.is_canary() for _ in range(count))

    assert abs(taken - math.floor(count * share)) <= 1
    assert taken in (math.floor(count * share), math.floor(count * share + 1e-6))


@pytest.mark.parametrize(("share", "taken"), [(0.0, 0), (1.0, 100), (0.1, 10), (7.0, 100), (-1.0, 0)])
def test_shares_at_and_beyond_the_ends(share: float, taken: int) -> None:
    splitter = Splitter(share)

    assert sum(splitter.is_canary() for _ in range(100)) == taken


def test_the_share_is_spread_evenly() -> None:
    splitter = Splitter(0.25)

    assert [splitter.is_canary() for _ in range(8)] == [False, False, False, True] * 2


def test_a_service_without_a_live_revision_says_why() -> None:
    service = Service("m")
    service.point(Route("m", 3), {}, {("m", 3): "It is not signed."})

    assert not service.is_ready
    assert service.pick() is None
    assert "It is not signed." in service.missing(None).message
    assert "Version 9" in service.missing(9).message
