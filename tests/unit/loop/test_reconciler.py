"""Builds from their start to their end, tick by tick, with workers that answer what the test says."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kernos.base.digests import canonical, of_bytes
from kernos.base.errors import UnavailableError
from kernos.base.ids import Digest
from kernos.catalog.audit import verify
from kernos.catalog.records import ENDED, HeadRecord, RunRecord
from kernos.kernel.run import Exit, Task
from kernos.loop.reconciler import HEAD_EVERY_S, live_model
from kernos.models.package import PackageManifest, seal, statement
from kernos.runtime.wanted import LATENCY_BOUNDS_MS, Traffic
from kernos.security.access import Caller
from kernos.security.dsse import sign_statement
from kernos.spec.manifest import Flow, Manifest, Rule, Service
from kernos.testing.planes import SIGNATURE, linear

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Machine

ANN = Caller("ann", "operator")
WAIT_S = 20.0
GATE = Rule("accuracy >= 0.6", "threshold", "accuracy", "", ">=", 0.6)
VERDICT = {"rule": GATE.text, "passed": True, "value": 0.7, "low": 0.6, "high": 0.8, "rows": 90, "note": ""}
STAGES = ["tune", "flow", "evaluate", "gate", "package"]


@pytest.fixture
def home(machine: Machine) -> Machine:
    (machine.home / "plane" / "log").mkdir(parents=True)
    flow = Flow("build", "sha256:f", params={"n": 1}, tune={"C": [0.1, 1.0]}, trials=4)
    service = Service("build", canary_share=0.2, canary_s=5.0, max_error_share=0.01)
    machine.app(Manifest("m", "y", gates=[GATE], flows=[flow], service=service))
    machine.artifact("sha256:d1", "dataset", {}, "/data/rows")
    return machine


class Workers:
    """Answer whatever has been started; `says` may change a stage's answer, None lets it fail."""

    def __init__(self, home: Machine, factor: float = 1.0, **says: Any) -> None:
        self.home = home
        self.factor = factor
        self.says = says

    def work(self, build: int) -> str:
        """Let the one child at work end; its kind, or nothing."""
        waiting = [run for run in self.home.runs(parent=build) if run.state not in ENDED]
        for run in waiting:
            task = self.home.started(run.id)
            answer = self.says.get(run.kind, "as usual")
            answer = self._answer(run.kind, task) if answer == "as usual" else answer
            if answer is None:
                self.home.executor.end(task, Exit(task.run, task.attempt, code=9))
                self.home.kernel.wait(task.run, WAIT_S)
            else:
                ended = self.home.end(task, **answer)
                assert ended.state == "done", ended.reason
        return waiting[0].kind if waiting else ""

    def _answer(self, kind: str, task: Task) -> dict[str, Any]:
        model = of_bytes(linear(self.factor))
        signature = msgspec.to_builtins(SIGNATURE)
        match kind:
            case "tune":
                return {"best": {"params": {"C": 0.5}, "value": 0.7}}
            case "flow":
                meta = {"size_bytes": 1, "signature": signature}
                return {"value": {"kind": "model", "digest": model}, "meta": meta, "step": "train",
                        "table": {"digest": "sha256:t"}, "reads": {"rows": "/data/rows@1"}}  # fmt: skip
            case "evaluate":
                return {"table": {"digest": "sha256:e"}, "rows_read": 100, "rows_kept": 90}
            case "gate":
                return {"passed": True, "verdicts": [VERDICT], "rows": 90, "report": f"sha256:r{self.factor}",
                        "accuracy": 0.7, "figures": {}, "groups": [], "model": task.payload["candidate"]["digest"]}  # fmt: skip
        return self._package()

    def _package(self) -> dict[str, Any]:
        onnx = linear(self.factor)
        facts = PackageManifest(
            1, "m", of_bytes(onnx), SIGNATURE, "y", Digest("sha256:code"), [], 0, {}, {}, "0"
        )
        files = dict.fromkeys(("gates.json", "lineage.json", "reference.json", "replay.json"), b"{}")
        files |= {"card.md": b"# m\n", "model.onnx": onnx, "manifest.json": canonical(facts)}
        digests = {name: of_bytes(data) for name, data in files.items()}
        target = self.home.home / "worker.kpkg"
        seal(target, files, sign_statement(statement(digests, facts), self.home.signer))
        return {"digest": self.home.blobs.put_file(target), "size_bytes": 1, "files": digests}


def started(home: Machine, **args: Any) -> RunRecord:
    return home.loop.build("m", str(home.home), args, ANN)


def carry_on(
    home: Machine, build: RunRecord, workers: Workers, before: Callable[[], None] = lambda: None
) -> RunRecord:
    """Tick and let workers work until the build has ended; `before` each tick."""
    for _ in range(40):
        before()
        home.reconciler.tick()
        if home.run(build.id).state in ENDED:
            return home.run(build.id)
        workers.work(build.id)
    raise AssertionError("the build does not end")


def test_a_build_goes_through_its_stages_to_a_live_version(home: Machine) -> None:
    build = started(home)
    seen = []
    for _ in range(len(STAGES)):
        home.reconciler.tick()
        seen.append(Workers(home).work(build.id))
    assert seen == STAGES

    ended = carry_on(home, build, Workers(home))

    assert (ended.state, ended.reason) == ("done", "version 1 is live")
    assert (ended.result["deployed"], ended.result["package"]) == (1, "/packages/m@1")
    assert ended.result["reads"] == {"rows": "/data/rows@1"}
    assert ended.result["verdicts"] == [VERDICT]
    assert home.deployment().live == 1
    assert [run.kind for run in home.runs(parent=build.id)] == STAGES


def test_each_stage_gets_what_those_before_it_found(home: Machine) -> None:
    build = started(home)
    carry_on(home, build, Workers(home))

    payloads = {run.kind: run.payload for run in home.runs(parent=build.id)}
    assert payloads["flow"]["tuned"] == payloads["evaluate"]["tuned"] == {"C": 0.5}
    assert payloads["gate"]["candidate"]["digest"] == payloads["package"]["digest"] == of_bytes(linear(1.0))
    assert payloads["package"]["key_id"] == home.signer.key_id
    roles = {edge["role"] for edge in payloads["package"]["lineage"]}
    assert roles == {"data", "code"}
    with home.store.read() as reader:
        live = live_model(reader, "m")
        assert live_model(reader, "absent") is None
    assert live is not None
    assert (live["digest"], live["ref"]) == (of_bytes(linear(1.0)), "/models/m@1")


def test_nothing_is_submitted_twice_however_often_the_kernel_dies(home: Machine) -> None:
    build = started(home)

    ended = carry_on(home, build, Workers(home), before=home.build_parts)

    assert ended.reason == "version 1 is live"
    kinds = Counter(run.kind for run in home.runs(parent=build.id))
    assert kinds == dict.fromkeys(STAGES, 1)
    assert len(home.events("deployment.canary")) == 1
    assert len(home.events("gate.")) == 1


@pytest.mark.parametrize("dies_at", range(9))
def test_a_kernel_that_dies_right_after_any_order_goes_on(home: Machine, dies_at: int) -> None:
    """The order is carried out and committed; the next kernel knows nothing else."""
    build = started(home)
    ticks = 0

    def again() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == dies_at:
            home.reconciler.tick()
            home.build_parts()

    ended = carry_on(home, build, Workers(home), before=again)

    assert (ended.state, len(home.runs(parent=build.id))) == ("done", len(STAGES))


def test_ticks_without_news_ask_for_nothing(home: Machine) -> None:
    build = started(home)
    for _ in range(5):
        home.reconciler.tick()

    assert [run.kind for run in home.runs(parent=build.id)] == ["tune"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_fails_ends_the_build_and_nothing_serves(home: Machine, stage: str) -> None:
    build = started(home)

    ended = carry_on(home, build, Workers(home, 1.0, **{stage: None}))

    assert ended.state == "failed"
    assert ended.reason.startswith(f"{stage} (run ")
    assert ended.result["failed_stage"] == stage
    assert home.deployer.status().loaded == []  # type: ignore[union-attr] # it answers
    assert home.plane.applied[-1].routes == []


def test_a_refused_model_is_neither_packaged_nor_served(home: Machine) -> None:
    verdict = {**VERDICT, "passed": False, "value": 0.4}
    refused = {"passed": False, "verdicts": [verdict], "model": "sha256:m", "report": "sha256:r"}
    build = started(home)

    ended = carry_on(home, build, Workers(home, gate=refused))

    assert (ended.state, ended.reason) == ("failed", "refused by the gate: accuracy >= 0.6 (is 0.400)")
    assert [run.kind for run in home.runs(parent=build.id)] == STAGES[:-1]
    assert home.events("gate.refused")


def with_a_second_version(home: Machine) -> RunRecord:
    carry_on(home, started(home), Workers(home))
    build = started(home, n=2)
    return carry_on(home, build, Workers(home, 2.0))


def test_a_second_build_ends_when_its_version_is_on_trial(home: Machine) -> None:
    ended = with_a_second_version(home)

    assert (ended.state, ended.reason) == ("done", "version 2 is on trial with 20% of the traffic")
    assert home.runs(kind="gate")[1].payload["live"]["ref"] == "/models/m@1"
    home.plane.traffic = [Traffic("m", 2, 100, 100, 0, 0, [100] + [0] * len(LATENCY_BOUNDS_MS))]
    home.clock.advance(6)
    home.reconciler.tick()
    assert home.deployment().live == 2


def test_a_version_that_does_not_load_fails_its_build(home: Machine) -> None:
    home.plane.refuses["m", 1] = "it is damaged"

    ended = carry_on(home, started(home), Workers(home))

    assert (ended.state, ended.reason) == (
        "failed",
        "version 1 was taken back: It did not load: it is damaged",
    )
    assert len(home.events("deployment.canary")) == 1


def test_a_model_that_is_live_already_ends_its_build_well(home: Machine) -> None:
    carry_on(home, started(home), Workers(home))

    ended = carry_on(home, started(home, n=2), Workers(home))

    assert (ended.state, ended.reason) == ("done", "version 1 is live")
    assert len(home.events("deployment.canary")) == 1


def test_a_version_that_was_rolled_back_at_once_fails_its_build(home: Machine) -> None:
    carry_on(home, started(home), Workers(home))
    build = started(home, n=2)
    workers = Workers(home, 2.0)
    while not home.events("deployment.canary")[1:]:
        home.reconciler.tick()
        workers.work(build.id)
    home.deployer.rollback("m", "ann", "by ann")

    home.reconciler.tick()

    assert home.run(build.id).state == "failed"
    assert home.run(build.id).reason == "version 2 was taken back: by ann"


def test_an_app_without_a_service_ends_with_its_package(home: Machine) -> None:
    flow = Flow("build", "sha256:f", params={})
    home.app(Manifest("m", "y", gates=[GATE], flows=[flow]), "sha256:unserved")

    ended = carry_on(home, started(home), Workers(home))

    assert (ended.state, ended.reason) == ("done", "the App serves nothing")
    assert ended.result["package"] == "/packages/m@1"


def test_a_tampered_package_fails_the_build_that_made_it(home: Machine) -> None:
    build = started(home)
    workers = Workers(home)
    while workers.work(build.id) != "package":
        home.reconciler.tick()
    digest = home.runs(kind="package")[0].result["digest"]
    file = home.blobs.path(digest)
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1] + b"!")

    home.reconciler.tick()

    ended = home.run(build.id)
    assert (ended.state, ended.result["error"]["code"]) == ("failed", "corrupt")


def test_a_build_whose_app_is_gone_ends_and_does_not_hold_up_the_others(home: Machine) -> None:
    broken, good = started(home), started(home, n=2)
    home.put(msgspec.structs.replace(broken, payload={**broken.payload, "code": "sha256:gone"}))

    home.reconciler.tick()

    assert home.run(broken.id).state == "failed"
    assert home.run(broken.id).result["error"]["code"] == "not_found"
    assert [run.kind for run in home.runs(parent=good.id)] == ["tune"]


def test_a_catalog_that_cannot_be_written_now_fails_no_build(home: Machine) -> None:
    build = started(home)
    submit = home.kernel.submit

    def full(spec: Any) -> RunRecord:
        raise UnavailableError("the disk is full")

    home.kernel.submit = full  # type: ignore[method-assign] # as a full disk would
    with pytest.raises(UnavailableError):
        home.reconciler.tick()
    home.kernel.submit = submit  # type: ignore[method-assign] # there is room again

    assert carry_on(home, build, Workers(home)).state == "done"


def test_a_stopped_build_gets_no_more_orders(home: Machine) -> None:
    build = started(home)
    home.reconciler.tick()
    home.started(home.runs(parent=build.id)[0].id)

    home.kernel.stop_run(build.id, "ann")
    home.reconciler.tick()

    assert home.run(build.id).state == "stopped"
    assert [run.state for run in home.runs(parent=build.id)] == ["stopped"]


def test_the_thread_ticks_by_itself_and_leaves_a_signed_head(home: Machine) -> None:
    build = started(home)
    home.reconciler.start()
    home.executor.wait_for(lambda: bool(home.executor.started), WAIT_S)
    home.reconciler.stop()

    assert [run.kind for run in home.runs(parent=build.id)] == ["tune"]
    with home.store.read() as reader:
        (head,) = reader.list(HeadRecord)
    assert verify(home.store, lambda data, signature, key_id: key_id == home.signer.key_id).ok
    assert head.key_id == home.signer.key_id


def test_a_tick_that_fails_does_not_end_the_thread(home: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """Once with an error of ours, once with a bug; then it goes on."""
    failures = iter([UnavailableError("the disk is full"), ZeroDivisionError("a bug")])
    went_on = threading.Event()
    tick = home.deployer.tick

    def failing() -> bool:
        for error in failures:
            home.put(msgspec.structs.replace(started(home), state="failed"))
            raise error
        went_on.set()
        return tick()

    home.deployer.tick = failing  # type: ignore[method-assign] # a failure of any part
    home.reconciler.start()
    assert went_on.wait(WAIT_S)
    home.reconciler.stop()

    assert "the disk is full" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_journal_is_signed_from_time_to_time(home: Machine) -> None:
    home.put()
    home.reconciler.tick()
    with home.store.read() as reader:
        assert reader.list(HeadRecord) == []

    home.clock.advance(HEAD_EVERY_S)
    home.reconciler.tick()

    with home.store.read() as reader:
        assert len(reader.list(HeadRecord)) == 1
