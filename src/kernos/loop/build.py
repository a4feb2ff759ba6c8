"""How a build goes on: pure. From the build and its children so far it says the one thing to do next.

Every Run it asks for has a key made of the build and the stage, so asking twice is harmless; all state is in the Runs, so a
crash at any point loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kernos.base.digests import of_value
from kernos.base.ids import Digest
from kernos.catalog.records import ENDED, RunKind, RunRecord
from kernos.kernel.run import RunSpec
from kernos.spec.manifest import Flow, Manifest

STAGES: tuple[RunKind, ...] = ("ingest", "tune", "flow", "evaluate", "gate", "package")
"""The children of a build in their order; `ingest` only where a retrain grows its data first."""

DEFAULT_METRIC = "accuracy"


@dataclass(frozen=True, slots=True)
class Facts:
    build: RunRecord
    manifest: Manifest
    children: Mapping[str, RunRecord]
    """Stage -> Run, for those already submitted."""
    live: Mapping[str, Any] | None
    """The live model: digest, signature, ref."""
    lineage: list[Any]
    """Of the new model, once there is one."""
    key_id: str


@dataclass(frozen=True, slots=True)
class Submit:
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Deploy:
    version: int
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """The build ends without a deployment: `failed`, `stopped`, or `done` for an App that serves nothing."""

    state: str
    reason: str
    result: dict[str, Any]


Order = Submit | Deploy | End


def plan(facts: Facts) -> Order | None:
    """The next order, or None while a child is at work."""
    for stage in _stages(facts):
        run = facts.children.get(stage)
        if run is None:
            return Submit(_spec(facts, stage))
        if run.state not in ENDED:
            return None
        if run.state not in {"done", "cached"}:
            return End(
                "failed", f"{stage} (run {run.id}): {run.reason}", {"failed_stage": stage, **summary(facts)}
            )
        if stage == "gate" and not run.result["passed"]:
            return End("failed", _refusal(run), {"failed_stage": "gate", **summary(facts)})
    result = summary(facts)
    if facts.manifest.service is None:
        return End("done", "the App serves nothing", result)
    return Deploy(facts.children["package"].result["version"], result)


def stage_key(build: int, stage: str) -> str:
    return f"build:{build}:{stage}"


def flow_of(manifest: Manifest, name: str) -> Flow:
    return next(flow for flow in manifest.flows if flow.name == name)


def summary(facts: Facts) -> dict[str, Any]:
    """What the build has come to so far, as its result shows it."""
    children = facts.children
    flow, gate, package = (_result(children, stage) for stage in ("flow", "gate", "package"))
    return {
        "data": sorted(flow.get("reads", {}).values()),
        "reads": flow.get("reads", {}),
        "model": flow.get("ref", ""),
        "best": _result(children, "tune").get("best", {}),
        "verdicts": gate.get("verdicts", []),
        "package": package.get("ref", ""),
        "version": package.get("version"),
    }


def _stages(facts: Facts) -> list[RunKind]:
    flow = flow_of(facts.manifest, facts.build.payload["flow"])
    skipped = set()
    if not facts.build.payload.get("grow"):
        skipped.add("ingest")
    if not flow.trials:
        skipped.add("tune")
    return [stage for stage in STAGES if stage not in skipped]


def _result(children: Mapping[str, RunRecord], stage: str) -> dict[str, Any]:
    run = children.get(stage)
    return run.result if run is not None and run.state in {"done", "cached"} else {}


def _refusal(gate: RunRecord) -> str:
    refused = [v for v in gate.result["verdicts"] if not v["passed"]]
    told = "; ".join(f"{v['rule']} ({_figure(v)})" for v in refused)
    return f"refused by the gate: {told}"


def _figure(verdict: Mapping[str, Any]) -> str:
    value = verdict["value"]
    parts = [] if value is None else [f"is {value:.3f}"]
    return ", ".join([*parts, verdict["note"]] if verdict["note"] else parts) or "no figure"


def _spec(facts: Facts, stage: RunKind) -> RunSpec:
    build = facts.build
    common = {key: build.payload[key] for key in ("app", "code", "main", "flow", "arguments", "split")}
    details = _PAYLOADS[stage](facts)
    return RunSpec(
        kind=stage,
        app=build.app,
        name=_NAMES[stage](facts),
        owner=build.owner,
        parent=build.id,
        key=stage_key(build.id, stage),
        klass=build.klass,
        weight=build.weight,
        cpus=0.0 if stage in {"tune", "flow"} else 1.0,
        entry=_ENTRIES[stage],
        payload={**common, **details},
    )


def _tuned(facts: Facts) -> dict[str, Any]:
    best: dict[str, Any] = _result(facts.children, "tune").get("best", {})
    params: dict[str, Any] = best.get("params", {})
    return params


def _grow(facts: Facts) -> dict[str, Any]:
    return dict(facts.build.payload["grow"])


def _tune(facts: Facts) -> dict[str, Any]:
    flow = flow_of(facts.manifest, facts.build.payload["flow"])
    return {
        "space": flow.tune,
        "choices": flow.choices,
        "trials": flow.trials,
        "parallel": facts.build.payload["parallel"],
        "seed": facts.build.payload["seed"],
        "metric": _metric(facts.manifest),
    }


def _flow(facts: Facts) -> dict[str, Any]:
    return {"tuned": _tuned(facts)}


def _evaluate(facts: Facts) -> dict[str, Any]:
    flow = _result(facts.children, "flow")
    columns = [
        c for spec in flow["meta"]["signature"]["inputs"] for c in (spec.get("columns") or [spec["name"]])
    ]
    return {"tuned": _tuned(facts), "model_step": flow["step"], "columns": columns, "reads": flow["reads"]}


def _gate(facts: Facts) -> dict[str, Any]:
    flow, evaluated = _result(facts.children, "flow"), _result(facts.children, "evaluate")
    return {
        "candidate": {"digest": flow["value"]["digest"], "signature": flow["meta"]["signature"]},
        "live": facts.live,
        "table": evaluated["table"],
        "rows_read": evaluated["rows_read"],
        "rows_kept": evaluated["rows_kept"],
        "rules": msgspec.to_builtins(facts.manifest.gates),
        "target": facts.manifest.target,
        "sensitive": facts.manifest.sensitive,
    }


def _package(facts: Facts) -> dict[str, Any]:
    flow, gate = _result(facts.children, "flow"), _result(facts.children, "gate")
    return {
        "digest": flow["value"]["digest"],
        "model": flow["meta"],
        "model_ref": flow["ref"],
        "table": flow["table"],
        "tuned": _tuned(facts),
        "verdicts": gate["verdicts"],
        "report": gate["report"],
        "accuracy": gate["accuracy"],
        "figures": gate["figures"],
        "groups": gate["groups"],
        "held_out_rows": gate["rows"],
        "metrics": {v["rule"]: v["value"] for v in gate["verdicts"] if v["value"] is not None},
        "data": sorted(flow["reads"].values()),
        "target": facts.manifest.target,
        "sensitive": facts.manifest.sensitive,
        "doc": facts.manifest.doc,
        "lineage": facts.lineage,
        "key_id": facts.key_id,
        "created_ms": facts.children["gate"].ended_ms,
        "recent_rows": _result(facts.children, "ingest").get("newest_part_rows", 0),
    }


def _metric(manifest: Manifest) -> str:
    """What trials are scored by: the first gate's metric that needs no column, else accuracy."""
    named = (rule.metric for rule in manifest.gates if rule.kind == "threshold" and not rule.column)
    return next((metric for metric in named if metric != "coverage"), DEFAULT_METRIC)


def cache_key(step_code: str, arguments: Mapping[str, Any], environment: str) -> Digest:
    """The key under which a step's result is known: its code, its arguments, the libraries it runs with."""
    return of_value({"code": step_code, "arguments": dict(arguments), "environment": environment})


def build_fingerprint(code: str, flow: str, arguments: Mapping[str, Any], environment: str) -> str:
    """Two builds with the same fingerprint and the same data come to the same model."""
    return of_value({"code": code, "flow": flow, "arguments": dict(arguments), "environment": environment})


_ENTRIES = {
    "ingest": "kernos.loop.work.ingest:grow",
    "tune": "kernos.loop.work.tune:run",
    "flow": "kernos.loop.work.flow:run",
    "evaluate": "kernos.loop.work.evaluate:run",
    "gate": "kernos.loop.work.gate:run",
    "package": "kernos.loop.work.package:run",
}
_PAYLOADS = {
    "ingest": _grow,
    "tune": _tune,
    "flow": _flow,
    "evaluate": _evaluate,
    "gate": _gate,
    "package": _package,
}
_NAMES: dict[str, Callable[[Facts], str]] = {
    "ingest": lambda facts: facts.build.payload["grow"]["name"],
    "tune": lambda facts: ", ".join(flow_of(facts.manifest, facts.build.payload["flow"]).tune),
    "flow": lambda facts: facts.build.payload["flow"],
    "evaluate": lambda facts: "held-out rows",
    "gate": lambda facts: facts.build.app,
    "package": lambda facts: facts.build.app,
}
