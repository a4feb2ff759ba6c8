"""A canary is promoted, rolled back or waited for, by its counters alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernos.runtime.wanted import LATENCY_BOUNDS_MS, Traffic
from kernos.serve.rollout import Decision, Promote, RollBack, Rollout, Rules, Tick, Wait

RULES = Rules(share=0.1, canary_s=120, max_error_share=0.01, max_p99_ms=50, minimum_requests=50)
NO_P99 = replace(RULES, max_p99_ms=0)


def traffic(requests: int, errors: int = 0, slow: int = 0, at_ms: float = 75) -> Traffic:
    """`slow` requests lie in the bucket that begins at `at_ms`, the others in the first."""
    buckets = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    buckets[0] = requests - slow
    buckets[LATENCY_BOUNDS_MS.index(at_ms) + 1] += slow
    return Traffic("a", 2, requests=requests, errors=errors, latency_ms_buckets=buckets)


def decide(counters: Traffic | None, *, age_s: float = 0, rules: Rules = RULES, **changes: Any) -> Decision:
    tick = Tick(now_s=1000 + age_s, is_loaded=True, failed="", has_live=True, traffic=counters)
    rollout = Rollout(rules, began_s=1000)
    decision = rollout.feed(replace(tick, **changes))
    rollout.check()
    return decision


def test_it_waits_while_it_loads() -> None:
    assert isinstance(decide(None, is_loaded=False, age_s=9999), Wait)


def test_what_does_not_load_is_rolled_back_with_the_reason() -> None:
    assert decide(None, is_loaded=False, failed="no such operator") == RollBack(
        "It did not load: no such operator"
    )


def test_the_first_version_goes_live_when_loaded() -> None:
    assert isinstance(decide(None, has_live=False), Promote)
    assert isinstance(decide(None, has_live=False, is_loaded=False), Wait)


@pytest.mark.parametrize("changes", [{"share": 0.0}, {"canary_s": 0.0}])
def test_no_canary_is_waited_for_where_none_is_wanted(changes: dict[str, Any]) -> None:
    assert isinstance(decide(None, rules=replace(RULES, **changes)), Promote)


def test_it_is_promoted_when_time_and_requests_are_enough() -> None:
    assert isinstance(decide(traffic(100), age_s=120), Promote)
    assert isinstance(decide(traffic(100), age_s=119), Wait)
    assert isinstance(decide(traffic(99), age_s=120), Wait)
    assert isinstance(decide(traffic(50), age_s=120, rules=NO_P99), Promote)
    assert isinstance(decide(traffic(49), age_s=120, rules=NO_P99), Wait)


def test_without_traffic_it_waits_and_says_so() -> None:
    early, late = decide(None, age_s=359), decide(None, age_s=360)

    assert isinstance(early, Wait)
    assert isinstance(late, Wait)
    assert "No request has reached the canary" in late.reason
    assert "No request" not in early.reason


def test_without_a_least_number_one_request_is_needed() -> None:
    rules = replace(NO_P99, minimum_requests=0)

    assert isinstance(decide(traffic(0), age_s=120, rules=rules), Wait)
    assert isinstance(decide(traffic(1), age_s=120, rules=rules), Promote)


@pytest.mark.parametrize(
    ("requests", "errors", "expected"),
    [
        (2, 2, Wait),
        (3, 3, RollBack),
        (50, 2, Wait),
        (50, 3, RollBack),
        (1000, 15, Wait),
        (1000, 25, RollBack),
    ],
)
def test_errors_roll_back_at_once_with_evidence(requests: int, errors: int, expected: type[Decision]) -> None:
    assert isinstance(decide(traffic(requests, errors)), expected)


def test_at_the_end_the_share_itself_decides() -> None:
    assert isinstance(decide(traffic(1000, errors=10), age_s=120), Promote)
    assert isinstance(decide(traffic(1000, errors=11), age_s=120), RollBack)
    assert isinstance(decide(traffic(1000, slow=10), age_s=120), Promote)
    assert isinstance(decide(traffic(1000, slow=11), age_s=120), RollBack)


def test_no_error_is_allowed_where_none_is() -> None:
    strict = replace(NO_P99, max_error_share=0.0)

    assert isinstance(decide(traffic(10_000, errors=1), age_s=120, rules=strict), RollBack)
    assert isinstance(decide(traffic(10_000), age_s=120, rules=strict), Promote)


def test_slowness_rolls_back_at_once_with_evidence_from_a_hundred_requests_on() -> None:
    assert isinstance(decide(traffic(99, slow=99)), Wait)
    assert isinstance(decide(traffic(100, slow=3)), Wait)
    slow = decide(traffic(100, slow=10))
    assert slow == RollBack("10 of 100 requests took longer than 50 ms; 1% may.")


def test_a_request_counts_as_slow_when_its_bucket_begins_at_the_bound() -> None:
    assert isinstance(decide(traffic(200, slow=200, at_ms=30)), Wait)
    assert isinstance(decide(traffic(200, slow=200, at_ms=50)), RollBack)
    assert isinstance(decide(traffic(200, slow=200, at_ms=5000)), RollBack)
    assert isinstance(decide(traffic(200, slow=200, at_ms=5000), rules=NO_P99), Wait)


def test_a_plane_that_starts_again_does_not_wash_a_canary_clean() -> None:
    rollout = Rollout(RULES, began_s=0)
    tick = Tick(0, is_loaded=True, failed="", has_live=True, traffic=traffic(10, errors=2))
    assert isinstance(rollout.feed(tick), Wait)
    assert isinstance(rollout.feed(replace(tick, traffic=None)), Wait)

    assert isinstance(rollout.feed(replace(tick, traffic=traffic(2, errors=1))), RollBack)


counts = st.integers(0, 400).flatmap(
    lambda requests: st.tuples(st.just(requests), st.integers(0, requests), st.integers(0, requests))
)
rules_ = st.builds(
    Rules,
    share=st.just(0.1),
    canary_s=st.just(10.0),
    max_error_share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    max_p99_ms=st.sampled_from([0.0, 50.0]),
    minimum_requests=st.integers(0, 200),
)


@given(counts, st.integers(1, 50), st.floats(0, 100), rules_)
def test_more_errors_never_save_a_canary(
    given_counts: tuple[int, int, int], more: int, age_s: float, rules: Rules
) -> None:
    requests, errors, slow = given_counts
    if isinstance(decide(traffic(requests, errors, slow), age_s=age_s, rules=rules), RollBack):
        worse = traffic(requests, min(requests, errors + more), slow)
        slower = traffic(requests, errors, min(requests, slow + more))
        both = traffic(requests + more, errors + more, slow + more)
        for counters in (worse, slower, both):
            assert isinstance(decide(counters, age_s=age_s, rules=rules), RollBack)


@given(counts, rules_)
def test_time_alone_never_turns_a_promotion_back(given_counts: tuple[int, int, int], rules: Rules) -> None:
    counters = traffic(*given_counts)
    if isinstance(decide(counters, age_s=10, rules=rules), Promote):
        assert isinstance(decide(counters, age_s=10_000, rules=rules), Promote)


@given(counts, st.floats(0, 1000), rules_)
def test_nothing_is_promoted_above_its_bounds(
    given_counts: tuple[int, int, int], age_s: float, rules: Rules
) -> None:
    requests, errors, slow = given_counts
    if isinstance(decide(traffic(*given_counts), age_s=age_s, rules=rules), Promote):
        assert age_s >= rules.canary_s
        assert requests >= max(1, rules.minimum_requests)
        assert errors <= rules.max_error_share * requests
        assert rules.max_p99_ms == 0 or slow <= 0.01 * requests


class Canary(RuleBasedStateMachine):
    """Any order of traffic, restarts and ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = Rollout(RULES, began_s=0)
        self.now_s = 0.0
        self.total = self.failed = self.seen = self.seen_failed = 0

    @rule(requests=st.integers(0, 60), errors=st.integers(0, 2), seconds=st.floats(0, 60))
    def serve(self, requests: int, errors: int, seconds: float) -> None:
        self.now_s += seconds
        self.seen += requests
        self.seen_failed += min(errors, requests)
        self.total += requests
        self.failed += min(errors, requests)
        self.feed()

    @rule()
    def restart(self) -> None:
        self.seen = self.seen_failed = 0
        self.feed()

    def feed(self) -> None:
        counters = traffic(self.seen, self.seen_failed)
        tick = Tick(self.now_s, is_loaded=True, failed="", has_live=True, traffic=counters)
        self.decision = self.rollout.feed(tick)
        if isinstance(self.decision, Promote):
            assert self.failed <= 0.01 * self.total

    @invariant()
    def holds(self) -> None:
        self.rollout.check()


TestCanary = Canary.TestCase
