"""Builds and Apps as views: where each stands on the ring of eight stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kernos.api.present.artifacts import version_views
from kernos.api.present.runs import descendants, run_views
from kernos.api.present.services import service_stages, service_url
from kernos.api.views import AppView, BuildView, StageView, VerdictView
from kernos.base.ids import RunId
from kernos.catalog.records import (
    ENDED,
    ArtifactRecord,
    DeploymentRecord,
    MonitorRecord,
    RunRecord,
    VersionRecord,
)
from kernos.runtime.wanted import Status
from kernos.spec.manifest import Manifest

if TYPE_CHECKING:
    from kernos.catalog.store import Reader
    from kernos.kernel.run import Usage

PACKAGES_SHOWN = 20
RING: tuple[str, ...] = ("ingest", "prepare", "train", "gate", "package", "deploy", "infer", "observe")


def build_view(
    reader: Reader,
    build: RunRecord,
    status: Status | None,
    usage: Mapping[RunId, Usage],
    now_ms: int,
) -> BuildView:
    children = descendants(reader, build.id)
    told = _Told(build, children)
    package = told.package()
    deployment = reader.get(DeploymentRecord, build.app)
    return BuildView(
        id=build.id,
        app=build.app,
        state=build.state,
        reason=build.reason,
        cause=str(build.payload.get("cause") or f"principal:{build.owner}"),
        cached=_is_cached(build, children),
        stages=_stages(build, children, told, deployment, reader.get(MonitorRecord, build.app), status),
        verdicts=told.verdicts(),
        data=told.data(),
        best=told.best(),
        package=package,
        url=service_url(build.app, status) if _serves(deployment, package) else "",
        queued_ms=build.queued_ms,
        ended_ms=build.ended_ms,
        children=run_views(reader, children, usage, now_ms),
    )


def app_view(
    reader: Reader,
    version: VersionRecord,
    status: Status | None,
    usage: Mapping[RunId, Usage],
    now_ms: int,
    *,
    builds: int,
) -> AppView:
    """The App behind `version` of `/apps/<name>`, with its newest `builds` builds."""
    name = version.path.rpartition("/")[2]
    manifest = _manifest(reader, version)
    records = reader.list(
        RunRecord, where={"kind": "build", "app": name}, order_by="id", descending=True, limit=builds
    )
    views = [build_view(reader, record, status, usage, now_ms) for record in records]
    deployment = reader.get(DeploymentRecord, name)
    packages = reader.list(
        VersionRecord,
        where={"path": f"/packages/{name}"},
        order_by="version",
        descending=True,
        limit=PACKAGES_SHOWN,
    )
    flow = next(iter(manifest.flows), None)
    return AppView(
        name=name,
        doc=manifest.doc,
        version=version.version,
        target=manifest.target,
        sensitive=manifest.sensitive,
        gates=[rule.text for rule in manifest.gates],
        trigger=flow.trigger.text if flow else "",
        stages=_app_stages(views, deployment, reader.get(MonitorRecord, name), status),
        verdicts=next((view.verdicts for view in views if view.verdicts), []),
        builds=views,
        packages=version_views(reader, packages),
        live=deployment.live if deployment else None,
        canary=deployment.canary if deployment else None,
    )


class _Told:
    """The outcome as far as it is known: from the build once it has ended, from its children before."""

    def __init__(self, build: RunRecord, children: Sequence[RunRecord]) -> None:
        self._build = build.result
        self._own = {child.kind: child for child in children if child.parent == build.id}

    def verdicts(self) -> list[VerdictView]:
        found = self._build.get("verdicts") or self._result("gate").get("verdicts") or []
        return msgspec.convert(found, list[VerdictView])

    def data(self) -> list[str]:
        reads = self._result("flow").get("reads", {})
        return list(self._build.get("data") or sorted(set(reads.values())))

    def best(self) -> dict[str, Any]:
        return dict(self._build.get("best") or self._result("tune").get("best") or {})

    def package(self) -> str:
        return str(self._build.get("package") or self._result("package").get("ref", ""))

    def _result(self, kind: str) -> dict[str, Any]:
        child = self._own.get(kind)  # type: ignore[call-overload]  # kinds are literals, asked by name
        return child.result if child and child.state in {"done", "cached"} else {}


def _manifest(reader: Reader, version: VersionRecord) -> Manifest:
    artifact = reader.get(ArtifactRecord, version.digest)
    declared = artifact.meta.get("manifest") if artifact else None
    if declared is None:
        return Manifest(app=version.path.rpartition("/")[2], target="")
    return msgspec.convert(declared, Manifest)


def _is_cached(build: RunRecord, children: Sequence[RunRecord]) -> bool:
    if build.state == "cached":
        return True
    work = [child for child in children if child.kind not in {"load"}]
    return build.state == "done" and bool(work) and all(child.state == "cached" for child in work)


def _serves(deployment: DeploymentRecord | None, package: str) -> bool:
    number = package.rpartition("@")[2]
    return (
        deployment is not None and number.isdecimal() and int(number) in {deployment.live, deployment.canary}
    )


def _app_stages(
    builds: Sequence[BuildView],
    deployment: DeploymentRecord | None,
    monitor: MonitorRecord | None,
    status: Status | None,
) -> list[StageView]:
    made = builds[0].stages[:5] if builds else [StageView(name, "idle", "") for name in RING[:5]]
    return [*made, *service_stages(deployment, monitor, status)]


def _stages(
    build: RunRecord,
    children: Sequence[RunRecord],
    told: _Told,
    deployment: DeploymentRecord | None,
    monitor: MonitorRecord | None,
    status: Status | None,
) -> list[StageView]:
    steps = [child for child in children if child.kind == "step"]
    making = [child for child in steps if _makes_model(child)]
    own = [child for child in children if child.parent == build.id]
    parts = {
        "ingest": [child for child in own if child.kind == "ingest"],
        "prepare": [child for child in steps if child not in making],
        "train": [*(child for child in own if child.kind in {"tune", "flow"}), *making],
        "gate": [child for child in own if child.kind in {"evaluate", "gate"}],
        "package": [child for child in own if child.kind == "package"],
    }
    details = {
        "ingest": ", ".join(
            told.data() or [str(run.result["ref"]) for run in parts["ingest"] if "ref" in run.result]
        ),
        "prepare": _prepare_detail(parts["prepare"]),
        "train": _train_detail(children, told),
        "gate": _gate_detail(told),
        "package": told.package(),
    }
    made = [_stage(build, name, runs, details[name]) for name, runs in parts.items()]
    if build.state == "cached":
        made = [StageView(stage.name, "cached", stage.detail) for stage in made]
    elif not parts["ingest"] and told.data():
        made[0] = StageView("ingest", "cached", details["ingest"])
    if _serves(deployment, told.package()):
        return [*made, *service_stages(deployment, monitor, status)]
    return [*made, *service_stages(None, None, None)]


def _stage(build: RunRecord, name: str, runs: Sequence[RunRecord], detail: str) -> StageView:
    if not runs:
        return StageView(name, "idle" if build.state in ENDED else "waiting", detail)
    states = {run.state for run in runs}
    failed = next((run for run in runs if run.state in {"failed", "stopped"}), None)
    if failed is not None:
        return StageView(name, "failed", failed.reason, failed.id)
    newest = max(runs, key=lambda run: run.id)
    if name == "gate" and newest.result.get("passed") is False:
        return StageView(name, "failed", detail, newest.id)
    if states <= ENDED:
        return StageView(name, "cached" if states == {"cached"} else "done", detail, newest.id)
    if states == {"queued"}:
        return StageView(name, "waiting", newest.reason or detail, newest.id)
    return StageView(name, "running", detail, newest.id)


def _makes_model(step: RunRecord) -> bool:
    value = step.result.get("value")
    return isinstance(value, Mapping) and value.get("kind") == "model"


def _prepare_detail(steps: Sequence[RunRecord]) -> str:
    if not steps:
        return ""
    cached = sum(step.state == "cached" for step in steps)
    names = ", ".join(dict.fromkeys(step.name for step in steps))
    return f"{names} ({cached} of {len(steps)} cached)" if cached else names


def _train_detail(children: Sequence[RunRecord], told: _Told) -> str:
    trials = [child for child in children if child.kind == "trial"]
    ended = sum(trial.state in ENDED for trial in trials)
    best = told.best()
    params = best.get("params")
    if isinstance(params, Mapping) and params:
        chosen = ", ".join(f"{key}={_short(value)}" for key, value in params.items())
        return f"{len(trials)} trials, best {chosen}" if trials else f"best {chosen}"
    return f"{ended} of {len(trials)} trials" if trials else ""


def _gate_detail(told: _Told) -> str:
    verdicts = told.verdicts()
    refused = [verdict.rule for verdict in verdicts if not verdict.passed]
    if refused:
        return "refused: " + "; ".join(refused)
    return f"{len(verdicts)} of {len(verdicts)} passed" if verdicts else ""


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
