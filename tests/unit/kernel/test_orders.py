"""Carrying out orders: see also test_driver.py, which does it through the kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernos.base.errors import RefusedError
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import RunRecord
from kernos.catalog.store import SqlStore
from kernos.kernel import lifecycle
from kernos.kernel.orders import Carrier, Due
from kernos.kernel.outcome import Finding
from kernos.kernel.run import RunSpec
from kernos.kernel.scheduler import End, Kill, Requeue, Start
from kernos.testing.manual_executor import ManualExecutor

DONE = Finding("done", "done", {"a": 1}, {"cpu_s": 1.0})


@pytest.fixture
def carrier(store: SqlStore, executor: ManualExecutor, tmp_path: Path) -> Carrier:
    def settle(tx: object, record: RunRecord, result: dict[str, object]) -> dict[str, object]:
        if record.name == "bad":
            raise RefusedError("not this one")
        return result

    return Carrier(
        store, executor, KernelSettings(), tmp_path, settle=settle, token_for=lambda run: "t", socket="s"
    )


@pytest.fixture
def queue(store: SqlStore, spec: Callable[..., RunSpec]) -> Callable[[str], RunId]:
    return lambda name: store.write(lambda tx: lifecycle.queue(tx, spec(name), KernelSettings(), 1)).id


def test_starts_are_committed_then_acted_on(
    carrier: Carrier, executor: ManualExecutor, queue: Callable[[str], RunId], get: Callable[[int], RunRecord]
) -> None:
    run = queue("good")
    due = [Due(Start(run, 1)), Due(Kill(RunId(9)))]

    committed = carrier.commit(due)
    before = list(executor.started)
    unborn = carrier.act(due, committed)

    assert get(run).state == "running"
    assert (before, unborn) == ([], [])
    assert [task.run for task in executor.started] == [run]
    assert executor.killed == [9]


def test_a_start_of_what_waits_no_more_is_void(
    carrier: Carrier, store: SqlStore, queue: Callable[[str], RunId]
) -> None:
    run = queue("good")
    store.write(lambda tx: lifecycle.end(tx, lifecycle.find(tx, run), "stopped", "", {}))

    committed = carrier.commit([Due(Start(run, 1))])

    assert (committed.started, committed.void) == ([], [run])


def test_what_has_ended_is_neither_ended_nor_requeued_again(
    carrier: Carrier, store: SqlStore, queue: Callable[[str], RunId], get: Callable[[int], RunRecord]
) -> None:
    run = queue("good")
    store.write(lambda tx: lifecycle.end(tx, lifecycle.find(tx, run), "stopped", "by ann", {}))

    carrier.commit([Due(End(run, "done"), DONE), Due(Requeue(run, "again"), DONE)])

    assert (get(run).state, get(run).reason) == ("stopped", "by ann")


def test_one_bad_result_fails_its_run_and_no_other(
    carrier: Carrier, queue: Callable[[str], RunId], get: Callable[[int], RunRecord]
) -> None:
    runs = [queue(name) for name in ("good", "bad", "good", "bad")]
    carrier.commit([Due(Start(run, 1)) for run in runs])

    carrier.commit([Due(End(run, "done"), DONE) for run in runs])

    assert [get(run).state for run in runs] == ["done", "failed", "done", "failed"]
    assert get(runs[1]).reason == "not this one"
    assert get(runs[1]).usage == {"cpu_s": 1.0}
