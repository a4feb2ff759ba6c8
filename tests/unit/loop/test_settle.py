"""What a Run's success leaves in the catalog: everything in one transaction, under the paths people use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kernos.base.errors import NotFoundError
from kernos.base.ids import Digest
from kernos.catalog.artifacts import lineage
from kernos.catalog.records import (
    ArtifactRecord,
    CacheRecord,
    MetricRecord,
    ParamRecord,
    RunKind,
    RunRecord,
    VersionRecord,
)
from kernos.kernel.run import RunSpec
from kernos.loop.settle import settle

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine

DIGEST = "sha256:" + "a" * 64


def settled(
    machine: Machine, kind: RunKind, payload: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    """As the kernel does it: in the transaction that ends the Run."""
    spec = RunSpec(kind, "m", kind, "ann", parent=None, cpus=0.0, entry="", payload=payload)
    run = machine.kernel.submit(spec)

    def change(tx: Any) -> dict[str, Any]:
        answer = settle(tx, run, result)
        machine.kernel.finish_in(tx, run.id, "done", "done", answer)
        return answer

    return machine.store.write(change)


def get(machine: Machine, kind: Any, *key: object) -> Any:
    with machine.store.read() as reader:
        return reader.get(kind, *key)


def listed(machine: Machine, kind: Any, **where: object) -> list[Any]:
    with machine.store.read() as reader:
        return reader.list(kind, where=where)


def edges(machine: Machine, digest: str) -> set[tuple[str, str]]:
    with machine.store.read() as reader:
        return {(edge.source, edge.role) for edge in lineage(reader, digest, depth=1)}


def test_load_publishes_the_app(machine: Machine) -> None:
    payload = {"code": DIGEST, "main": "app.py", "size_bytes": 9}

    answer = settled(machine, "load", payload, {"manifest": {"app": "m", "target": "y"}})

    assert (answer["ref"], answer["version"]) == ("/apps/m@1", 1)
    app = get(machine, ArtifactRecord, DIGEST)
    assert (app.kind, app.size_bytes, app.meta["main"]) == ("app", 9, "app.py")
    assert edges(machine, DIGEST) == {("ann", "author")}


def ingested(rows: int = 5) -> dict[str, Any]:
    return {
        "digest": DIGEST, "rows": rows, "size_bytes": 99, "columns": {"a": "Int64"}, "parts": ["sha256:p"],
        "source_sha256": "ff", "newest_part_rows": rows,
    }  # fmt: skip


def test_ingest_publishes_a_version_that_knows_its_file(machine: Machine) -> None:
    payload = {"source": "/x/rows.csv", "name": "rows", "contract": [], "inputs": [], "stamp": [1, 2]}

    answer = settled(machine, "ingest", payload, ingested())

    assert answer["ref"] == "/data/rows@1"
    meta = get(machine, ArtifactRecord, DIGEST).meta
    assert meta == {"rows": 5, "columns": {"a": "Int64"}, "parts": ["sha256:p"], "stamp": [1, 2],
                    "source": "/x/rows.csv", "source_sha256": "ff"}  # fmt: skip
    assert edges(machine, DIGEST) == {("ff", "source")}
    assert listed(machine, MetricRecord)[0].value == 5.0


def test_grown_data_keeps_the_file_of_its_base_and_names_both_its_sources(machine: Machine) -> None:
    payload = {
        "source": "rows.csv", "file": "/x/rows.csv", "source_sha256": "ff", "name": "rows", "stamp": None,
        "inputs": [["sha256:base", "data"], ["sha256:labelled", "feedback"]], "labelled_rows_used": 300,
    }  # fmt: skip

    settled(machine, "ingest", payload, {**ingested(), "source_sha256": ""})

    meta = get(machine, ArtifactRecord, DIGEST).meta
    assert (meta["source"], meta["source_sha256"], meta["labelled_rows_used"]) == ("/x/rows.csv", "ff", 300)
    assert edges(machine, DIGEST) == {("sha256:base", "data"), ("sha256:labelled", "feedback")}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"kind": "table", "digest": DIGEST, "rows": 3}, "table"),
        ({"kind": "model", "digest": DIGEST}, "model"),
        ({"kind": "array", "digest": DIGEST}, "value"),
    ],
)
def test_a_step_is_cached_with_its_output_and_inputs(
    machine: Machine, value: dict[str, Any], kind: str
) -> None:
    arguments = {"rows": {"kind": "table", "digest": "sha256:t"}, "C": {"kind": "json", "inline": 0.5}}
    payload = {"arguments": arguments, "code": "sha256:code", "cache_key": "sha256:key", "reads": {}}
    result = {"value": value, **({"model": {"size_bytes": 7}} if kind == "model" else {})}

    answer = settled(machine, "step", payload, result)

    assert answer == result
    assert get(machine, CacheRecord, Digest("sha256:key")).result == result
    assert get(machine, ArtifactRecord, DIGEST).kind == kind
    assert edges(machine, DIGEST) == {("sha256:t", "data"), ("sha256:code", "code")}
    assert [(param.key, param.value) for param in listed(machine, ParamRecord)] == [("C", "0.5")]


def test_a_step_that_gives_a_plain_value_makes_no_artifact(machine: Machine) -> None:
    payload = {"arguments": {}, "code": "sha256:code", "cache_key": "sha256:key", "reads": {}}

    settled(machine, "step", payload, {"value": {"kind": "json", "inline": 1}})

    assert listed(machine, ArtifactRecord) == []
    assert get(machine, CacheRecord, Digest("sha256:key")) is not None


def test_a_table_that_was_read_leads_back_to_its_version_and_no_table_to_itself(machine: Machine) -> None:
    machine.artifact("sha256:d1", "dataset", {}, "/data/rows")
    same = {"kind": "table", "digest": DIGEST, "rows": 3}
    payload = {
        "arguments": {"rows": same}, "code": "sha256:code", "cache_key": "sha256:key", "reads": {DIGEST: "/data/rows@1"},
    }  # fmt: skip

    settled(machine, "step", payload, {"value": same})

    assert edges(machine, DIGEST) == {("sha256:d1", "data"), ("sha256:code", "code")}


def test_a_trial_leaves_its_score_and_parameters(machine: Machine) -> None:
    settled(machine, "trial", {"params": {"C": 0.1}}, {"metric": "accuracy", "score": 0.7, "rows": 10})

    (metric,) = listed(machine, MetricRecord)
    assert (metric.key, metric.value) == ("accuracy", 0.7)
    assert [(param.key, param.value) for param in listed(machine, ParamRecord)] == [("C", "0.1")]


def flow_result(digest: str = DIGEST) -> dict[str, Any]:
    return {
        "value": {"kind": "model", "digest": digest}, "reads": {"rows.csv": "/data/rows@1"}, "step": "train",
        "table": {"kind": "table", "digest": "sha256:t"}, "meta": {"size_bytes": 7, "signature": {}},
    }  # fmt: skip


def test_a_flow_publishes_its_model_with_data_and_code(machine: Machine) -> None:
    machine.artifact("sha256:d1", "dataset", {}, "/data/rows")

    answer = settled(machine, "flow", {"code": "sha256:code", "tuned": {"C": 0.1}}, flow_result())

    assert answer["ref"] == "/models/m@1"
    assert edges(machine, DIGEST) == {("sha256:d1", "data"), ("sha256:code", "code")}
    assert get(machine, ArtifactRecord, DIGEST).meta["data"] == ["/data/rows@1"]


def test_the_same_model_again_is_the_same_version(machine: Machine) -> None:
    machine.artifact("sha256:d1", "dataset", {}, "/data/rows")
    for _ in range(2):
        answer = settled(machine, "flow", {"code": "sha256:code", "tuned": {}}, flow_result())

    assert answer["ref"] == "/models/m@1"
    assert len(listed(machine, VersionRecord, path="/models/m")) == 1


def test_an_evaluation_records_the_held_out_table(machine: Machine) -> None:
    machine.artifact("sha256:d1", "dataset", {}, "/data/rows")
    payload = {"reads": {"rows.csv": "/data/rows@1"}, "code": "sha256:code"}

    settled(machine, "evaluate", payload, {"table": {"digest": DIGEST}, "rows_read": 100, "rows_kept": 90})

    assert get(machine, ArtifactRecord, DIGEST).meta == {"rows": 90, "held_out": True}
    assert edges(machine, DIGEST) == {("sha256:d1", "data"), ("sha256:code", "code")}


@pytest.mark.parametrize("passed", [True, False])
def test_a_gate_says_in_the_journal_how_it_judged(machine: Machine, passed: bool) -> None:
    verdicts = [
        {"rule": "accuracy >= 0.6", "passed": passed, "value": 0.7},
        {"rule": "f()", "passed": True, "value": None},
    ]
    result = {"passed": passed, "verdicts": verdicts, "report": DIGEST, "model": "sha256:m"}

    settled(machine, "gate", {"table": {"digest": "sha256:t"}}, result)

    (event,) = machine.events("gate.")
    assert event.kind == ("gate.passed" if passed else "gate.refused")
    assert (event.payload["model"], event.payload["verdicts"]) == ("sha256:m", verdicts)
    assert edges(machine, DIGEST) == {("sha256:m", "model"), ("sha256:t", "data")}
    assert [(metric.key, metric.value) for metric in listed(machine, MetricRecord)] == [
        ("accuracy >= 0.6", 0.7)
    ]


def test_a_package_stands_on_model_gate_and_signer(machine: Machine) -> None:
    payload = {
        "digest": "sha256:m", "model_ref": "/models/m@1", "model": {"signature": {"task": "x"}}, "metrics": {},
        "accuracy": 0.7, "held_out_rows": 90, "data": ["/data/rows@1"], "code": "sha256:code", "key_id": "key",
        "report": "sha256:r",
    }  # fmt: skip

    answer = settled(machine, "package", payload, {"digest": DIGEST, "size_bytes": 5, "files": {"a": "b"}})

    assert (answer["ref"], answer["version"]) == ("/packages/m@1", 1)
    assert edges(machine, DIGEST) == {("sha256:m", "model"), ("sha256:r", "gate"), ("key", "signer")}
    meta = get(machine, ArtifactRecord, DIGEST).meta
    assert (meta["model"], meta["signature"], meta["accuracy"]) == ("sha256:m", {"task": "x"}, 0.7)


def observed(
    segments: list[str], *, alarm: bool = False, inputs: bool | None = None, labelled: int = 0, damaged: list[str] | None = None
) -> dict[str, Any]:  # fmt: skip
    def dataset(name: str, rows: int) -> dict[str, Any]:
        return {"digest": f"sha256:{name}{rows}", "rows": rows, "columns": {}, "parts": [], "size_bytes": 1}

    drift = {
        "alarm": alarm if inputs is None else inputs,
        "rows": 10,
        "e_value": 2.0,
        "e_bound": 1e4,
        "rows_to_alarm": None,
    }
    return {
        "segments": segments, "predictions": dataset("p", len(segments)), "state": "sha256:s",
        "labelled": dataset("l", labelled) if labelled else None, "damaged": damaged or [],
        "figures": {"alarm": alarm, "drift": drift, "accuracy": {"value": None}, "accuracy_alarm_row": None},
    }  # fmt: skip


def watched(
    machine: Machine, result: dict[str, Any], *, version: int = 1, done: list[str] | None = None
) -> Any:
    payload = {"version": version, "package": "sha256:pkg", "done": done or []}
    settled(machine, "monitor", payload, result)
    return machine.monitor()


def test_a_look_remembers_its_segments_and_publishes_its_rows(machine: Machine) -> None:
    record = watched(machine, observed(["b.seg"], labelled=3, damaged=["c.seg is cut off"]), done=["a.seg"])

    assert record.figures["segments"] == ["a.seg", "b.seg"]
    assert (record.state, record.alarm, record.figures["labelled_rows"]) == ("sha256:s", False, 3)
    assert edges(machine, "sha256:p1") == edges(machine, "sha256:l3") == {("sha256:pkg", "model")}
    (event,) = machine.events("service.observed")
    assert event.payload["damaged"] == ["c.seg is cut off"]


def test_an_alarm_is_told_once_and_remembers_the_labels_before_it(machine: Machine) -> None:
    watched(machine, observed(["a"], labelled=40))
    watched(machine, observed(["b"], alarm=True, labelled=50))
    record = watched(machine, observed(["c"], alarm=True, labelled=70))

    assert (record.figures["labelled_at_alarm"], record.figures["labelled_rows"]) == (50, 70)
    assert len(machine.events("drift.alarm")) == 1
    assert len(machine.events("service.observed")) == 2


def test_labels_known_before_count_where_a_look_brings_none(machine: Machine) -> None:
    watched(machine, observed(["a"], labelled=40))
    record = watched(machine, observed(["b"], alarm=True))

    assert (record.figures["labelled_rows"], record.figures["labelled_at_alarm"]) == (40, 40)


def test_a_new_live_version_starts_without_the_old_alarm(machine: Machine) -> None:
    watched(machine, observed(["a"], alarm=True, labelled=40))
    record = watched(machine, observed(["b"]), version=2)
    assert (record.alarm, record.figures["labelled_at_alarm"]) == (False, None)

    watched(machine, observed(["c"], alarm=True), version=2)
    assert len(machine.events("drift.alarm")) == 2


def test_too_many_errors_are_an_alarm_of_their_own(machine: Machine) -> None:
    watched(machine, observed(["a"], alarm=True, inputs=False))

    assert len(machine.events("accuracy.alarm")) == 1
    assert machine.events("drift.alarm") == []


@pytest.mark.parametrize("kind", ["tune", "report", "build"])
def test_other_kinds_leave_their_result_alone(machine: Machine, kind: RunKind) -> None:
    assert settled(machine, kind, {}, {"x": 1}) == {"x": 1}
    assert listed(machine, ArtifactRecord) == []


def test_what_cannot_be_settled_leaves_nothing(machine: Machine) -> None:
    """The data it says it has read is not in the catalog."""
    with pytest.raises(NotFoundError, match="/data/rows"):
        settled(machine, "flow", {"code": "sha256:code", "tuned": {}}, flow_result())

    assert listed(machine, ArtifactRecord) == []
    assert [run.state for run in listed(machine, RunRecord)] == ["running"]
