"""The last minutes of each service's traffic, from counters that only grow. Pure: status in, points out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from kernos.api.present.latency import quantile_ms
from kernos.runtime.wanted import Traffic

POINTS = 300
"""Ten minutes at one sample in two seconds."""


@dataclass(slots=True)
class _Service:
    at_ms: int
    requests: int
    buckets: list[int]
    latency_ms: deque[tuple[int, float, float]] = field(default_factory=lambda: deque(maxlen=POINTS))
    requests_per_s: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=POINTS))


class History:
    """Bounded: services that have gone from the status are forgotten."""

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}

    def feed(self, at_ms: int, traffic: Sequence[Traffic]) -> None:
        """One sample. Counters that shrink mean a new data plane: its first sample only sets the base."""
        totals: dict[str, tuple[int, list[int]]] = {}
        for line in traffic:
            requests, buckets = totals.get(line.app, (0, []))
            totals[line.app] = (requests + line.requests, _added(buckets, line.latency_ms_buckets))
        for app in set(self._services) - set(totals):
            del self._services[app]
        for app, (requests, buckets) in totals.items():
            self._add(app, at_ms, requests, buckets)

    def latency_ms(self, app: str) -> list[tuple[int, float, float]]:
        """(time ms, p50 ms, p99 ms) of each interval that had requests."""
        service = self._services.get(app)
        return list(service.latency_ms) if service else []

    def requests_per_s(self, app: str) -> list[tuple[int, float]]:
        service = self._services.get(app)
        return list(service.requests_per_s) if service else []

    def _add(self, app: str, at_ms: int, requests: int, buckets: list[int]) -> None:
        before = self._services.get(app)
        if before is None:
            self._services[app] = _Service(at_ms, requests, buckets)
            return
        seconds = (at_ms - before.at_ms) / 1000
        fresh = [now - then for now, then in zip(buckets, before.buckets or [0] * len(buckets), strict=False)]
        if requests >= before.requests and seconds > 0 and min(fresh, default=0) >= 0:
            before.requests_per_s.append((at_ms, (requests - before.requests) / seconds))
            if any(fresh):
                before.latency_ms.append((at_ms, quantile_ms(fresh, 0.5), quantile_ms(fresh, 0.99)))
        before.at_ms, before.requests, before.buckets = at_ms, requests, buckets


def _added(a: Sequence[int], b: Sequence[int]) -> list[int]:
    if not a or not b:
        return list(a or b)
    return [left + right for left, right in zip(a, b, strict=True)]
