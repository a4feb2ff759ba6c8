"""Following the journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from kernos.base.clock import SystemClock
from kernos.base.errors import UnavailableError
from kernos.base.settings import KernelSettings
from kernos.catalog.records import RunRecord
from kernos.catalog.store import SqlStore
from kernos.kernel import lifecycle
from kernos.kernel.follower import Follower, Heard
from kernos.kernel.run import RunSpec


class Ear:
    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.news = threading.Condition()

    def hear(self, heard: Heard) -> None:
        with self.news:
            self.kinds += [kind for kind, _ in heard]
            self.news.notify_all()

    def wait_for(self, kinds: list[str]) -> None:
        with self.news:
            assert self.news.wait_for(lambda: self.kinds == kinds, 10.0), self.kinds


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def follower(store: SqlStore, ear: Ear) -> Iterator[Follower]:
    follower = Follower(store, SystemClock(), ear.hear)
    follower.start(-1)
    yield follower
    follower.stop()


@pytest.fixture
def record(store: SqlStore, spec: Callable[..., RunSpec]) -> RunRecord:
    return store.write(lambda tx: lifecycle.queue(tx, spec(), KernelSettings(), 1))


def end(store: SqlStore, record: RunRecord) -> None:
    store.write(lambda tx: lifecycle.end(tx, record, "done", "done", {}))


def test_what_is_said_of_runs_is_heard_and_nothing_else(
    store: SqlStore, follower: Follower, ear: Ear, record: RunRecord
) -> None:
    store.write(lambda tx: tx.emit("drift.alarm", "deployment:a", "kernel"))
    end(store, record)

    ear.wait_for(["run.queued", "run.done"])


def test_a_waiter_gets_the_run_as_it_ended(store: SqlStore, follower: Follower, record: RunRecord) -> None:
    found: list[RunRecord] = []
    waiter = threading.Thread(target=lambda: found.append(follower.wait(record.id, 10.0)))
    waiter.start()
    end(store, record)
    waiter.join(10.0)

    assert [run.state for run in found] == ["done"]


def test_a_waiter_is_let_go_when_the_follower_stops(store: SqlStore, ear: Ear, record: RunRecord) -> None:
    follower = Follower(store, SystemClock(), ear.hear)
    follower.start(-1)
    found: list[RunRecord] = []
    waiter = threading.Thread(target=lambda: found.append(follower.wait(record.id, 10.0)))
    waiter.start()
    while not follower._waiting:
        pass

    follower.stop()
    waiter.join(5.0)

    assert [run.state for run in found] == ["queued"]
    assert follower.wait(record.id, 10.0).state == "queued"


def test_a_read_that_fails_is_tried_again(store: SqlStore, ear: Ear, record: RunRecord) -> None:
    failures = iter([True, True])

    class Flaky(SqlStore):
        def wait(self, after_seq: int, timeout_s: float) -> int:
            if next(failures, False):
                raise UnavailableError("input/output error")
            return store.wait(after_seq, timeout_s)

    flaky = Flaky("sqlite://", SystemClock())
    flaky.read = store.read  # type: ignore[method-assign] # the other half works
    follower = Follower(flaky, SystemClock(), ear.hear)
    follower.start(-1)

    ear.wait_for(["run.queued"])
    follower.stop()
