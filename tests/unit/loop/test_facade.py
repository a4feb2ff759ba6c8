"""What the API and the workers may ask of the loop: checked, committed, and nothing beyond their own build."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kernos.base.digests import of_bytes
from kernos.base.errors import DeniedError, InvalidError, KernosError, NotFoundError, RefusedError, to_problem
from kernos.base.ids import Digest, RunId
from kernos.catalog.records import CacheRecord, RunRecord
from kernos.kernel.folder import Result, write_result
from kernos.kernel.run import Exit, Task
from kernos.loop import environment
from kernos.loop.build import cache_key
from kernos.loop.environment import environment_digest
from kernos.models.package import PackageManifest, statement
from kernos.runtime.signature import Signature
from kernos.security.access import Caller
from kernos.security.dsse import verify_envelope
from kernos.security.keys import VerifyKey
from kernos.spec.manifest import Column, Flow, Manifest, Step

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine

ANN = Caller("ann", "operator")
WAIT_S = 20.0


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        "m", "y", flows=[Flow("build", "sha256:f", params={"source": "rows.csv", "n": 1})],
        contract=[Column("y", "int", nullable=False)],
        steps=[Step("clean", "sha256:s1", cpus=2.0, memory_bytes=123, klass="idle", retries=2, wall_s=9.0)],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def home(machine: Machine) -> Machine:
    machine.app(manifest())
    (machine.home / "rows.csv").write_text("a,y\n1,0\n")
    return machine


def worker(task: Task) -> Caller:
    return Caller("run", "run", run=task.run)


def build(home: Machine, **args: Any) -> RunRecord:
    return home.loop.build("m", str(home.home), args, ANN)


def ask(home: Machine, task: Task, verb: str, **body: Any) -> dict[str, Any]:
    return home.loop.child(task.run, verb, body, worker(task))


def asking(home: Machine, task: Task, verb: str, **body: Any) -> Callable[[], dict[str, Any]]:
    """Ask in a thread, for some answers come only when the asked Run has ended; call it for the answer."""
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(ask(home, task, verb, **body)))
    thread.start()

    def answer() -> dict[str, Any]:
        thread.join(WAIT_S)
        return answers[0]

    return answer


def next_task(home: Machine, kind: str) -> Task:
    """The newest Run of that kind, once its worker has begun."""
    home.executor.wait_for(
        lambda: any(
            task.run == run.id for run in home.runs(kind=kind)[-1:] for task in home.executor.started
        ),
        WAIT_S,
    )
    return home.started(home.runs(kind=kind)[-1].id)


# Apps


def test_an_app_is_loaded_by_a_worker_once(home: Machine) -> None:
    files = {"app.py": "x = 1\n"}
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(home.loop.register_app(files, "app.py", ANN)))
    thread.start()
    task = next_task(home, "load")
    home.end(task, manifest=msgspec.to_builtins(manifest(app="new")))
    thread.join(WAIT_S)

    assert answers == [{"app": "new", "version": 1, "run": task.run}]
    assert home.loop.register_app(files, "app.py", ANN) == answers[0]
    assert len(home.runs(kind="load")) == 1
    assert home.run(task.run).klass == "interactive"


def test_a_mistake_in_the_module_is_raised_as_it_was_told(home: Machine) -> None:
    raised: list[KernosError] = []

    def register() -> None:
        try:
            home.loop.register_app({"app.py": "x"}, "app.py", ANN)
        except KernosError as error:
            raised.append(error)

    thread = threading.Thread(target=register)
    thread.start()
    task = next_task(home, "load")
    problem = to_problem(InvalidError("app.py:3: no", hint="do"))
    write_result(Path(task.folder), Result(1, error=problem))
    home.executor.end(task, Exit(task.run, 1, code=1))
    thread.join(WAIT_S)

    assert [(type(error), error.message, error.hint) for error in raised] == [
        (InvalidError, "app.py:3: no", "do")
    ]


# Builds


def test_a_build_holds_all_that_its_stages_need(home: Machine) -> None:
    run = build(home, n=5)

    assert (run.kind, run.state, run.entry, run.cpus, run.owner) == ("build", "running", "", 0.0, "ann")
    payload = run.payload
    assert payload["arguments"] == {"source": "rows.csv", "n": 5}
    assert (payload["flow"], payload["code"], payload["main"]) == ("build", "sha256:code", "app.py")
    assert (payload["folder"], payload["cause"]) == (str(home.home), "principal:ann")
    assert set(payload["split"]) == {"held_out", "validation", "seed"}
    assert payload["parallel"] == 4


def test_what_cannot_be_built_is_refused(home: Machine) -> None:
    with pytest.raises(InvalidError, match="no parameter 'nope'") as caught:
        build(home, nope=1)
    assert caught.value.hint == "It has: n, source."
    with pytest.raises(NotFoundError, match="/apps/absent"):
        home.loop.build("absent", "/", {}, ANN)
    home.app(Manifest("bare", "y"), "sha256:bare")
    with pytest.raises(InvalidError, match="declares no flow"):
        home.loop.build("bare", "/", {}, ANN)


def finished(home: Machine) -> RunRecord:
    """A build whose data is the file as it is."""
    run = build(home)
    done = asking(home, home.working(parent=run.id), "read", source="rows.csv")
    task = next_task(home, "ingest")
    home.end(task, **ingested())
    result = {"reads": {"rows.csv": done()["result"]["ref"]}, "package": "/packages/m@1"}
    home.kernel.finish(run.id, "done", "version 1 is live", result)
    return home.run(run.id)


def ingested(digest: str = "sha256:d1") -> dict[str, Any]:
    import hashlib

    sha256 = hashlib.sha256(b"a,y\n1,0\n").hexdigest()
    return {"digest": digest, "rows": 1, "size_bytes": 1, "columns": {"a": "Int64", "y": "Int64"}, "parts": [],
            "source_sha256": sha256, "newest_part_rows": 1}  # fmt: skip


def test_the_same_build_again_is_cached(home: Machine) -> None:
    first = finished(home)

    again = build(home)
    third = build(home)

    assert (again.state, again.result["package"]) == ("cached", "/packages/m@1")
    assert again.result["same_as"] == third.result["same_as"] == first.id


@pytest.mark.parametrize("change", ["arguments", "data", "code", "environment", "outcome"])
def test_a_build_that_differs_in_anything_is_built(
    home: Machine, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finished(home)
    if change == "data":
        (home.home / "rows.csv").write_text("a,y\n1,1\n")
    if change == "code":
        home.app(manifest(doc="another"), "sha256:code2")
    if change == "environment":
        monkeypatch.setattr(environment, "LIBRARIES", ("numpy",))
        home.build_parts()
    if change == "outcome":
        home.put(msgspec.structs.replace(first, state="failed"))

    assert build(home, **({"n": 2} if change == "arguments" else {})).state == "running"


def test_a_rebuild_takes_the_code_that_is_live_and_the_key_it_is_given(home: Machine) -> None:
    first = build(home, n=3)
    home.go_live(build=first.id)
    home.app(manifest(doc="not yet live"), "sha256:code2")

    run = home.loop.rebuild("m", "drift: x", {"source": "rows.csv"}, "retrain:1")
    again = home.loop.rebuild("m", "drift: x", {"source": "rows.csv"}, "retrain:1")

    assert again.id == run.id
    assert (run.payload["code"], run.payload["arguments"]["n"]) == ("sha256:code", 3)
    assert (run.owner, run.payload["cause"]) == ("kernel", "drift: x")
    assert run.payload["grow"] == {"source": "rows.csv"}
    with pytest.raises(NotFoundError, match="no live version"):
        home.loop.rebuild("absent", "", None, "k")


# Ingest


def test_a_file_is_ingested_under_the_apps_contract(home: Machine) -> None:
    run = home.loop.ingest(str(home.home / "rows.csv"), "rows", "m", ANN)

    assert (run.kind, run.name, run.owner) == ("ingest", "rows", "ann")
    assert run.payload["contract"][0]["name"] == "y"
    assert run.payload["stamp"][0] == 8
    assert home.loop.ingest(str(home.home / "rows.csv"), "rows", "", ANN).payload["contract"] == []


def test_a_file_that_cannot_be_meant_is_refused(home: Machine) -> None:
    with pytest.raises(InvalidError, match="relative path"):
        home.loop.ingest("rows.csv", "rows", "", ANN)
    with pytest.raises(InvalidError, match="not a name for a dataset"):
        home.loop.ingest("/rows.csv", "../x", "", ANN)
    with pytest.raises(NotFoundError, match="no file /absent"):
        home.loop.ingest("/absent", "rows", "", ANN)
    assert home.runs(kind="ingest") == []


# What workers ask


def test_a_worker_asks_for_itself_alone_and_only_while_it_runs(home: Machine) -> None:
    run = build(home)
    one, other = home.working(parent=run.id), home.working(parent=run.id)

    with pytest.raises(DeniedError, match="not run"):
        home.loop.child(one.run, "read", {"source": "x"}, worker(other))
    with pytest.raises(DeniedError, match="not run"):
        home.loop.child(one.run, "read", {"source": "x"}, ANN)
    home.end(one, **flow_result(home))
    with pytest.raises(DeniedError, match="is not running"):
        ask(home, one, "read", source="rows.csv")
    with pytest.raises(DeniedError, match="is not running"):
        home.loop.child(RunId(999), "read", {}, Caller("run", "run", run=RunId(999)))


def flow_result(home: Machine) -> dict[str, Any]:
    return {
        "value": {"digest": "sha256:m"},
        "reads": {},
        "step": "train",
        "table": {},
        "meta": {"size_bytes": 1},
    }


def test_a_run_outside_of_a_build_may_not_ask(home: Machine) -> None:
    alone = home.working("monitor")

    with pytest.raises(DeniedError, match="belongs to no build"):
        ask(home, alone, "read", source="rows.csv")


def test_an_unknown_question_is_not_answered(home: Machine) -> None:
    task = home.working(parent=build(home).id)

    with pytest.raises(NotFoundError, match="cannot ask 'deploy'"):
        ask(home, task, "deploy")


def test_a_source_is_pinned_by_the_first_who_reads_it(home: Machine) -> None:
    run = build(home)
    flow = home.working(parent=run.id)
    first = asking(home, flow, "read", source="rows.csv")
    task = next_task(home, "ingest")
    assert task.payload["contract"][0]["name"] == "y"
    home.end(task, **ingested())
    assert first()["result"]["ref"] == "/data/rows@1"

    (home.home / "rows.csv").write_text("a,y\n9,9\n")
    later = ask(home, home.working("trial", parent=run.id), "read", source="rows.csv")

    assert (later["run"], later["result"]["ref"]) == (task.run, "/data/rows@1")
    assert len(home.runs(kind="ingest")) == 1


def test_a_known_source_is_read_without_a_worker(home: Machine) -> None:
    finished(home)

    answer = ask(home, home.working(parent=build(home, n=2).id), "read", source="rows.csv")

    assert (answer["state"], answer["result"]["ref"]) == ("cached", "/data/rows@1")


def test_a_retrain_reads_what_it_has_grown(home: Machine) -> None:
    first = build(home)
    home.go_live(build=first.id)
    grown = home.loop.rebuild("m", "drift", {"source": "rows.csv"}, "k")
    ingest = home.working("ingest", parent=grown.id, key=f"build:{grown.id}:ingest")

    answer = asking(home, home.working(parent=grown.id), "read", source="rows.csv")
    home.executor.end(ingest, Exit(ingest.run, 1, code=1))

    assert (answer()["run"], answer()["state"]) == (ingest.run, "failed")


def test_a_read_of_nothing_fails(home: Machine) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*absent\.csv"):
        ask(home, home.working(parent=build(home).id), "read", source="absent.csv")


ARGUMENTS = {"C": {"kind": "json", "inline": 1}}


def test_a_step_is_a_run_with_its_own_limits_that_is_asked_for_once(home: Machine) -> None:
    flow = home.working(parent=build(home).id)
    first = asking(home, flow, "call", step="clean", arguments=ARGUMENTS, reads={})
    task = next_task(home, "step")
    second = asking(home, flow, "call", step="clean", arguments=ARGUMENTS, reads={})
    home.end(task, value={"kind": "json", "inline": 5})

    assert first() == second()
    assert first()["result"]["value"]["inline"] == 5
    (run,) = home.runs(kind="step")
    assert (run.parent, run.cpus, run.memory_bytes, run.klass) == (flow.run, 2.0, 123, "idle")
    assert (run.retries, run.wall_s) == (2, 9.0)


def test_a_step_that_is_known_is_cached(home: Machine) -> None:
    key = cache_key("sha256:s1", ARGUMENTS, environment_digest())
    home.put(CacheRecord(Digest(key), {"value": {"kind": "json", "inline": 7}}, RunId(1)))

    answer = ask(
        home, home.working(parent=build(home).id), "call", step="clean", arguments=ARGUMENTS, reads={}
    )

    assert (answer["state"], answer["result"]["value"]["inline"]) == ("cached", 7)
    assert [run.state for run in home.runs(kind="step")] == ["cached"]


def test_a_child_of_a_run_that_holds_cores_is_lent_them(home: Machine) -> None:
    """A trial on every core that asks for a step would else wait for ever."""
    trial = home.working("trial", parent=build(home).id, cpus=4.0)

    answer = asking(home, trial, "call", step="clean", arguments=ARGUMENTS, reads={})
    task = next_task(home, "step")
    assert home.run(task.run).cpus == 0.0
    home.end(task, value={"kind": "json", "inline": 5})

    assert answer()["state"] == "done"


def test_a_step_nobody_declared_is_not_called(home: Machine) -> None:
    with pytest.raises(NotFoundError, match="no step 'nope'"):
        ask(home, home.working(parent=build(home).id), "call", step="nope", arguments={}, reads={})


def test_trials_belong_to_a_search_and_have_a_number(home: Machine) -> None:
    run = build(home)
    payload = {
        "app": "m", "code": "sha256:code", "main": "app.py", "flow": "build", "arguments": {}, "metric": "accuracy",
        "split": {},
    }  # fmt: skip
    tune = home.working("tune", parent=run.id, payload=payload)

    first = ask(home, tune, "trial", index=0, params={"C": 1.0})
    again = ask(home, tune, "trial", index=0, params={"C": 1.0})

    assert first["run"] == again["run"]
    assert first["state"] in {"queued", "running"}
    trial = home.run(first["run"])
    assert (trial.name, trial.parent, trial.payload["params"]) == ("trial 1", tune.run, {"C": 1.0})
    assert trial.payload["metric"] == "accuracy"
    with pytest.raises(DeniedError, match="Only a search"):
        ask(home, home.working(parent=run.id), "trial", index=0, params={})


def test_a_worker_waits_for_its_own_builds_runs_alone(home: Machine) -> None:
    mine, other = build(home), build(home, n=2)
    flow, foreign = home.working(parent=mine.id), home.working(parent=other.id)
    step = home.working("trial", parent=flow.run)

    assert ask(home, flow, "wait", run=step.run, timeout_s=0.0)["state"] == "running"
    for run in (foreign.run, 999):
        with pytest.raises(DeniedError, match=r"not of this build|no build"):
            ask(home, flow, "wait", run=run, timeout_s=0.0)


# Signing


def signable(model: bytes = b"onnx") -> dict[str, Any]:
    names = ("card.md", "gates.json", "lineage.json", "manifest.json", "reference.json", "replay.json")
    files = {**{name: of_bytes(b"{}") for name in names}, "model.onnx": of_bytes(model)}
    facts = PackageManifest(
        1, "m", of_bytes(model), Signature("other", [], []), "y", of_bytes(b""), [], 0, {}, {}, ""
    )
    return statement(files, facts)


def judged(home: Machine, *, passed: bool = True, model: bytes = b"onnx") -> RunRecord:
    run = build(home)
    payload = {"table": {"digest": "sha256:t"}}
    gate = home.working("gate", parent=run.id, key=f"build:{run.id}:gate", payload=payload)
    home.end(gate, passed=passed, verdicts=[], model=of_bytes(model), report="sha256:r")
    return run


def test_a_package_is_signed_for_the_model_its_gate_has_passed(home: Machine) -> None:
    package = home.working("package", parent=judged(home).id)

    envelope = ask(home, package, "sign", statement=signable())["envelope"]

    assert verify_envelope(envelope, [VerifyKey.from_pem(home.signer.public_pem)]) == signable()


def test_a_package_without_a_passed_gate_is_not_signed(home: Machine) -> None:
    refused = judged(home, passed=False)
    unjudged = build(home, n=2)
    failing = build(home, n=3)
    gate = home.working("gate", parent=failing.id, key=f"build:{failing.id}:gate")
    home.executor.end(gate, Exit(gate.run, 1, code=1))
    home.kernel.wait(gate.run, WAIT_S)

    for run in (refused, unjudged, failing):
        with pytest.raises(RefusedError, match="No passed gate"):
            ask(home, home.working("package", parent=run.id), "sign", statement=signable())


def test_only_the_packaging_run_gets_a_signature(home: Machine) -> None:
    run = judged(home)

    for kind in ("flow", "step", "trial", "gate"):
        with pytest.raises(RefusedError, match="No passed gate"):
            ask(home, home.working(kind, parent=run.id), "sign", statement=signable())


def test_another_model_than_the_judged_one_is_not_signed(home: Machine) -> None:
    package = home.working("package", parent=judged(home).id)

    with pytest.raises(RefusedError, match="another model"):
        ask(home, package, "sign", statement=signable(b"worse"))


def test_another_builds_gate_is_worth_nothing(home: Machine) -> None:
    judged(home)

    with pytest.raises(RefusedError, match="No passed gate"):
        ask(home, home.working("package", parent=build(home, n=2).id), "sign", statement=signable())


# Services and questions


def test_a_person_deploys_and_rolls_back(home: Machine) -> None:
    home.go_live(1.0)
    home.package(2.0)

    home.loop.deploy("m", 2, ANN)
    assert home.deployment().canary == 2
    home.loop.rollback("m", ANN)

    assert home.deployment().reason == "rolled back by ann"
    assert home.loop.status() == home.plane.status()


def test_two_versions_are_compared_by_a_worker(home: Machine) -> None:
    home.artifact("sha256:d1", "dataset", {}, "/data/x")
    home.artifact("sha256:d2", "dataset", {}, "/data/x")
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(home.loop.diff("/data/x@1", "@2", ANN)))
    thread.start()
    task = next_task(home, "report")
    assert task.payload == {"a": "sha256:d1", "b": "sha256:d2"}
    home.end(task, added=3)
    thread.join(WAIT_S)

    assert answers == [{"a": "/data/x@1", "b": "/data/x@2", "added": 3}]


def test_a_prediction_is_looked_for_in_each_services_log(home: Machine) -> None:
    home.go_live()
    with pytest.raises(NotFoundError, match="No prediction 'p'"):
        home.loop.prediction("p", ANN)
    home.artifact("sha256:log", "predictions", {}, "/predictions/m")
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(home.loop.prediction("p", ANN)))
    thread.start()
    task = next_task(home, "report")
    assert task.payload == {"id": "p", "logs": ["sha256:log"]}
    home.end(task, prediction={"version": 1})
    thread.join(WAIT_S)

    assert answers == [{"app": "m", "version": 1}]


def test_every_run_a_worker_causes_is_its_builds_owners(home: Machine) -> None:
    run = build(home)
    task = home.working(parent=run.id)
    asking(home, task, "call", step="clean", arguments={}, reads={})
    step = home.run(next_task(home, "step").run)

    assert (step.owner, step.weight, step.app) == (run.owner, run.weight, "m")
    home.end(home.started(step.id), value={"kind": "json", "inline": 1})
