"""Counters that only grow, and their text for Prometheus."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernos.runtime.counters import Counters, Gauge, exposition
from kernos.runtime.wanted import LATENCY_BOUNDS_MS


@given(st.lists(st.lists(st.floats(0, 10_000), min_size=1, max_size=5), max_size=10))
def test_every_request_lies_in_one_bucket(batches: list[list[float]]) -> None:
    counters = Counters("m", 1)
    for latencies in batches:
        counters.answered(2 * len(latencies), latencies)

    traffic = counters.traffic()
    flat = [latency for batch in batches for latency in batch]
    assert traffic.requests == sum(traffic.latency_ms_buckets) == len(flat)
    assert traffic.rows == 2 * len(flat)
    for place, bound in enumerate(LATENCY_BOUNDS_MS):
        assert sum(traffic.latency_ms_buckets[: place + 1]) == sum(latency <= bound for latency in flat)


def test_failures_are_requests_without_rows() -> None:
    counters = Counters("m", 1)
    counters.failed()

    assert (counters.traffic().requests, counters.traffic().errors, counters.traffic().rows) == (1, 1, 0)


def test_prometheus_reads_it() -> None:
    counters = Counters("m", 3)
    counters.answered(4, [0.05, 60.0, 9999.0])
    counters.cpu_s = 1.5

    text = exposition([counters], [Gauge("kernos_connections", "gauge", "Open connections.", 2)]).decode()

    for line in (
        "# TYPE kernos_connections gauge",
        "kernos_connections 2",
        'kernos_requests_total{app="m",version="3"} 3',
        'kernos_rows_total{app="m",version="3"} 4',
        'kernos_run_cpu_seconds_total{app="m",version="3"} 1.5',
        'kernos_latency_seconds_bucket{app="m",version="3",le="0.0001"} 1',
        'kernos_latency_seconds_bucket{app="m",version="3",le="0.075"} 2',
        'kernos_latency_seconds_bucket{app="m",version="3",le="+Inf"} 3',
        'kernos_latency_seconds_count{app="m",version="3"} 3',
    ):
        assert line in text.splitlines()
    assert text.endswith("\n")
