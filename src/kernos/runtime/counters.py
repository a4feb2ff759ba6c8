"""What one revision has done since it was loaded; the counters only grow. Written on the event loop alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from kernos.runtime.wanted import LATENCY_BOUNDS_MS, Traffic


class Counters:
    __slots__ = (
        "app",
        "buckets",
        "cpu_s",
        "errors",
        "latency_ms_sum",
        "requests",
        "rescued",
        "rows",
        "version",
    )

    def __init__(self, app: str, version: int) -> None:
        self.app = app
        self.version = version
        self.requests = 0
        self.rows = 0
        self.errors = 0
        self.rescued = 0
        self.cpu_s = 0.0
        self.latency_ms_sum = 0.0
        self.buckets = [0] * (len(LATENCY_BOUNDS_MS) + 1)

    def answered(self, rows: int, latencies_ms: Sequence[float]) -> None:
        """A batch of requests with `rows` rows in all was answered, each after its latency."""
        self.requests += len(latencies_ms)
        self.rows += rows
        self.latency_ms_sum += sum(latencies_ms)
        buckets = self.buckets
        for latency_ms in latencies_ms:
            buckets[bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def failed(self) -> None:
        """The model itself failed on a request."""
        self.requests += 1
        self.errors += 1

    def traffic(self) -> Traffic:
        return Traffic(
            self.app,
            self.version,
            self.requests,
            self.rows,
            self.errors,
            self.rescued,
            list(self.buckets),
            self.cpu_s,
        )


class Gauge:
    """One value of the process, with its name and meaning for Prometheus."""

    __slots__ = ("help", "kind", "name", "value")

    def __init__(self, name: str, kind: str, text: str, value: float) -> None:
        self.name = name
        self.kind = kind
        self.help = text
        self.value = value


def exposition(revisions: Sequence[Counters], gauges: Sequence[Gauge]) -> bytes:
    """All counters in the Prometheus text format, version 0.0.4."""
    lines: list[str] = []
    for gauge in gauges:
        lines += [*_head(gauge.name, gauge.kind, gauge.help), f"{gauge.name} {gauge.value:g}"]
    for name, text in _COUNTERS.items():
        metric = f"kernos_{name}_total" if name != "cpu_s" else "kernos_run_cpu_seconds_total"
        lines += _head(metric, "counter", text)
        lines += [f"{metric}{{{_labels(one)}}} {getattr(one, name):.10g}" for one in revisions]
    metric = "kernos_latency_seconds"
    lines += _head(metric, "histogram", "From the last byte of a request to its answer.")
    for one in revisions:
        lines += _histogram(metric, one)
    return ("\n".join(lines) + "\n").encode()


_COUNTERS = {
    "requests": "Requests this revision has run.",
    "rows": "Rows it has answered.",
    "errors": "Requests on which the model itself failed.",
    "rescued": "Errors of this revision as a canary that the live version answered.",
    "cpu_s": "CPU time of its runs.",
}


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(one: Counters) -> str:
    return f'app="{one.app}",version="{one.version}"'


def _histogram(metric: str, one: Counters) -> list[str]:
    lines, total = [], 0
    for bound_ms, count in zip((*LATENCY_BOUNDS_MS, float("inf")), one.buckets, strict=True):
        total += count
        bound = "+Inf" if bound_ms == float("inf") else f"{bound_ms / 1000:g}"
        lines.append(f'{metric}_bucket{{{_labels(one)},le="{bound}"}} {total}')
    lines.append(f"{metric}_sum{{{_labels(one)}}} {one.latency_ms_sum / 1000:.10g}")
    lines.append(f"{metric}_count{{{_labels(one)}}} {total}")
    return lines
