from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from kernos.base.clock import ManualClock
from kernos.base.errors import CorruptError, UnavailableError
from kernos.catalog import audit
from kernos.catalog.records import EventRecord, NameRecord, NodeRecord, RunRecord
from kernos.catalog.store import SqlStore, Transaction
from kernos.testing.contracts import queued_run, submit


@pytest.fixture
def connections() -> Iterator[list[sqlite3.Connection]]:
    """Every connection that is made during the test: the first is the writer's."""
    made: list[sqlite3.Connection] = []

    def remember(raw: sqlite3.Connection, _record: object) -> None:
        made.append(raw)

    event.listen(Engine, "connect", remember)
    yield made
    event.remove(Engine, "connect", remember)


class Together:
    """Holds the writer in one change until others wait, so that they commit as one group."""

    def __init__(self, store: SqlStore) -> None:
        self.outcomes: list[object] = []
        self._store = store
        self._threads: list[threading.Thread] = []
        self._held, self._go = threading.Event(), threading.Event()

    def hold(self) -> None:
        def wait(_tx: Transaction) -> None:
            self._held.set()
            assert self._go.wait(30)

        self._start(lambda: self._store.write(wait))
        assert self._held.wait(30)

    def add(self, change: object) -> None:
        waiting = len(self._store._waiting)
        self._start(lambda: self.outcomes.append(self._outcome(change)))
        while len(self._store._waiting) == waiting:
            threading.Event().wait(0.001)

    def release(self) -> None:
        self._go.set()
        for thread in self._threads:
            thread.join(30)

    def _outcome(self, change: object) -> object:
        try:
            return self._store.write(change)  # type: ignore[arg-type] # any change
        except Exception as error:
            return error

    def _start(self, target: object) -> None:
        thread = threading.Thread(target=target)  # type: ignore[arg-type] # any function
        self._threads.append(thread)
        thread.start()


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Every write of this process beyond that size fails: SQLite calls that an input/output error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def runs(store: SqlStore) -> int:
    with store.read() as reader:
        return reader.count(RunRecord)


def test_changes_that_wait_commit_together_and_fail_alone(store: SqlStore) -> None:
    together = Together(store)
    together.hold()

    def bad(tx: Transaction) -> None:
        submit(tx)
        raise LookupError("only me")

    for change in (submit, bad, submit):
        together.add(change)
    together.release()

    errors = [each for each in together.outcomes if isinstance(each, Exception)]
    assert [str(error) for error in errors] == ["only me"]
    assert sorted(each.id for each in together.outcomes if isinstance(each, RunRecord)) == [1, 2]
    assert runs(store) == 2
    assert audit.verify(store).ok


def test_a_failed_commit_reaches_every_caller_and_writes_nothing(store: SqlStore, database: Path) -> None:
    store.write(submit)
    size = Path(f"{database}-wal").stat().st_size
    together = Together(store)
    together.hold()
    for _ in range(3):
        together.add(submit)

    with file_size_limit(size):
        together.release()

    assert [type(error) for error in together.outcomes] == [UnavailableError] * 3
    assert len({id(error) for error in together.outcomes}) == 3
    assert all("disk" in error.message and error.hint for error in together.outcomes)  # type: ignore[attr-defined] # checked above
    assert runs(store) == 1
    assert store.write(submit).id == 2
    assert audit.verify(store).size == 2
    assert audit.verify(store).ok


def test_a_full_disk_is_unavailable_and_the_writer_goes_on(
    connections: list[sqlite3.Connection], store: SqlStore
) -> None:
    store.write(submit)
    writer = connections[0]
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")

    for _ in range(2):
        with pytest.raises(UnavailableError, match="full") as caught:
            store.write(lambda tx: submit(tx, reason="x" * 100_000))
        assert "Free space" in caught.value.hint
    with pytest.raises(UnavailableError, match="full"):
        store.write(swallow)

    writer.execute("PRAGMA max_page_count=1000000")
    assert store.write(submit).id == 2
    assert audit.verify(store).ok
    assert runs(store) == 2


def swallow(tx: Transaction) -> int:
    """A change that hides the storage's failure, and may not."""
    try:
        tx.put(queued_run(tx.next_run_id(), reason="x" * 100_000))
    except UnavailableError:
        return 1
    return 2


def test_a_read_only_disk_is_unavailable(connections: list[sqlite3.Connection], store: SqlStore) -> None:
    connections[0].execute("PRAGMA query_only=ON")

    with pytest.raises(UnavailableError, match="read-only"):
        store.write(submit)

    connections[0].execute("PRAGMA query_only=OFF")
    assert store.write(submit).id == 1


def test_a_lost_connection_is_replaced(connections: list[sqlite3.Connection], store: SqlStore) -> None:
    store.write(submit)
    connections[0].close()

    with pytest.raises(UnavailableError):
        store.write(submit)

    assert store.write(submit).id == 2
    assert audit.verify(store).ok


def test_another_process_that_writes_is_waited_for_and_then_named(store: SqlStore, database: Path) -> None:
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(UnavailableError, match="Another process"):
        store.write(submit)

    other.execute("ROLLBACK")
    other.close()
    assert store.write(submit).id == 1


def test_two_stores_on_one_database_take_turns_and_break_nothing(store: SqlStore, database: Path) -> None:
    other = SqlStore(f"sqlite:///{database}", ManualClock())
    other.open()

    ids = [each.write(submit).id for each in (store, other, store, store, other, store)]
    other.close()

    assert ids == [1, 2, 3, 4, 5, 6]
    assert audit.verify(store).ok


def test_a_store_opens_where_it_was_closed(database: Path, clock: ManualClock) -> None:
    for expected in (1, 2, 3):
        store = SqlStore(f"sqlite:///{database}", clock)
        store.open()
        assert store.write(submit).id == expected
        assert store.wait(-1, 0) == expected - 1
        assert audit.verify(store).ok
        store.close()

    assert sorted(each.name for each in database.parent.iterdir()) == ["catalog.db"]


def test_what_is_no_database_is_corrupt(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "catalog.db").write_bytes(b"this is no database, but it is long enough to be read" * 100)

    with pytest.raises(CorruptError, match="damaged"):
        SqlStore(f"sqlite:///{tmp_path}/catalog.db", clock).open()


def test_a_clock_set_back_stands_still_instead(store: SqlStore, clock: ManualClock) -> None:
    start = clock.wall_ms()
    store.write(submit)
    clock.jump_wall(-3600)
    assert store.write(lambda tx: (submit(tx), tx.at_ms)[1]) == start
    clock.jump_wall(3601)
    store.write(submit)

    with store.read() as reader:
        assert [each.at_ms for each in reader.events()] == [start, start, start + 1000]


def test_the_clock_stays_clamped_over_a_restart(database: Path, clock: ManualClock) -> None:
    start = clock.wall_ms()
    for _ in range(2):
        store = SqlStore(f"sqlite:///{database}", clock)
        store.open()
        assert store.write(lambda tx: (submit(tx), tx.at_ms)[1]) == start
        store.close()
        clock.jump_wall(-60)


def test_a_change_must_not_write_through_the_store(store: SqlStore) -> None:
    with pytest.raises(RuntimeError, match="its own transaction"):
        store.write(lambda _tx: store.write(submit))


def test_the_journal_is_written_by_emit_alone(store: SqlStore) -> None:
    with pytest.raises(ValueError, match="emit"):
        store.write(lambda tx: tx.put(EventRecord(0, 0, "", "", "", {}, [], "")))
    with pytest.raises(ValueError, match="emit"):
        store.write(lambda tx: tx.put(NodeRecord(0, 1, "")))


def test_an_event_tells_of_the_rows_since_the_one_before_and_of_the_last_state_of_each(
    store: SqlStore,
) -> None:
    def change(tx: Transaction) -> None:
        tx.put(queued_run(1, state="queued"))
        tx.put(queued_run(1, state="running"))
        tx.emit("first", "run:1", "alice", kind="a payload may use any name", subject=1, principal=2)
        tx.put(NameRecord("/models/a", "live", 1, 0))
        tx.delete(NameRecord, "/models/a", "live")
        tx.emit("second", "/models/a", "alice")

    store.write(change)

    with store.read() as reader:
        first, second = reader.events()
    assert [row[:2] for row in first.rows] == [("runs", "1")]
    assert first.payload["kind"] == "a payload may use any name"
    assert second.rows == [("names", '["/models/a","live"]', "")]
    assert audit.verify(store).ok


def test_close_commits_what_waits(database: Path, clock: ManualClock) -> None:
    store = SqlStore(f"sqlite:///{database}", clock)
    store.open()
    together = Together(store)
    together.hold()
    together.add(submit)
    closer = threading.Thread(target=store.close)
    closer.start()
    together.release()
    closer.join(30)

    assert [type(each) for each in together.outcomes] == [RunRecord]


def test_a_closing_store_wakes_those_who_wait(database: Path, clock: ManualClock) -> None:
    store = SqlStore(f"sqlite:///{database}", clock)
    store.open()
    waiter = threading.Thread(target=store.wait, args=(-1, 60))
    waiter.start()
    store.close()
    waiter.join(30)

    assert not waiter.is_alive()


def test_too_many_readers_are_told_so(store: SqlStore) -> None:
    store._engine.pool._timeout = 0.01  # type: ignore[union-attr] # not to wait ten seconds for it
    with store.read() as first:
        assert first.count(RunRecord) == 0
        readers = [store.read() for _ in range(30)]
        for reader in readers:
            reader.__enter__()
        with pytest.raises(UnavailableError, match="Too many readers"), store.read():
            pass
        for reader in readers:
            reader.__exit__(None, None, None)
    assert runs(store) == 0


def test_kill_9_loses_no_acknowledged_write(database: Path, clock: ManualClock) -> None:
    program = f"""
import os, threading
from kernos.base.clock import SystemClock
from kernos.catalog.store import SqlStore
from kernos.testing.contracts import submit
store = SqlStore("sqlite:///{database}", SystemClock())
store.open()
def work():
    while True:
        os.write(1, b"%d\\n" % store.write(submit).id)
for _ in range(4):
    threading.Thread(target=work).start()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(200)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]

    store = SqlStore(f"sqlite:///{database}", clock)
    store.open()
    with store.read() as reader:
        found = {run.id for run in reader.list(RunRecord)}
    assert set(acknowledged) <= found
    assert audit.verify(store).ok
    assert store.write(submit).id == max(found) + 1
    store.close()
