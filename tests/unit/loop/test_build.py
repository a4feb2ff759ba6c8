"""The planner sees only records: each test hands it a build and its children and looks at the next order."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.ids import RunId
from kernos.catalog.records import RunKind, RunRecord, RunState
from kernos.loop.build import (
    STAGES,
    Deploy,
    End,
    Facts,
    Submit,
    build_fingerprint,
    cache_key,
    plan,
    stage_key,
)
from kernos.spec.manifest import Flow, Manifest, Rule, Service

SIGNATURE = {
    "task": "classification",
    "inputs": [{"name": "input", "columns": ["age", "bmi"]}],
    "outputs": [],
}
VERDICTS = [
    {
        "rule": "accuracy >= 0.65",
        "passed": True,
        "value": 0.8,
        "low": 0.7,
        "high": 0.9,
        "rows": 100,
        "note": "",
    }
]
RESULTS: dict[str, dict[str, Any]] = {
    "ingest": {"ref": "/data/d@2", "newest_part_rows": 300},
    "tune": {"best": {"params": {"C": 0.1}, "value": 0.8}},
    "flow": {
        "ref": "/models/d@1",
        "reads": {"d.parquet": "/data/d@1"},
        "step": "train",
        "value": {"kind": "model", "digest": "sha256:m"},
        "table": {"kind": "table", "digest": "sha256:t"},
        "meta": {"signature": SIGNATURE},
    },
    "evaluate": {"table": {"kind": "table", "digest": "sha256:e"}, "rows_read": 100, "rows_kept": 90},
    "gate": {
        "passed": True, "verdicts": VERDICTS, "rows": 90, "report": "sha256:r", "accuracy": 0.8, "figures": {},
        "groups": [], "model": "sha256:m",
    },
    "package": {"ref": "/packages/d@1", "version": 1},
}  # fmt: skip


def run(
    run_id: int, kind: RunKind, state: RunState, result: dict[str, Any], payload: dict[str, Any]
) -> RunRecord:
    return RunRecord(
        id=RunId(run_id), kind=kind, app="d", name="n", owner="ada", parent=None, key="", state=state, reason="because",
        klass="batch", weight=1.0, cpus=1.0, memory_bytes=0, wall_s=0.0, entry="", payload=payload, result=result,
        attempts=1, retries=0, queued_ms=0, started_ms=0, ended_ms=7, usage={},
    )  # fmt: skip


def build(**payload: Any) -> RunRecord:
    common = {
        "app": "d", "code": "sha256:c", "main": "app.py", "flow": "build", "arguments": {}, "split": {}, "parallel": 2,
        "seed": 1, "folder": "/", "cause": "principal:ada",
    }  # fmt: skip
    return run(10, "build", "running", {}, {**common, **payload})


def facts(done: list[str], *, serve: bool = True, trials: int = 8, **changes: Any) -> Facts:
    flow = Flow("build", "sha256:f", tune={"C": [0.1, 1.0]} if trials else {}, trials=trials)
    manifest = Manifest(
        "d", "y", gates=[Rule("accuracy >= 0.65", "threshold", "accuracy", "", ">=", 0.65)], flows=[flow],
        service=Service("build") if serve else None,
    )  # fmt: skip
    children: dict[str, RunRecord] = {
        stage: run(20 + i, stage, "done", RESULTS[stage], {})
        for i, stage in enumerate(STAGES)
        if stage in done
    }
    made = Facts(build=build(), manifest=manifest, children=children, live=None, lineage=[], key_id="k")
    return Facts(**{**{name: getattr(made, name) for name in made.__slots__}, **changes})


def submitted(order: object) -> str:
    assert isinstance(order, Submit)
    return order.spec.kind


def test_stages_come_one_after_the_other() -> None:
    order = ["tune", "flow", "evaluate", "gate", "package"]
    for i, stage in enumerate(order):
        assert submitted(plan(facts(order[:i]))) == stage
    assert plan(facts(order)) == Deploy(1, plan_result())


def plan_result() -> dict[str, Any]:
    return {
        "data": ["/data/d@1"], "reads": {"d.parquet": "/data/d@1"}, "model": "/models/d@1",
        "best": {"params": {"C": 0.1}, "value": 0.8}, "verdicts": VERDICTS, "package": "/packages/d@1", "version": 1,
    }  # fmt: skip


def test_without_trials_the_flow_comes_first() -> None:
    assert submitted(plan(facts([], trials=0))) == "flow"


def test_a_retrain_grows_its_data_first() -> None:
    grown = facts([], build=build(grow={"name": "d", "source": "d.parquet"}))

    assert submitted(plan(grown)) == "ingest"


def test_an_app_without_a_service_ends_after_packaging() -> None:
    order = plan(facts(["tune", "flow", "evaluate", "gate", "package"], serve=False))

    assert isinstance(order, End)
    assert order.state == "done"


def test_nothing_is_asked_while_a_child_works() -> None:
    for state in ("queued", "running"):
        tune = run(20, "tune", state, {}, {})
        assert plan(facts([], children={"tune": tune})) is None


def test_a_failed_child_ends_the_build_with_its_reason() -> None:
    order = plan(facts([], children={"tune": run(20, "tune", "failed", {}, {})}))

    assert isinstance(order, End)
    assert order.state == "failed"
    assert order.reason == "tune (run 20): because"
    assert order.result["failed_stage"] == "tune"


def test_a_refusal_names_rule_and_figure_and_nothing_is_packaged() -> None:
    refused = [{**VERDICTS[0], "passed": False, "value": 0.4}]
    gate = run(23, "gate", "done", {**RESULTS["gate"], "passed": False, "verdicts": refused}, {})
    known = facts(["tune", "flow", "evaluate"])

    order = plan(facts([], children={**known.children, "gate": gate}))

    assert isinstance(order, End)
    assert order.reason == "refused by the gate: accuracy >= 0.65 (is 0.400)"
    assert order.result["package"] == ""


def test_the_best_parameters_reach_every_later_stage() -> None:
    for done in (["tune"], ["tune", "flow"], ["tune", "flow", "evaluate", "gate"]):
        order = plan(facts(done))
        assert isinstance(order, Submit)
        assert order.spec.payload["tuned"] == {"C": 0.1}


def test_the_live_model_is_judged_beside_the_candidate() -> None:
    live = {"digest": "sha256:l", "signature": SIGNATURE, "ref": "/models/d@0"}
    order = plan(facts(["tune", "flow", "evaluate"], live=live))

    assert isinstance(order, Submit)
    assert order.spec.payload["live"] == live
    assert order.spec.payload["sensitive"] == []


@given(st.sets(st.sampled_from(["tune", "flow", "evaluate", "gate", "package"])))
def test_asking_twice_asks_for_the_same(done: set[str]) -> None:
    ordered = ["tune", "flow", "evaluate", "gate", "package"]
    prefix = [stage for i, stage in enumerate(ordered) if set(ordered[: i + 1]) <= done]

    first, second = plan(facts(prefix)), plan(facts(prefix))

    assert first == second
    if isinstance(first, Submit):
        assert first.spec.key == stage_key(10, first.spec.kind)
        assert first.spec.parent == 10
        msgspec.json.encode(first.spec)


def test_fingerprints_tell_what_differs() -> None:
    base = build_fingerprint("c", "f", {"a": 1}, "e")

    assert base == build_fingerprint("c", "f", {"a": 1}, "e")
    assert len({base, build_fingerprint("d", "f", {"a": 1}, "e"), build_fingerprint("c", "f", {"a": 2}, "e"),
                build_fingerprint("c", "f", {"a": 1}, "x")}) == 4  # fmt: skip
    assert cache_key("c", {"a": 1}, "e") != cache_key("c", {"a": 1}, "x")
