"""What every implementation of a seam must do. Subclass, give the fixture: the tests run against yours."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from kernos.base import digests
from kernos.base.errors import ConflictError, CorruptError, InvalidError, NotFoundError, UnavailableError
from kernos.base.ids import Digest, RunId
from kernos.catalog.blobs import Blobs
from kernos.catalog.records import EdgeRecord, EventRecord, MetricRecord, NameRecord, RunRecord
from kernos.catalog.store import SqlStore, Transaction

_NEVER_PUT = digests.of_bytes(b"never put")


def queued_run(number: int, **fields: object) -> RunRecord:
    """A queued Run with every field set; `fields` replace some."""
    run = RunRecord(
        id=RunId(number),
        kind="step",
        app="diabetes",
        name="clean",
        owner="alice",
        parent=None,
        key="",
        state="queued",
        reason="waits for 1 cpu",
        klass="batch",
        weight=1.0,
        cpus=1.0,
        memory_bytes=0,
        wall_s=0.0,
        entry="kernos.loop.work:step",
        payload={"args": {"C": 0.5}},
        result={},
        attempts=0,
        retries=1,
        queued_ms=1_790_000_000_000,
        started_ms=None,
        ended_ms=None,
        usage={},
    )
    return msgspec.structs.replace(run, **fields)


def submit(tx: Transaction, **fields: object) -> RunRecord:
    """Put a queued Run under a new id, with its Event."""
    run = queued_run(tx.next_run_id(), **fields)
    tx.put(run)
    tx.emit("run.queued", f"run:{run.id}", run.owner, kind=run.kind, app=run.app)
    return run


def _submit(store: SqlStore, **fields: object) -> RunRecord:
    return store.write(lambda tx: submit(tx, **fields))


def _put_metric(store: SqlStore, value: float) -> None:
    store.write(lambda tx: tx.put(MetricRecord(RunId(1), "loss", 0, value, 0)))


def _emit(store: SqlStore, kind: str, subject: str) -> int:
    return store.write(lambda tx: tx.emit(kind, subject, "alice"))


class StoreContract:
    """The catalog on any database. Needs the fixture `store`: an open, empty SqlStore."""

    def test_what_is_written_is_read(self, store: SqlStore) -> None:
        run = store.write(submit)

        with store.read() as reader:
            assert reader.get(RunRecord, run.id) == run
            assert reader.get(RunRecord, 99) is None

    def test_an_event_commits_with_the_rows_it_tells_of(self, store: SqlStore) -> None:
        run = store.write(submit)

        with store.read() as reader:
            (event,) = reader.events()
        assert (event.seq, event.kind, event.subject, event.principal) == (0, "run.queued", "run:1", "alice")
        assert event.payload == {"kind": "step", "app": "diabetes"}
        assert [(table, key) for table, key, _ in event.rows] == [("runs", str(run.id))]

    def test_a_row_no_event_tells_of_is_refused(self, store: SqlStore) -> None:
        with pytest.raises(ValueError, match="runs 1"):
            store.write(lambda tx: tx.put(queued_run(1)))

        with store.read() as reader:
            assert reader.count(RunRecord) == 0

    def test_a_change_that_raises_leaves_nothing(self, store: SqlStore) -> None:
        def change(tx: Transaction) -> None:
            submit(tx)
            raise NotFoundError("no such thing")

        with pytest.raises(NotFoundError, match="no such thing"):
            store.write(change)

        with store.read() as reader:
            assert (reader.count(RunRecord), reader.events()) == (0, [])
        assert store.write(submit).id == 1

    def test_a_transaction_sees_its_own_writes(self, store: SqlStore) -> None:
        def change(tx: Transaction) -> tuple[RunRecord | None, int, int]:
            run = submit(tx)
            return tx.get(RunRecord, run.id), tx.count(RunRecord), len(tx.events())

        assert store.write(change) == (queued_run(1), 1, 1)

    def test_put_replaces_by_primary_key(self, store: SqlStore) -> None:
        store.write(submit)

        def change(tx: Transaction) -> None:
            tx.put(queued_run(1, state="running", started_ms=5, usage={"cpu_s": 1}))
            tx.emit("run.started", "run:1", "kernel")

        store.write(change)

        with store.read() as reader:
            (run,) = reader.list(RunRecord)
        assert (run.state, run.started_ms, run.usage) == ("running", 5, {"cpu_s": 1.0})

    def test_a_deleted_record_is_gone_and_told_of(self, store: SqlStore) -> None:
        def create(tx: Transaction) -> None:
            tx.put(NameRecord("/models/income", "live", 1, tx.at_ms))
            tx.emit("name.moved", "/models/income", "alice")

        def remove(tx: Transaction) -> None:
            tx.delete(NameRecord, "/models/income", "live")
            tx.delete(NameRecord, "/models/income", "never there")
            tx.emit("name.removed", "/models/income", "alice")

        store.write(create)
        store.write(remove)

        with store.read() as reader:
            assert reader.get(NameRecord, "/models/income", "live") is None
            assert reader.events()[1].rows == [("names", '["/models/income","live"]', "")]

    def test_runs_and_events_cannot_be_deleted(self, store: SqlStore) -> None:
        store.write(submit)

        with pytest.raises(ValueError, match="RunRecord"):
            store.write(lambda tx: tx.delete(RunRecord, 1))
        with pytest.raises(ValueError, match="EventRecord"):
            store.write(lambda tx: tx.delete(EventRecord, 0))

    def test_a_run_key_is_unique_unless_empty(self, store: SqlStore) -> None:
        _submit(store, key="build:1")
        store.write(submit)
        store.write(submit)

        with pytest.raises(ConflictError):
            _submit(store, key="build:1")

        with store.read() as reader:
            assert reader.count(RunRecord, where={"key": ""}) == 2

    def test_a_conflict_may_be_caught_inside_the_change(self, store: SqlStore) -> None:
        _submit(store, key="build:1")

        def change(tx: Transaction) -> int:
            try:
                submit(tx, key="build:1")
            except ConflictError:
                return tx.emit("run.refused", "run:2", "alice")
            raise AssertionError("no conflict")

        assert store.write(change) == 1
        with store.read() as reader:
            assert reader.events(0)[0].rows == []

    def test_a_reader_keeps_its_snapshot(self, store: SqlStore) -> None:
        store.write(submit)

        with store.read() as old:
            assert old.count(RunRecord) == 1
            store.write(submit)
            assert old.count(RunRecord) == 1
            with store.read() as new:
                assert new.count(RunRecord) == 2

    def test_lists_filter_order_and_bound(self, store: SqlStore) -> None:
        for number in range(1, 7):
            _submit(store, name=f"n{number % 2}", parent=number if number > 3 else None)

        with store.read() as reader:

            def ids(**query: object) -> list[int]:
                return [run.id for run in reader.list(RunRecord, **query)]  # type: ignore[arg-type] # any query

            assert ids() == [1, 2, 3, 4, 5, 6]
            assert ids(order_by="id", descending=True, limit=2, below=("id", 5)) == [4, 3]
            assert ids(above=("id", 4)) == [5, 6]
            assert ids(where={"name": "n1", "parent": None}) == [1, 3]
            assert ids(where={"id": [1, 5, 99]}) == ids(where={"id": {1, 5}}) == [1, 5]
            assert ids(where={"id": []}) == []
            assert ids(order_by="name", descending=True) == [5, 3, 1, 6, 4, 2]
            assert reader.count(RunRecord, where={"name": "n0"}) == 3

    def test_unknown_columns_and_json_are_no_condition(self, store: SqlStore) -> None:
        with store.read() as reader:
            for name in ("nothing", "payload"):
                with pytest.raises(ValueError, match=name):
                    reader.list(RunRecord, where={name: 1})
            with pytest.raises(ValueError, match="target, source, role"):
                reader.get(EdgeRecord, "only the target")

    def test_events_page_and_filter(self, store: SqlStore) -> None:
        for kind, subject in [
            ("run.queued", "run:1"),
            ("Run.x", "run:1"),
            ("runs", "run:2"),
            ("run.done", "run:1"),
        ]:
            _emit(store, kind, subject)

        with store.read() as reader:
            assert [event.seq for event in reader.events(0, 2)] == [1, 2]
            assert [event.seq for event in reader.events(kind_prefix="run.")] == [0, 3]
            assert [event.seq for event in reader.events(subject="run:2")] == [2]
            assert [event.seq for event in reader.events(subject="run:1", kind_prefix="run.", after=0)] == [3]

    def test_numbers_that_fit_no_column_are_invalid(self, store: SqlStore) -> None:
        for value in (float("nan"), float("inf")):
            with pytest.raises(InvalidError, match=r"metrics\.value"):
                _put_metric(store, value)
        with pytest.raises(InvalidError, match=r"runs\.memory_bytes"):
            _submit(store, memory_bytes=2**63)
        with store.read() as reader, pytest.raises(InvalidError):
            reader.get(RunRecord, 2**70)

    def test_many_threads_lose_no_change(self, store: SqlStore) -> None:
        seen: list[int] = []

        def work() -> None:
            seen.extend(store.write(submit).id for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(seen) == list(range(1, 161))
        with store.read() as reader:
            assert [event.seq for event in reader.events()] == list(range(160))

    def test_wait_returns_at_once_where_there_is_news(self, store: SqlStore) -> None:
        assert store.wait(-1, 0) == -1
        store.write(submit)
        assert store.wait(-1, 60) == 0
        assert store.wait(0, 0) == 0

    def test_wait_is_woken_by_a_commit(self, store: SqlStore) -> None:
        woken: list[int] = []
        thread = threading.Thread(target=lambda: woken.append(store.wait(-1, 60)))
        thread.start()
        store.write(submit)
        thread.join(30)

        assert woken == [0]

    def test_a_closed_store_refuses(self, store: SqlStore) -> None:
        store.close()
        store.close()

        with pytest.raises(UnavailableError):
            store.write(submit)
        with pytest.raises(UnavailableError), store.read():
            pass


class BlobsContract:
    """Bytes by digest. Needs the fixture `blobs`: an empty store of blobs."""

    def test_round_trip(self, blobs: Blobs) -> None:
        for data in (b"", b"x", bytes(range(256)) * 10_000):
            digest = blobs.put(data)

            assert digest == digests.of_bytes(data)
            assert blobs.get(digest) == data
            assert blobs.path(digest).read_bytes() == data
            assert blobs.size(digest) == len(data)
            assert blobs.has(digest)

    def test_putting_twice_is_putting_once(self, blobs: Blobs) -> None:
        assert blobs.put(b"same") == blobs.put(b"same")
        assert list(blobs.digests()) == [digests.of_bytes(b"same")]

    def test_a_file_goes_in_whole_and_stays_where_it_was(self, blobs: Blobs, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(bytes(3 * 2**20 + 1))

        digest = blobs.put_file(source)

        assert digest == digests.of_file(source)
        assert blobs.path(digest).read_bytes() == source.read_bytes()
        assert blobs.put_file(source) == digest

    def test_a_missing_file_is_an_error_and_leaves_nothing(self, blobs: Blobs, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            blobs.put_file(tmp_path / "absent")

        assert list(blobs.digests()) == []

    def test_what_was_never_put_is_not_found(self, blobs: Blobs) -> None:
        assert not blobs.has(_NEVER_PUT)
        for ask in (blobs.get, blobs.path, blobs.size):
            with pytest.raises(NotFoundError):
                ask(_NEVER_PUT)

    def test_what_is_no_digest_is_invalid(self, blobs: Blobs) -> None:
        for text in ("sha256:../../etc/passwd", "", "md5:00", "sha256:" + "A" * 64):
            for ask in (blobs.get, blobs.path, blobs.size, blobs.has, blobs.delete):
                with pytest.raises(InvalidError):
                    ask(Digest(text))

    def test_deleted_is_gone_and_may_come_back(self, blobs: Blobs) -> None:
        digest = blobs.put(b"here today")
        blobs.path(digest)

        blobs.delete(digest)
        blobs.delete(digest)

        assert not blobs.has(digest)
        with pytest.raises(NotFoundError):
            blobs.path(digest)
        assert blobs.get(blobs.put(b"here today")) == b"here today"

    def test_digests_lists_every_blob(self, blobs: Blobs) -> None:
        put = {blobs.put(bytes([number])) for number in range(50)}

        assert sorted(blobs.digests()) == sorted(put)

    def test_changed_bytes_are_never_read(self, blobs: Blobs) -> None:
        digest = blobs.put(b"the truth")

        self.damage(blobs, digest)

        with pytest.raises(CorruptError):
            blobs.get(digest)
        with pytest.raises(CorruptError):
            blobs.path(digest)

    def test_many_threads_put_the_same_bytes(self, blobs: Blobs) -> None:
        data = [bytes([number]) * 1000 for number in range(10)]
        threads = [threading.Thread(target=lambda: [blobs.put(each) for each in data]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(blobs.digests()) == sorted(digests.of_bytes(each) for each in data)
        assert all(blobs.get(digests.of_bytes(each)) == each for each in data)

    def damage(self, blobs: Blobs, digest: Digest) -> None:
        """Change the stored bytes of a blob behind its back."""
        raise NotImplementedError
