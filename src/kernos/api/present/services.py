"""Deployments, counters and what watching came to, as views of services and as the ring's last stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kernos.api.present.latency import quantile_ms
from kernos.api.present.runs import event_view
from kernos.api.views import (
    AccuracyView,
    ColumnDrift,
    DriftView,
    EventView,
    ServiceView,
    StageView,
    TrafficView,
)
from kernos.catalog.records import DeploymentRecord, EventRecord, MonitorRecord
from kernos.runtime.wanted import Status, Traffic

if TYPE_CHECKING:
    from kernos.api.history import History
    from kernos.catalog.store import Reader

HISTORY_EVENTS = 20
_MOVES = ("deployment.canary", "deployment.live", "deployment.rolled_back", "drift.alarm")


def service_view(
    reader: Reader, deployment: DeploymentRecord, status: Status | None, history: History
) -> ServiceView:
    app = deployment.app
    monitor = reader.get(MonitorRecord, app)
    accuracy = accuracy_view(monitor)
    return ServiceView(
        app=app,
        url=service_url(app, status),
        phase=deployment.phase,
        reason=deployment.reason if status else f"the data plane does not answer; {deployment.reason}",
        live=deployment.live,
        previous=deployment.previous,
        canary=deployment.canary,
        share=deployment.share,
        since_ms=deployment.since_ms,
        traffic=traffic_views(deployment, status),
        drift=drift_view(monitor),
        accuracy=accuracy,
        feedback_rows=accuracy.rows if accuracy else 0,
        history=name_moves(reader, app),
        latency_ms=history.latency_ms(app),
        requests_per_s=history.requests_per_s(app),
        notes=_notes(deployment),
    )


def _notes(deployment: DeploymentRecord) -> list[str]:
    if deployment.settings.get("explain"):
        return ["explain=True: unavailable, this version of Kernos does not explain predictions yet"]
    return []


def service_url(app: str, status: Status | None) -> str:
    """Where predictions are asked for; empty while the data plane does not answer."""
    return f"{status.url.rstrip('/')}/v2/models/{app}/infer" if status else ""


def traffic_views(deployment: DeploymentRecord, status: Status | None) -> list[TrafficView]:
    """The live version, the canary, then the one before, as far as each is loaded."""
    roles = {"live": deployment.live, "canary": deployment.canary, "previous": deployment.previous}
    lines = _lines(deployment.app, status)
    views = []
    for role, version in roles.items():
        if version is None or version not in lines:
            continue
        line = lines[version]
        share = deployment.share if role == "canary" else 0.0
        if role == "live":
            share = 1.0 - (deployment.share if deployment.canary is not None else 0.0)
        views.append(
            TrafficView(
                version=version,
                role=role,
                share=share,
                requests=line.requests,
                rows=line.rows,
                errors=line.errors,
                rescued=line.rescued,
                p50_ms=quantile_ms(line.latency_ms_buckets, 0.5),
                p99_ms=quantile_ms(line.latency_ms_buckets, 0.99),
            )
        )
    return views


def drift_view(monitor: MonitorRecord | None) -> DriftView | None:
    """None until rows have been watched."""
    drift = monitor.figures.get("drift") if monitor else None
    if not isinstance(drift, Mapping):
        return None
    return DriftView(
        alarm=bool(drift.get("alarm", False)),
        rows=int(drift.get("rows", 0)),
        e_value=float(drift.get("e_value", 0.0)),
        e_bound=float(drift.get("e_bound", 0.0)),
        rows_to_alarm=drift.get("rows_to_alarm"),
        columns=[_column(column) for column in drift.get("columns", [])],
        note=str(drift.get("note", "")),
    )


def accuracy_view(monitor: MonitorRecord | None) -> AccuracyView | None:
    """Of the rows whose true answer has come back; None until one has."""
    accuracy = monitor.figures.get("accuracy") if monitor else None
    if not isinstance(accuracy, Mapping):
        return None
    return AccuracyView(
        value=accuracy.get("value"),
        low=accuracy.get("low"),
        high=accuracy.get("high"),
        rows=int(accuracy.get("rows", 0)),
    )


def name_moves(reader: Reader, app: str) -> list[EventView]:
    """Its canaries, promotions, rollbacks and alarms, newest first."""
    moves = reader.list(
        EventRecord,
        where={"subject": f"service:{app}", "kind": _MOVES},
        order_by="seq",
        descending=True,
        limit=HISTORY_EVENTS,
    )
    return [event_view(event) for event in moves]


def service_stages(
    deployment: DeploymentRecord | None, monitor: MonitorRecord | None, status: Status | None
) -> list[StageView]:
    """deploy, infer, observe."""
    if deployment is None:
        return [StageView(name, "idle", "") for name in ("deploy", "infer", "observe")]
    return [_deploy(deployment), _infer(deployment, status), _observe(monitor)]


def _deploy(deployment: DeploymentRecord) -> StageView:
    match deployment.phase:
        case "canary":
            detail = f"canary {deployment.canary} takes {deployment.share:.0%}, live is {deployment.live}"
            return StageView("deploy", "running", detail)
        case "live":
            return StageView("deploy", "done", f"version {deployment.live} is live")
        case "rolled_back":
            return StageView("deploy", "failed", f"rolled back to {deployment.live}: {deployment.reason}")
        case "stopped":
            return StageView("deploy", "idle", "stopped")


def _infer(deployment: DeploymentRecord, status: Status | None) -> StageView:
    if deployment.phase == "stopped":
        return StageView("infer", "idle", "stopped")
    if status is None:
        return StageView("infer", "failed", "the data plane does not answer")
    why = [reason for app, _, reason in status.failed if app == deployment.app]
    if why:
        return StageView("infer", "failed", why[0])
    requests = sum(line.requests for line in _lines(deployment.app, status).values())
    if not requests:
        return StageView("infer", "waiting", "no request yet")
    views = traffic_views(deployment, status)
    p99 = f", p99 {views[0].p99_ms:.1f} ms" if views else ""
    return StageView("infer", "running", f"{requests:,} requests{p99}")


def _observe(monitor: MonitorRecord | None) -> StageView:
    drift = drift_view(monitor)
    if drift is None:
        return StageView("observe", "waiting", "no row watched yet")
    if drift.alarm:
        after = f" after {drift.rows_to_alarm:,} rows" if drift.rows_to_alarm is not None else ""
        return StageView("observe", "failed", f"drift{after}")
    return StageView("observe", "running", f"no drift in {drift.rows:,} rows")


def _lines(app: str, status: Status | None) -> dict[int, Traffic]:
    lines: Sequence[Traffic] = status.traffic if status else []
    return {line.version: line for line in lines if line.app == app}


def _column(column: Mapping[str, Any]) -> ColumnDrift:
    return ColumnDrift(
        column=str(column["column"]),
        test=str(column.get("test", "")),
        p_value=column.get("p_value"),
        threshold=float(column.get("threshold", 0.0)),
        psi=column.get("psi"),
        drifted=bool(column.get("drifted", False)),
    )
