"""The driver: what is committed happens, and what happens is committed, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernos.base.clock import SystemClock
from kernos.base.errors import ConflictError, InvalidError, NotFoundError, RefusedError, UnavailableError
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import RunRecord
from kernos.catalog.store import SqlStore, Transaction
from kernos.kernel import driver
from kernos.kernel.driver import Kernel
from kernos.kernel.folder import Result, write_exit, write_result
from kernos.kernel.run import Exit, RunSpec
from kernos.testing.manual_executor import ManualExecutor

Spec = Callable[..., RunSpec]
Get = Callable[[int], RunRecord]
MakeKernel = Callable[..., Kernel]
WAIT_S = 10.0


def kinds(store: SqlStore) -> list[str]:
    with store.read() as reader:
        return [event.kind for event in reader.events()]


def test_a_run_goes_from_queue_to_done(
    kernel: Kernel, executor: ManualExecutor, store: SqlStore, spec: Spec
) -> None:
    submitted = kernel.submit(spec(payload={"a": 1}))
    executor.wait_for(lambda: len(executor.started) == 1)
    (task,) = executor.started
    executor.end(task, ok={"rows": 3})

    record = kernel.wait(submitted.id, WAIT_S)

    assert submitted.state == "queued"
    assert (task.payload, task.attempt, task.token, task.socket) == ({"a": 1}, 1, "token 1", "kernel.sock")
    assert (record.state, record.result, record.usage["cpu_s"]) == ("done", {"rows": 3}, 1.5)
    assert kinds(store) == ["run.queued", "run.started", "run.done"]
    assert kernel.held() == (0.0, 0)


def test_a_run_is_committed_as_running_before_it_is_started(
    make_kernel: MakeKernel, get: Get, spec: Spec
) -> None:
    states: list[str] = []

    class Watching(ManualExecutor):
        def start(self, task: Any, limits: Any) -> None:
            states.append(get(task.run).state)
            super().start(task, limits)

    executor = Watching()
    kernel = make_kernel(executor)
    kernel.start()
    kernel.submit(spec())
    executor.wait_for(lambda: len(executor.started) == 1)

    assert states == ["running"]


def test_limits_come_from_the_spec_or_the_settings(
    kernel: Kernel, executor: ManualExecutor, spec: Spec
) -> None:
    kernel.submit(spec())
    kernel.submit(spec(memory_bytes=5, wall_s=7.0))
    executor.wait_for(lambda: len(executor.limits) == 2)

    assert [(limits.memory_bytes, limits.wall_s) for limits in executor.limits] == [(2**30, 3600.0), (5, 7.0)]


def test_the_same_key_gives_the_same_run(kernel: Kernel, spec: Spec) -> None:
    first, second = kernel.submit(spec(key="k")), kernel.submit(spec("other", key="k"))

    assert first.id == second.id


def test_a_run_submitted_in_a_transaction_is_picked_up(
    kernel: Kernel, executor: ManualExecutor, store: SqlStore, spec: Spec
) -> None:
    record = store.write(lambda tx: kernel.submit_in(tx, spec()))

    executor.wait_for(lambda: len(executor.started) == 1)

    assert executor.started[0].run == record.id


def test_a_cached_run_is_over_at_once(kernel: Kernel, executor: ManualExecutor, spec: Spec) -> None:
    record = kernel.record_cached(spec(), {"rows": 3})

    assert (record.state, record.result) == ("cached", {"rows": 3})
    assert kernel.wait(record.id, 0.0) == record
    assert executor.started == []


def test_settle_may_change_the_result_in_the_same_transaction(
    make_kernel: MakeKernel, executor: ManualExecutor, spec: Spec
) -> None:
    kernel = make_kernel(executor, lambda tx, record, result: result | {"seen": record.state})
    kernel.start()
    run = kernel.submit(spec()).id
    executor.wait_for(lambda: len(executor.started) == 1)
    executor.end(executor.started[0], ok={"a": 1})

    assert kernel.wait(run, WAIT_S).result == {"a": 1, "seen": "running"}


@pytest.mark.parametrize("error", [RefusedError("no such column", hint="look"), ZeroDivisionError("a bug")])
def test_a_result_that_cannot_be_settled_fails_its_run_alone(
    make_kernel: MakeKernel, executor: ManualExecutor, spec: Spec, error: Exception
) -> None:
    def settle(tx: Transaction, record: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
        if record.name == "bad":
            raise error
        return result

    kernel = make_kernel(executor, settle)
    kernel.start()
    runs = [kernel.submit(spec(name)).id for name in ("bad", "good")]
    executor.wait_for(lambda: len(executor.started) == 2)
    for task in executor.started:
        executor.end(task, ok={})

    bad, good = (kernel.wait(run, WAIT_S) for run in runs)

    assert (bad.state, good.state) == ("failed", "done")
    assert str(error).split()[0] in bad.reason
    assert "error" in bad.result


def test_wait_gives_the_run_as_it_is_when_the_time_is_up(kernel: Kernel, spec: Spec) -> None:
    run = kernel.submit(spec()).id

    assert kernel.wait(run, 0.01).state in {"queued", "running"}


def test_an_unknown_run_is_an_error(kernel: Kernel) -> None:
    for ask in (
        lambda: kernel.wait(RunId(9), 0.0),
        lambda: kernel.stop_run(RunId(9), "ann"),
        lambda: kernel.why(RunId(9)),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_a_run_without_process_is_finished_by_its_owner(
    kernel: Kernel, executor: ManualExecutor, spec: Spec
) -> None:
    build = kernel.submit(spec(kind="build", entry=""))
    kernel.finish(build.id, "done", "all stages done", {"package": 1})
    kernel.finish(build.id, "failed", "too late", {})

    record = kernel.wait(build.id, WAIT_S)

    assert build.state == "running"
    assert (record.state, record.reason, record.result) == ("done", "all stages done", {"package": 1})
    assert executor.started == []


def test_a_run_with_a_process_is_not_finished_by_others(kernel: Kernel, spec: Spec) -> None:
    run = kernel.submit(spec()).id

    with pytest.raises(ConflictError):
        kernel.finish(run, "done", "", {})


def test_stopping_a_run_stops_its_children_and_kills_their_processes(
    kernel: Kernel, executor: ManualExecutor, get: Get, spec: Spec
) -> None:
    build = kernel.submit(spec(kind="build", entry=""))
    flow = kernel.submit(spec(kind="flow", cpus=0.0, parent=build.id))
    step = kernel.submit(spec(parent=flow.id))
    executor.wait_for(lambda: len(executor.started) == 2)

    stopped = kernel.stop_run(build.id, "ann")
    executor.wait_for(lambda: len(executor.killed) == 2)
    for task in list(executor.started):
        executor.end(task, Exit(task.run, 1, signal=9, reason="stopped"))

    assert (stopped.state, stopped.reason) == ("stopped", "stopped by ann")
    assert [get(run.id).state for run in (flow, step)] == ["stopped", "stopped"]
    assert get(step.id).reason == f"run {flow.id} stopped"
    assert sorted(executor.killed) == [flow.id, step.id]
    assert kernel.stop_run(build.id, "bob").reason == "stopped by ann"
    with pytest.raises(ConflictError):
        kernel.submit(spec(parent=build.id))


def test_a_stopped_run_frees_what_it_held_once_it_is_gone(
    kernel: Kernel, executor: ManualExecutor, spec: Spec
) -> None:
    runs = [kernel.submit(spec()).id for _ in range(3)]
    executor.wait_for(lambda: len(executor.started) == 2)

    kernel.stop_run(runs[0], "ann")
    executor.wait_for(lambda: executor.killed == [runs[0]])
    held = kernel.held()
    executor.end(executor.started[0], Exit(runs[0], 1, signal=9, reason="stopped"))
    executor.wait_for(lambda: len(executor.started) == 3)

    assert held == (2.0, 2 * 2**30)
    assert executor.started[2].run == runs[2]


def test_a_failed_run_stops_its_children(kernel: Kernel, executor: ManualExecutor, spec: Spec) -> None:
    flow = kernel.submit(spec(kind="flow", cpus=0.0)).id
    step = kernel.submit(spec(parent=flow)).id
    executor.wait_for(lambda: len(executor.started) == 2)

    executor.end(executor.started[0], Exit(flow, 1, code=1))

    assert kernel.wait(flow, WAIT_S).state == "failed"
    assert kernel.wait(step, WAIT_S).state == "stopped"


def test_a_lost_run_starts_again_once(
    kernel: Kernel, executor: ManualExecutor, store: SqlStore, spec: Spec
) -> None:
    run = kernel.submit(spec()).id
    for attempt in (1, 2):
        executor.wait_for(lambda: len(executor.started) == attempt)  # noqa: B023 - called in this turn
        executor.end(executor.started[-1], Exit(run, attempt, reason="lost"))

    record = kernel.wait(run, WAIT_S)

    assert (record.state, record.attempts) == ("failed", 2)
    assert kinds(store) == ["run.queued", "run.started", "run.lost", "run.started", "run.failed"]


def test_a_failed_run_that_asked_for_it_starts_again(
    kernel: Kernel, executor: ManualExecutor, store: SqlStore, spec: Spec
) -> None:
    run = kernel.submit(spec(retries=1)).id
    executor.wait_for(lambda: len(executor.started) == 1)
    executor.end(executor.started[0], Exit(run, 1, code=2))
    executor.wait_for(lambda: len(executor.started) == 2)
    executor.end(executor.started[1], ok={})

    assert kernel.wait(run, WAIT_S).state == "done"
    assert kinds(store)[2] == "run.retried"


def test_a_run_too_big_for_the_machine_fails_with_the_reason(kernel: Kernel, spec: Spec) -> None:
    record = kernel.wait(kernel.submit(spec(cpus=64.0)).id, WAIT_S)

    assert (record.state, record.reason) == ("failed", "asks for 64.0 cpus, this machine has 2.0 for Runs")
    assert record.result["error"]["hint"]


@pytest.mark.parametrize(
    "more", [{"cpus": -1.0}, {"weight": 0.0}, {"memory_bytes": -1}, {"cpus": float("nan")}]
)
def test_a_senseless_spec_is_refused(kernel: Kernel, spec: Spec, more: dict[str, float]) -> None:
    with pytest.raises(InvalidError):
        kernel.submit(spec(**more))


def test_renice_decides_who_is_next(kernel: Kernel, executor: ManualExecutor, get: Get, spec: Spec) -> None:
    runs = [kernel.submit(spec()).id for _ in range(4)]
    executor.wait_for(lambda: len(executor.started) == 2)

    niced = kernel.renice(runs[3], "interactive", 2.0, "ann")
    while "first in class interactive" not in kernel.why(runs[3]).because[0]:
        pass
    executor.end(executor.started[0], ok={})
    executor.wait_for(lambda: len(executor.started) == 3)

    assert (niced.klass, niced.weight) == ("interactive", 2.0)
    assert executor.started[2].run == runs[3]
    kernel.wait(runs[0], WAIT_S)
    with pytest.raises(ConflictError):
        kernel.renice(runs[0], "batch", 1.0, "ann")
    with pytest.raises(InvalidError):
        kernel.renice(runs[3], "batch", -1.0, "ann")


def test_why_names_what_a_waiting_run_waits_for(kernel: Kernel, executor: ManualExecutor, spec: Spec) -> None:
    build = kernel.submit(spec("nightly", kind="build", entry="")).id
    for _ in range(2):
        kernel.submit(spec())
    executor.wait_for(lambda: len(executor.started) == 2)
    run = kernel.submit(spec(parent=build)).id
    reason = ""
    while "waits for 1.0 cpu" not in reason:
        reason = kernel.why(run).because[0]

    assert reason == (
        f"run {run} (step train) is queued: "
        "waits for 1.0 cpu: run 2 and 3 hold 2.0 of 2.0; first in class batch"
    )
    assert kernel.why(build).because == [f"run {build} (build nightly) is running: runs", reason]
    assert kernel.why(run).next == f"kernos nice {run} interactive"


def test_recovery_adopts_ends_and_requeues(
    make_kernel: MakeKernel, executor: ManualExecutor, store: SqlStore, tmp_path: Path, get: Get, spec: Spec
) -> None:
    """Five Runs of a kernel that was killed: one lives, one ended, one left only its result, one is lost, one waits."""
    dead = make_kernel(executor)
    dead.start()
    runs = [dead.submit(spec(cpus=0.0)).id for _ in range(4)]
    executor.wait_for(lambda: len(executor.started) == 4)
    dead.stop(leave=True)
    waiting = dead.submit(spec(cpus=0.0)).id
    lives, ended, left, lost = (executor.started[index] for index in range(4))
    write_result(Path(ended.folder), Result(1, ok={"a": 1}))
    write_exit(Path(ended.folder), Exit(ended.run, 1, code=0, cpu_s=2.5))
    write_result(Path(left.folder), Result(1, ok={"b": 2}))

    again = ManualExecutor(living={lives.run: 1})
    kernel = make_kernel(again)
    kernel.start()
    again.wait_for(lambda: len(again.started) == 2)
    again.end(lives, ok={"c": 3})

    results = [kernel.wait(run, WAIT_S) for run in runs[:3]]
    assert [record.result for record in results] == [{"c": 3}, {"a": 1}, {"b": 2}]
    assert [record.attempts for record in results] == [1, 1, 1]
    assert results[1].usage["cpu_s"] == 2.5
    assert sorted((task.run, task.attempt) for task in again.started) == [(lost.run, 2), (waiting, 1)]
    assert kinds(store).count("run.lost") == 1


def test_recovery_kills_what_lives_but_is_over(
    make_kernel: MakeKernel, executor: ManualExecutor, spec: Spec
) -> None:
    dead = make_kernel(executor)
    dead.start()
    run = dead.submit(spec()).id
    executor.wait_for(lambda: len(executor.started) == 1)
    dead.stop(leave=True)
    dead.stop_run(run, "ann")

    again = ManualExecutor(living={run: 1, RunId(99): 1})
    kernel = make_kernel(again)
    kernel.start()

    assert sorted(again.killed) == [run, 99]
    again.end(executor.started[0], Exit(RunId(99), 1))
    assert kernel.held() == (0.0, 0)


def test_an_orderly_stop_costs_no_attempt(
    make_kernel: MakeKernel, executor: ManualExecutor, get: Get, spec: Spec
) -> None:
    kernel = make_kernel(executor)
    kernel.start()
    build = kernel.submit(spec(kind="build", entry="")).id
    run = kernel.submit(spec()).id
    executor.wait_for(lambda: len(executor.started) == 1)

    kernel.stop()

    assert executor.is_closed
    record = get(run)
    assert (record.state, record.attempts, record.reason) == ("queued", 0, "the kernel was stopped")
    assert get(build).state == "running"


class FailingStore(SqlStore):
    """Fails that many writes of the driver as a full disk does."""

    def __init__(self, url: str) -> None:
        super().__init__(url, SystemClock())
        self.failures_left = 0
        self.failed = threading.Semaphore(0)

    def write(self, change: Callable[[Transaction], Any]) -> Any:
        if self.failures_left and threading.current_thread().name == "kernos-driver":
            self.failures_left -= 1
            self.failed.release()
            raise UnavailableError("The disk is full.")
        return super().write(change)


def test_ends_and_starts_survive_a_full_disk(
    tmp_path: Path, executor: ManualExecutor, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_BACKOFF_S", 0.001)
    store = FailingStore(f"sqlite:///{tmp_path}/full.db")
    store.open()
    settings = KernelSettings(cpus=1.0, memory_bytes=2**33)
    kernel = Kernel(
        store,
        executor,
        settings,
        tmp_path,
        SystemClock(),
        settle=lambda tx, record, result: result,
        token_for=str,
        socket="",
    )
    kernel.start()
    try:
        runs = [kernel.submit(spec()).id for _ in range(2)]
        executor.wait_for(lambda: len(executor.started) == 1)
        store.failures_left = 3
        executor.end(executor.started[0], ok={})
        for _ in range(3):
            assert store.failed.acquire(timeout=WAIT_S)

        assert kernel.wait(runs[0], WAIT_S).state == "done"
        executor.wait_for(lambda: len(executor.started) == 2)
        executor.end(executor.started[1], ok={})
        assert kernel.wait(runs[1], WAIT_S).state == "done"
        with store.read() as reader:
            assert len(reader.events(kind_prefix="run.done")) == 2
    finally:
        kernel.stop(leave=True)
        store.close()


def test_a_run_whose_task_cannot_be_written_is_lost_not_stuck(make_kernel: MakeKernel, spec: Spec) -> None:
    class Full(ManualExecutor):
        def start(self, task: Any, limits: Any) -> None:
            raise OSError(28, "No space left on device")

    kernel = make_kernel(Full())
    kernel.start()

    record = kernel.wait(kernel.submit(spec()).id, WAIT_S)

    assert (record.state, record.attempts) == ("failed", 2)


def test_many_runs_are_committed_in_few_transactions(
    kernel: Kernel, executor: ManualExecutor, store: SqlStore, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[str] = []
    write = store.write

    def counted(change: Any) -> Any:
        writes.append(threading.current_thread().name)
        return write(change)

    monkeypatch.setattr(store, "write", counted)
    runs = store.write(lambda tx: [kernel.submit_in(tx, spec(cpus=0.0)).id for _ in range(50)])
    executor.wait_for(lambda: len(executor.started) == 50)
    for task in list(executor.started):
        executor.end(task, ok={})

    assert all(kernel.wait(run, WAIT_S).state == "done" for run in runs)
    assert writes.count("kernos-driver") < 50
