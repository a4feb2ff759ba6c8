"""A canary's fate from its counters: wait, promote or roll back. Facts in, decision out; time is a fact.

Two shares are watched: requests that failed, against `max_error_share`, and requests slower than
`max_p99_ms`, against 1 %. During the canary a share counts as exceeded only with evidence: at least three
cases, and the lower Wilson bound at three standard errors above what is allowed. At the end the share itself
decides. A p99 means nothing below a hundred requests, so with such a bound a canary needs that many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernos.base.units import show_seconds
from kernos.runtime.wanted import LATENCY_BOUNDS_MS, Traffic

_SLOW_SHARE = 0.01
_P99_REQUESTS = 100
_EVIDENCE_CASES = 3
_EVIDENCE_SIGMAS = 3.0
"""Counters are looked at several times a second: two sigmas would roll back a sound canary now and then."""
_PATIENCE = 3.0
"""Without traffic, this many times the canary's length passes before the wait is called stuck."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the App's `serve` asks for, and the operator's least number of requests."""

    share: float
    """The canary's share of traffic, 0 to 1; 0 means that none is wanted."""
    canary_s: float
    max_error_share: float
    max_p99_ms: float
    """0: no bound."""
    minimum_requests: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The facts of one moment."""

    now_s: float
    is_loaded: bool
    failed: str
    """Why the version did not load; empty unless it failed."""
    has_live: bool
    """Whether a version is live beside it."""
    traffic: Traffic | None
    """The canary's counters; None while the data plane has none."""


@dataclass(frozen=True, slots=True)
class Wait:
    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    reason: str


@dataclass(frozen=True, slots=True)
class RollBack:
    reason: str


Decision = Wait | Promote | RollBack


class Rollout:
    """One canary of one service, from `began_s` (on the clock of the ticks) to its promotion or its end.

    Counters that fall belong to a data plane that was started again; what it had counted is kept.
    """

    def __init__(self, rules: Rules, began_s: float) -> None:
        self._rules = rules
        self._began_s = began_s
        self._before = _Counts()
        self._now = _Counts()

    def feed(self, tick: Tick) -> Decision:
        if tick.failed:
            return RollBack(f"It did not load: {tick.failed}")
        if not tick.is_loaded:
            return Wait("The data plane is loading it.")
        if not tick.has_live:
            return Promote("It is the first version.")
        if self._rules.share <= 0 or self._rules.canary_s <= 0:
            return Promote("The App asks for no canary.")
        counts = self._count(tick.traffic)
        return self._exceeded(counts) or self._ripe(counts, tick.now_s - self._began_s)

    def check(self) -> None:
        """Assert what must always hold."""
        for counts in (self._before, self._now):
            assert 0 <= counts.errors <= counts.requests, counts
            assert 0 <= counts.slow <= counts.requests, counts

    def _count(self, traffic: Traffic | None) -> _Counts:
        now = _Counts() if traffic is None else _counts(traffic, self._rules.max_p99_ms)
        if now.requests < self._now.requests:
            self._before += self._now
        self._now = now
        return self._before + now

    def _exceeded(self, counts: _Counts) -> RollBack | None:
        """What evidence says at any time."""
        if _is_evident(counts.errors, counts.requests, self._rules.max_error_share):
            return self._too_many_errors(counts)
        if counts.requests >= _P99_REQUESTS and _is_evident(counts.slow, counts.requests, _SLOW_SHARE):
            return self._too_slow(counts)
        return None

    def _ripe(self, counts: _Counts, age_s: float) -> Decision:
        """What the shares say once time and requests are enough."""
        rules = self._rules
        wanted = max(rules.minimum_requests, _P99_REQUESTS if rules.max_p99_ms > 0 else 1)
        if age_s >= rules.canary_s * _PATIENCE and counts.requests == 0:
            return Wait(
                f"No request has reached the canary in {show_seconds(age_s)}; it waits for {wanted}. "
                "Send requests, or deploy the version by hand."
            )
        if age_s < rules.canary_s or counts.requests < wanted:
            return Wait(
                f"{show_seconds(max(0.0, age_s))} of {show_seconds(rules.canary_s)}, "
                f"{counts.requests} of {wanted} requests, {counts.errors} errors."
            )
        if counts.errors > rules.max_error_share * counts.requests:
            return self._too_many_errors(counts)
        if counts.slow > _SLOW_SHARE * counts.requests:
            return self._too_slow(counts)
        return Promote(f"{counts.requests} requests, {counts.errors} failed and {counts.slow} slow.")

    def _too_many_errors(self, counts: _Counts) -> RollBack:
        return RollBack(
            f"{counts.errors} of {counts.requests} requests failed; "
            f"{self._rules.max_error_share:.2%} are allowed."
        )

    def _too_slow(self, counts: _Counts) -> RollBack:
        return RollBack(
            f"{counts.slow} of {counts.requests} requests took longer than {self._rules.max_p99_ms:g} ms; "
            f"{_SLOW_SHARE:.0%} may."
        )


@dataclass(frozen=True, slots=True)
class _Counts:
    requests: int = 0
    errors: int = 0
    slow: int = 0

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(self.requests + other.requests, self.errors + other.errors, self.slow + other.slow)


def _counts(traffic: Traffic, max_p99_ms: float) -> _Counts:
    return _Counts(traffic.requests, traffic.errors, _slow(traffic.latency_ms_buckets, max_p99_ms))


def _slow(buckets: Sequence[int], bound_ms: float) -> int:
    """Requests that surely took longer: those of buckets which begin at the bound or above it."""
    if bound_ms <= 0:
        return 0
    return sum(count for low, count in zip(LATENCY_BOUNDS_MS, buckets[1:], strict=False) if low >= bound_ms)


def _is_evident(cases: int, requests: int, allowed: float) -> bool:
    return cases >= _EVIDENCE_CASES and _wilson_low(cases, requests) > allowed


def _wilson_low(cases: int, requests: int) -> float:
    """Lower end of the score interval for a share (Wilson 1927)."""
    share, z2 = cases / requests, _EVIDENCE_SIGMAS**2
    middle = share + z2 / (2 * requests)
    spread = _EVIDENCE_SIGMAS * math.sqrt(share * (1 - share) / requests + z2 / (4 * requests**2))
    return (middle - spread) / (1 + z2 / requests)
