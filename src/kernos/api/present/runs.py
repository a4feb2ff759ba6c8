"""Runs, their causes and Events as views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kernos.api.views import EventView, RunView
from kernos.base.ids import RunId
from kernos.catalog.records import EventRecord, MetricRecord, ParamRecord, RunRecord, VersionRecord

if TYPE_CHECKING:
    from kernos.catalog.store import Reader
    from kernos.kernel.run import Usage

DESCENDANT_LIMIT = 1000
"""Of one build: what a page can show and a person can read."""


def run_views(
    reader: Reader, runs: Sequence[RunRecord], usage: Mapping[RunId, Usage], now_ms: int
) -> list[RunView]:
    """One view a Run, in the given order; four queries for all of them together."""
    ids = [run.id for run in runs]
    if not ids:
        return []
    metrics: dict[RunId, dict[str, float]] = defaultdict(dict)
    for metric in reader.list(MetricRecord, where={"run": ids}, order_by="step"):
        metrics[metric.run][metric.key] = metric.value
    params: dict[RunId, dict[str, str]] = defaultdict(dict)
    for param in reader.list(ParamRecord, where={"run": ids}):
        params[param.run][param.key] = param.value
    outputs: dict[RunId, list[str]] = defaultdict(list)
    for version in reader.list(VersionRecord, where={"run": ids}):
        if version.run is not None:
            outputs[version.run].append(f"{version.path}@{version.version}")
    return [
        _run_view(run, usage.get(run.id), now_ms, outputs[run.id], params[run.id], metrics[run.id])
        for run in runs
    ]


def _run_view(
    run: RunRecord,
    living: Usage | None,
    now_ms: int,
    outputs: list[str],
    params: dict[str, str],
    metrics: dict[str, float],
) -> RunView:
    error = run.result.get("error")
    return RunView(
        id=run.id,
        kind=run.kind,
        app=run.app,
        name=run.name,
        owner=run.owner,
        parent=run.parent,
        state=run.state,
        reason=run.reason,
        klass=run.klass,
        weight=run.weight,
        cpus=run.cpus,
        memory_bytes=run.memory_bytes,
        attempts=run.attempts,
        queued_ms=run.queued_ms,
        started_ms=run.started_ms,
        ended_ms=run.ended_ms,
        wall_s=elapsed_s(run, now_ms),
        cpu_s=living.cpu_s if living else run.usage.get("cpu_s", 0.0),
        rss_bytes=living.rss_bytes if living else int(run.usage.get("peak_rss_bytes", 0)),
        outputs=sorted(outputs),
        params=params,
        metrics=metrics,
        error=error if isinstance(error, dict) else None,
    )


def elapsed_s(run: RunRecord, now_ms: int) -> float:
    """From its start to its end, or until now; 0 for a Run that never started."""
    if run.started_ms is None:
        return 0.0
    return max(0, (run.ended_ms or now_ms) - run.started_ms) / 1000


def event_view(event: EventRecord) -> EventView:
    return EventView(
        seq=event.seq,
        at_ms=event.at_ms,
        kind=event.kind,
        subject=event.subject,
        principal=event.principal,
        payload=event.payload,
        leaf=event.leaf,
    )


def newest_events(reader: Reader, limit: int, subject: str = "") -> list[EventRecord]:
    """The last `limit` Events, oldest first."""
    where = {"subject": subject} if subject else None
    return reader.list(EventRecord, where=where, order_by="seq", descending=True, limit=limit)[::-1]


def descendants(reader: Reader, run: RunId) -> list[RunRecord]:
    """Children, their children and so on, by id; at most `DESCENDANT_LIMIT`."""
    found: list[RunRecord] = []
    parents = [run]
    while parents and len(found) < DESCENDANT_LIMIT:
        room = DESCENDANT_LIMIT - len(found)
        level = reader.list(RunRecord, where={"parent": parents}, order_by="id", limit=room)
        found.extend(level)
        parents = [child.id for child in level]
    return sorted(found, key=lambda child: child.id)
