from __future__ import annotations

from kernos.api.history import POINTS, History
from kernos.runtime.wanted import Traffic


def _traffic(requests: int, bucket: int = 5, version: int = 1, app: str = "a") -> Traffic:
    buckets = [0] * 26
    buckets[bucket] = requests
    return Traffic(app, version, requests, requests, 0, 0, buckets)


def test_rates_and_latencies_are_of_the_interval() -> None:
    history = History()

    history.feed(0, [_traffic(100)])
    history.feed(2000, [_traffic(104)])

    assert history.requests_per_s("a") == [(2000, 2.0)]
    [(at_ms, p50, p99)] = history.latency_ms("a")
    assert at_ms == 2000
    assert 0.75 < p50 < p99 <= 1.0


def test_versions_of_one_app_are_added() -> None:
    history = History()

    history.feed(0, [_traffic(10), _traffic(0, version=2)])
    history.feed(1000, [_traffic(15), _traffic(5, version=2)])

    assert history.requests_per_s("a") == [(1000, 10.0)]


def test_a_quiet_interval_has_a_rate_and_no_latency() -> None:
    history = History()

    history.feed(0, [_traffic(10)])
    history.feed(1000, [_traffic(10)])

    assert history.requests_per_s("a") == [(1000, 0.0)]
    assert history.latency_ms("a") == []


def test_a_new_data_plane_sets_a_new_base() -> None:
    history = History()

    history.feed(0, [_traffic(10)])
    history.feed(1000, [_traffic(2)])
    history.feed(2000, [_traffic(3)])

    assert history.requests_per_s("a") == [(2000, 1.0)]


def test_what_has_gone_is_forgotten_and_the_rest_is_bounded() -> None:
    history = History()

    for second in range(POINTS + 10):
        history.feed(second * 1000, [_traffic(second), _traffic(1, app="b")])
    history.feed(10**9, [_traffic(10**6)])

    assert len(history.requests_per_s("a")) == POINTS
    assert history.requests_per_s("b") == []
    assert history.latency_ms("none") == []
