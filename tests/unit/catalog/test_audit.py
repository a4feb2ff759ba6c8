from __future__ import annotations

import hashlib
import hmac
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernos.base import digests
from kernos.base.clock import ManualClock
from kernos.catalog import artifacts, audit, journal, merkle
from kernos.catalog.records import (
    ArtifactRecord,
    CacheRecord,
    DeploymentRecord,
    HeadRecord,
    MetricRecord,
    MonitorRecord,
    ParamRecord,
    PrincipalRecord,
)
from kernos.catalog.schema import TABLES
from kernos.catalog.store import SqlStore, Transaction
from kernos.testing.contracts import queued_run, submit

KEY_ID = "ed25519:0011223344556677"


def sign(data: bytes) -> bytes:
    return hmac.digest(b"the kernel's key", data, "sha256")


def check_head(data: bytes, signature: str, key_id: str) -> bool:
    return key_id == KEY_ID and signature == sign(data).hex()


def verify(store: SqlStore) -> audit.AuditReport:
    return audit.verify(store, check_head)


class Tampering:
    """A catalog with rows in every table, which somebody with access to the file changes behind the store."""

    def __init__(self, store: SqlStore, database: Path) -> None:
        self.store = store
        for step in range(12):
            store.write(lambda tx, step=step: fill(tx, step))  # type: ignore[misc] # mypy cannot see a default
            if step in {3, 8}:
                audit.sign_head(store, sign, KEY_ID)
        self.raw = sqlite3.connect(database, isolation_level=None, timeout=5)
        self.raw.execute("PRAGMA synchronous=OFF")
        self._pristine = sqlite3.connect(":memory:")
        self.raw.backup(self._pristine)

    def restore(self) -> None:
        self._pristine.backup(self.raw)

    def close(self) -> None:
        self.raw.close()
        self._pristine.close()

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.raw.execute(f"SELECT * FROM {table}").fetchall()

    def drop(self, table: str, row: tuple[Any, ...]) -> None:
        where = " AND ".join(f"{name} IS ?" for name in columns(table))
        assert self.raw.execute(f"DELETE FROM {table} WHERE {where}", row).rowcount == 1

    def insert(self, table: str, row: tuple[Any, ...]) -> None:
        self.raw.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def edit(self, table: str, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        self.drop(table, before)
        self.insert(table, after)


def columns(table: str) -> list[str]:
    (kind,) = (kind for kind, each in TABLES.items() if each.name == table)
    return [f'"{name}"' for name in kind.__struct_fields__]


def fill(tx: Transaction, step: int) -> None:
    """Something in every table."""
    run = queued_run(tx.next_run_id(), key=f"key {step}" if step % 2 else "")
    made = ArtifactRecord(digests.of_bytes(b"%d" % step), "model", step, {"n": [1, 2.5]}, run.id, tx.at_ms)
    tx.put(run)
    tx.put(MetricRecord(run.id, "loss", step, 1.0 / (step + 1), tx.at_ms))
    tx.put(ParamRecord(run.id, "C", "0.5"))
    tx.put(CacheRecord(digests.of_value(step), {"out": step}, run.id))
    tx.emit("run.done", f"run:{run.id}", "alice", step=step)
    tx.put(PrincipalRecord(f"user{step % 4}", "person", "viewer", "ab" * 32, tx.at_ms))
    tx.put(DeploymentRecord("income", step, None, None, 0.1, "live", "", tx.at_ms, {}))
    tx.put(MonitorRecord("income", step, None, {"rows": step}, bool(step % 2), tx.at_ms))
    tx.emit("principal.created", f"user{step % 4}", "root")
    artifacts.publish(tx, "/models/income", made, [(digests.of_bytes(b"%d" % (step - 1)), "data")], "alice")
    artifacts.move_name(tx, "/models/income", "live", step + 1, "alice", "")
    if step == 5:
        tx.delete(ParamRecord, 1, "C")
        tx.emit("param.deleted", "run:1", "alice")


@pytest.fixture
def tampering(store: SqlStore, database: Path) -> Iterator[Tampering]:
    tampering = Tampering(store, database)
    yield tampering
    tampering.close()


def test_an_untouched_catalog_holds(tampering: Tampering) -> None:
    report = verify(tampering.store)

    assert report == audit.AuditReport(True, 49, report.root, [], 37, KEY_ID)
    with tampering.store.read() as reader:
        assert merkle.root(49, reader.tree()).hex() == report.root


def test_an_empty_catalog_holds_and_has_nothing_to_sign(store: SqlStore) -> None:
    audit.sign_head(store, sign, KEY_ID)

    assert verify(store) == audit.AuditReport(True, 0, hashlib.sha256().hexdigest(), [], 0, "")


def mutate(tampering: Tampering, chance: random.Random) -> str:
    """One random change of one row somewhere; what it was.

    A signed head is not dropped: without it the catalog says less, and all it still says is true.
    """
    table = chance.choice([each.name for each in TABLES.values()])
    rows = tampering.rows(table)
    row = chance.choice(rows)
    how = chance.choice(
        ["edit", "insert", "swap"] if table == "heads" else ["edit", "insert", "swap", "drop"]
    )
    if how == "edit":
        column = chance.randrange(len(row))
        tampering.edit(table, row, (*row[:column], changed(row[column], chance), *row[column + 1 :]))
    elif how == "drop":
        tampering.drop(table, row)
    elif how == "insert":
        tampering.insert(table, tuple(fresh(value, chance) for value in row))
    else:
        swap(tampering, table, row, chance.choice([each for each in rows if each != row] or [row]))
    return f"{how} {table} {row}"


def changed(value: Any, chance: random.Random) -> Any:
    """Another value, sometimes of another type, sometimes the same to whoever only parses it."""
    if value is None:
        return chance.choice([0, "", 7])
    if isinstance(value, str):
        return chance.choice(
            [value + " ", value.swapcase() + "x", " " + value, value.encode(), value[:-1] + "?"]
        )
    return chance.choice([value + 1, value - 1, value + 1000, "text", value + 0.5])


def fresh(value: Any, chance: random.Random) -> Any:
    """A value that makes the row a new one."""
    if isinstance(value, str):
        return value if value[:1] in {"{", "["} else f"{value}{chance.randrange(10**6)}"
    return value if value is None else int(value) + 10**6 + chance.randrange(10**6)


def swap(tampering: Tampering, table: str, first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    """Exchange what two rows say, and leave their keys where they are."""
    (schema,) = (each for each in TABLES.values() if each.name == table)
    held = {*schema.key_positions, *(n for n, name in enumerate(columns(table)) if name == '"key"')}
    mixed = [
        tuple(keep[index] if index in held else take[index] for index in range(len(keep)))
        for keep, take in ((first, second), (second, first))
    ]
    if mixed[0] == first:  # they say the same
        mixed = [(*first[:-1], f"{first[-1]}x"), second]
    for row in {first, second}:
        tampering.drop(table, row)
    for row in mixed[: len({first, second})]:
        tampering.insert(table, row)


def test_every_random_tampering_is_found(tampering: Tampering) -> None:
    chance = random.Random(20261120)  # the same tamperings every time
    missed = []
    for _ in range(300):
        what = None
        while what is None:
            try:
                what = mutate(tampering, chance)
            except sqlite3.IntegrityError:  # SQLite itself refused it
                tampering.restore()
        before = tampering.raw.total_changes
        if verify(tampering.store).ok:
            missed.append(what)
        assert tampering.raw.total_changes == before
        tampering.restore()

    assert missed == []
    assert verify(tampering.store).ok


@pytest.mark.parametrize("table", [each.name for each in TABLES.values()])
def test_each_table_edited_dropped_and_inserted_is_named(tampering: Tampering, table: str) -> None:
    chance = random.Random(7)
    row = tampering.rows(table)[-1]
    last = len(row) - 1
    names = {"events": "event", "nodes": "tree node", "heads": "signed head"}

    tampering.edit(table, row, (*row[:last], changed(row[last], chance)))
    edited = verify(tampering.store)
    tampering.restore()
    tampering.drop(table, row)
    dropped = verify(tampering.store)
    tampering.restore()
    tampering.insert(table, tuple(fresh(value, chance) for value in row))
    inserted = verify(tampering.store)

    for report in (edited, inserted):
        assert not report.ok
        assert any(problem.startswith(names.get(table, table)) for problem in report.problems), (
            report.problems
        )
    assert dropped.ok == (table == "heads")  # those left still hold
    assert dropped.signed_size == (16 if table == "heads" else 37)


def test_two_events_that_change_places_are_found(tampering: Tampering) -> None:
    tampering.raw.execute("UPDATE events SET seq = -1 WHERE seq = 4")
    tampering.raw.execute("UPDATE events SET seq = 4 WHERE seq = 5")
    tampering.raw.execute("UPDATE events SET seq = 5 WHERE seq = -1")

    problems = verify(tampering.store).problems

    assert {"event 4: was edited", "event 5: was edited"} <= set(problems)
    assert "signed head 16: the journal below it was rewritten" in problems


def test_a_row_brought_back_to_an_older_state_is_found(tampering: Tampering) -> None:
    tampering.raw.execute("UPDATE deployments SET live = 10 WHERE app = 'income'")

    assert verify(tampering.store).problems == ["deployments income: was edited"]


def test_a_deleted_row_brought_back_is_found(tampering: Tampering) -> None:
    tampering.insert("params", (1, "C", "0.5"))

    assert verify(tampering.store).problems == ['params [1,"C"]: no event tells of this row']


def truncate(tampering: Tampering, size: int) -> None:
    """Cut the journal as one who knows how it works would: Events and tree."""
    tampering.raw.execute("DELETE FROM events WHERE seq >= ?", (size,))
    tampering.raw.execute("DELETE FROM nodes WHERE last >= ?", (size,))


def test_a_tail_cut_off_below_a_signed_head_is_found(tampering: Tampering) -> None:
    truncate(tampering, 30)

    report = verify(tampering.store)

    assert "signed head 37: not the journal's, which has 30 whole events" in report.problems
    assert report.signed_size == 16


def test_a_gap_is_named_and_what_follows_still_tells_of_its_rows(tampering: Tampering) -> None:
    tampering.raw.execute("DELETE FROM events WHERE seq IN (20, 21)")

    problems = verify(tampering.store).problems

    assert problems[0] == "events 20 to 21 are missing"
    assert not any(problem.startswith("deployments") for problem in problems)


def rewrite(tampering: Tampering, seq: int) -> None:
    """Change an Event and make leaf and tree right again: only a signature can tell."""
    frontier = merkle.Frontier()
    tampering.raw.execute("UPDATE events SET principal = 'mallory' WHERE seq = ?", (seq,))
    for row in tampering.rows("events"):
        leaf = merkle.leaf_hash(journal.event_bytes(row))
        tampering.raw.execute("UPDATE events SET leaf = ? WHERE seq = ?", (leaf.hex(), row[0]))
        frontier, made = frontier.append(leaf)
        for node in made:
            tampering.raw.execute(
                "UPDATE nodes SET hash = ? WHERE last = ? AND level = ?",
                (node.hash.hex(), row[0], node.level),
            )


def test_a_history_rewritten_with_all_its_hashes_fails_at_the_signed_heads(tampering: Tampering) -> None:
    rewrite(tampering, 10)
    assert verify(tampering.store).problems == [
        "signed head 16: the journal below it was rewritten",
        "signed head 37: the journal below it was rewritten",
    ]

    heads = tampering.rows("heads")
    with tampering.store.read() as reader:
        nodes = reader.tree()
        roots = {size: merkle.root(size, nodes).hex() for size, *_ in heads}
    for size, _, at_ms, key_id, signature in heads:
        tampering.raw.execute("DELETE FROM heads WHERE size = ?", (size,))
        tampering.insert("heads", (size, roots[size], at_ms, key_id, signature))

    assert verify(tampering.store).problems == [
        "signed head 16: no trusted key signed it",
        "signed head 37: no trusted key signed it",
    ]


def test_what_is_rewritten_while_the_kernel_runs_is_not_signed(tampering: Tampering) -> None:
    rewrite(tampering, 45)
    assert verify(tampering.store).ok  # above the newest head, nothing holds it yet

    audit.sign_head(tampering.store, sign, KEY_ID)

    assert verify(tampering.store).problems == ["signed head 49: the journal below it was rewritten"]


def test_a_head_signed_by_a_key_nobody_trusts_is_found(tampering: Tampering) -> None:
    tampering.store.write(submit)
    audit.sign_head(tampering.store, sign, "ed25519:ffffffffffffffff")

    report = verify(tampering.store)

    assert report.problems == ["signed head 50: no trusted key signed it"]
    assert report.signed_size == 37


def test_a_head_is_signed_once_a_size_and_covers_all_there_is(store: SqlStore) -> None:
    store.write(submit)
    for _ in range(2):
        audit.sign_head(store, sign, KEY_ID)
    store.write(submit)
    audit.sign_head(store, sign, KEY_ID)

    with store.read() as reader:
        heads = reader.list(HeadRecord)
    assert [head.size for head in heads] == [1, 2]
    assert verify(store).signed_size == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET rows = '[[1]]' WHERE seq = 3",
        "UPDATE events SET rows = x'00' WHERE seq = 3",
        "UPDATE events SET payload = CAST(x'ff' AS TEXT) WHERE seq = 3",
        "UPDATE events SET seq = 9223372036854775807 WHERE seq = 48",
        "UPDATE events SET seq = -5 WHERE seq = 0",
        "UPDATE nodes SET hash = 'not hexadecimal' WHERE last = 48 OR last = 47",
        "UPDATE nodes SET last = 'text' WHERE last = 1",
        "DELETE FROM nodes",
        "DELETE FROM events",
        "DROP TABLE params",
    ],
)
def test_the_worst_damage_is_a_report_and_no_crash(
    tampering: Tampering, statement: str, database: Path, clock: ManualClock
) -> None:
    tampering.raw.execute(statement)

    assert not verify(tampering.store).ok
    tampering.store.close()
    again = SqlStore(f"sqlite:///{database}", clock)
    again.open()
    assert not verify(again).ok
    again.close()


def test_many_problems_are_counted_and_not_all_told(tampering: Tampering) -> None:
    tampering.raw.execute("UPDATE events SET principal = principal || 'x'")
    tampering.raw.execute("UPDATE runs SET reason = ''")
    tampering.raw.execute("DELETE FROM cache")

    problems = verify(tampering.store).problems

    assert len(problems) == 101
    assert problems[-1].startswith("and ")
