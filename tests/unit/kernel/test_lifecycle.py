"""Records change with their Event, and what has ended stays ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernos.base.errors import ConflictError, NotFoundError
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import RunRecord
from kernos.catalog.store import SqlStore
from kernos.kernel import lifecycle
from kernos.kernel.run import RunSpec

Spec = Callable[..., RunSpec]
SETTINGS = KernelSettings()


def queue(store: SqlStore, spec: RunSpec) -> RunRecord:
    return store.write(lambda tx: lifecycle.queue(tx, spec, SETTINGS, 2**30))


def test_an_event_tells_of_each_change(store: SqlStore, spec: Spec) -> None:
    run = queue(store, spec()).id
    store.write(lambda tx: lifecycle.start(tx, run, 1))
    store.write(lambda tx: lifecycle.requeue(tx, lifecycle.find(tx, run), "run.lost", "gone"))
    store.write(lambda tx: lifecycle.start(tx, run, 2))
    store.write(lambda tx: lifecycle.end(tx, lifecycle.find(tx, run), "done", "done", {"a": 1}))

    with store.read() as reader:
        events = reader.events()
        record = lifecycle.find(reader, run)

    told = [(event.kind, event.principal, event.payload["reason"]) for event in events]
    assert told == [
        ("run.queued", "ann", "waits for its turn"),
        ("run.started", "kernel", "runs"),
        ("run.lost", "kernel", "gone"),
        ("run.started", "kernel", "runs, attempt 2"),
        ("run.done", "kernel", "done"),
    ]
    assert {event.subject for event in events} == {f"run:{run}"}
    assert events[0].payload["kind"] == "step"
    assert (record.attempts, record.result, record.state) == (2, {"a": 1}, "done")
    assert record.ended_ms is not None


def test_only_a_queued_run_starts(store: SqlStore, spec: Spec) -> None:
    run = queue(store, spec()).id

    assert store.write(lambda tx: lifecycle.start(tx, run, 1)) is not None
    assert store.write(lambda tx: lifecycle.start(tx, run, 1)) is None


def test_a_run_without_entry_runs_at_once(store: SqlStore, spec: Spec) -> None:
    record = queue(store, spec(entry=""))

    assert record.state == "running"
    assert record.started_ms == record.queued_ms


def test_a_known_key_gives_its_run_cached_or_not(store: SqlStore, spec: Spec) -> None:
    first = store.write(lambda tx: lifecycle.cache(tx, spec(key="k"), {"a": 1}))

    assert queue(store, spec(key="k")) == first
    assert store.write(lambda tx: lifecycle.cache(tx, spec(key="k"), {"a": 2})) == first
    assert first.state == "cached"


def test_children_of_what_did_not_succeed_are_stopped(store: SqlStore, spec: Spec) -> None:
    parent = queue(store, spec(entry=""))
    child = queue(store, spec(parent=parent.id))
    grandchild = queue(store, spec(parent=child.id))
    over = store.write(lambda tx: lifecycle.cache(tx, spec(parent=parent.id), {}))

    store.write(lambda tx: lifecycle.end(tx, parent, "failed", "no", {}))

    with store.read() as reader:
        states = [lifecycle.find(reader, run).state for run in (child.id, grandchild.id, over.id)]
    assert states == ["stopped", "stopped", "cached"]


def test_children_of_what_succeeded_live_on(store: SqlStore, spec: Spec) -> None:
    parent = queue(store, spec(entry=""))
    child = queue(store, spec(parent=parent.id))

    store.write(lambda tx: lifecycle.end(tx, parent, "done", "done", {}))

    with store.read() as reader:
        assert lifecycle.find(reader, child.id).state == "queued"


def test_what_has_ended_is_not_reniced(store: SqlStore, spec: Spec) -> None:
    record = store.write(lambda tx: lifecycle.cache(tx, spec(), {}))

    with pytest.raises(ConflictError):
        store.write(lambda tx: lifecycle.nice(tx, record.id, "batch", 1.0, "ann"))


def test_an_unknown_run_is_not_found(store: SqlStore) -> None:
    with store.read() as reader, pytest.raises(NotFoundError, match="no run 7"):
        lifecycle.find(reader, RunId(7))
