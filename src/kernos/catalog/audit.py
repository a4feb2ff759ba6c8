"""Finds what was changed behind the store's back: in the journal, in its tree, and in every row it tells of.

Three ties hold the catalog together. Each Event's leaf is the hash of its bytes, and the stored tree is made
of the leaves. Each Event carries the digest of every row it changed, which ties the state to the journal. A
signed head says what the root was at a size: to rewrite or shorten the journal below it takes the key. What
happened after the newest head is as safe as the file, and whoever holds the file and the key can rewrite all:
heads kept elsewhere protect against that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from kernos.base.digests import canonical
from kernos.base.errors import KernosError
from kernos.catalog import journal, merkle
from kernos.catalog.records import EventRecord, HeadRecord, NodeRecord
from kernos.catalog.schema import JOURNAL, TABLES, RecordTable, row_digest, table_of
from kernos.catalog.store import Reader, SqlStore, Transaction

Row = tuple[Any, ...]
_decode_rows = msgspec.json.Decoder(list[tuple[str, str, str]]).decode
_PROBLEMS = 100
"""Problems told one by one; beyond that only their number is."""

CheckHead = Callable[[bytes, str, str], bool]
"""(the head's bytes, signature in hex, key id): whether a trusted key signed them."""


class AuditReport(msgspec.Struct, frozen=True):
    ok: bool
    size: int
    """Events in the journal."""
    root: str
    """Of all of them, computed from their bytes; 64 hex digits."""
    problems: list[str]
    signed_size: int
    """Events under the newest signed head that holds; 0 without one."""
    key_id: str
    """Of that head; empty without one."""


def head_bytes(size: int, root: str, at_ms: int) -> bytes:
    """What is signed: canonical JSON with a type, so that the signature means nothing else anywhere."""
    return canonical({"at_ms": at_ms, "root": root, "size": size, "type": "kernos-journal-head-v1"})


def sign_head(store: SqlStore, sign: Callable[[bytes], bytes], key_id: str) -> None:
    """Sign the journal as it is now; nothing where the newest head covers all there is. Emits no Event.

    The root comes from the writer's memory, not from the file: what was changed in the file since the kernel
    started is not signed, and shows at the next `verify`.
    """

    def change(tx: Transaction) -> None:
        size = tx.head.frontier.size
        if size and tx.get(HeadRecord, size) is None:
            root = tx.head.frontier.root().hex()
            signature = sign(head_bytes(size, root, tx.at_ms)).hex()
            tx.put(HeadRecord(size, root, tx.at_ms, key_id, signature))

    store.write(change)


def verify(store: SqlStore, check_head: CheckHead | None = None) -> AuditReport:
    """Check every byte of journal and state, in one snapshot. Without `check_head` no signature is looked at.

    Takes time in proportion to the journal, and some 300 bytes of memory a row of state.
    """
    with store.read() as reader:
        audit = _Audit(reader, check_head)
        audit.journal()
        audit.state()
    return audit.report()


class _Audit:
    def __init__(self, reader: Reader, check_head: CheckHead | None) -> None:
        self._reader = reader
        self._check_head = check_head
        self._problems: list[str] = []
        self._more = 0
        self._frontier = merkle.Frontier()
        self._told: dict[str, dict[str, str]] = {table.name: {} for table in TABLES.values()}
        """Table to key to the digest that the newest Event tells of that row."""
        self._signed_size = 0
        self._key_id = ""

    def journal(self) -> None:
        """Events in order against their leaves, the stored tree and the signed heads, in one pass."""
        heads = {row[0]: row for row in self._rows(table_of(HeadRecord))}
        nodes = _Nodes(self._rows(table_of(NodeRecord)), self._problem)
        expected = 0
        for row in self._rows(table_of(EventRecord)):
            if row[0] != expected:
                self._problem(f"events {expected} to {row[0] - 1} are missing")
            whole = self._frontier.size == row[0]
            expected = row[0] + 1
            leaf = self._event(row)
            if whole:  # behind a gap no root can be right, but rows are still told of
                self._frontier, made = self._frontier.append(leaf)
                nodes.compare(row[0], made)
                if head := heads.pop(self._frontier.size, None):
                    self._head(head)
        nodes.end()
        for size in heads:
            self._problem(
                f"signed head {size}: not the journal's, which has {self._frontier.size} whole events"
            )

    def state(self) -> None:
        """Every row of every audited table against what the newest Event of it tells."""
        for kind, table in TABLES.items():
            if kind not in JOURNAL:
                self._table(table)

    def report(self) -> AuditReport:
        problems = self._problems + ([f"and {self._more} more"] if self._more else [])
        root = self._frontier.root().hex()
        return AuditReport(not problems, self._frontier.size, root, problems, self._signed_size, self._key_id)

    def _event(self, row: Row) -> bytes:
        """The leaf that the row's bytes have, after comparing it with the stored one."""
        leaf = merkle.leaf_hash(journal.event_bytes(row))
        if leaf.hex() != row[7]:
            self._problem(f"event {row[0]}: was edited")
        try:
            changed = _decode_rows(row[6])
        except (msgspec.DecodeError, TypeError):
            self._problem(f"event {row[0]}: its rows cannot be read")
            return leaf
        for table, key, digest in changed:
            self._told.setdefault(table, {})[key] = digest
        return leaf

    def _head(self, row: Row) -> None:
        size, root, at_ms, key_id, signature = row
        if root != self._frontier.root().hex():
            self._problem(f"signed head {size}: the journal below it was rewritten")
        elif self._check_head and not self._check_head(head_bytes(size, root, at_ms), signature, key_id):
            self._problem(f"signed head {size}: no trusted key signed it")
        else:
            self._signed_size, self._key_id = size, key_id

    def _table(self, table: RecordTable[Any]) -> None:
        told = self._told[table.name]
        for row in self._rows(table):
            key = table.key_text(row)
            digest = told.pop(key, "")
            if not digest:
                self._problem(f"{table.name} {key}: no event tells of this row")
            elif digest != row_digest(row):
                self._problem(f"{table.name} {key}: was edited")
        for key, digest in told.items():
            if digest:
                self._problem(f"{table.name} {key}: is missing")

    def _rows(self, table: RecordTable[Any]) -> Iterator[Row]:
        """Stored rows; what no column of ours holds, or what cannot be read at all, is a problem itself."""
        try:
            for row in self._reader.stored(table):
                if any(isinstance(value, bytes) for value in row):
                    self._problem(f"{table.name}: a row holds bytes where a value belongs")
                else:
                    yield row
        except KernosError as error:
            self._problem(f"{table.name}: cannot be read on: {error.message}")

    def _problem(self, text: str) -> None:
        if len(self._problems) < _PROBLEMS:
            self._problems.append(text)
        else:
            self._more += 1


class _Nodes:
    """The stored tree, walked beside the Events that made it: both stand in the order of (last, level)."""

    def __init__(self, rows: Iterator[Row], problem: Callable[[str], None]) -> None:
        self._rows = rows
        self._problem = problem
        self._next = next(rows, None)

    def compare(self, last: int, made: list[merkle.Node]) -> None:
        for node in made:
            name = f"tree node {last}/{node.level}"
            self._skip(last, node.level)
            if self._next is None or self._next[:2] != (last, node.level):
                self._problem(f"{name}: is missing")
                continue
            if self._next[2] != node.hash.hex():
                self._problem(f"{name}: is not the hash of its events")
            self._next = next(self._rows, None)

    def end(self) -> None:
        while self._next is not None:
            self._foreign()

    def _skip(self, last: int, level: int) -> None:
        """Past the rows that no event made."""
        while self._next is not None and not _reaches(self._next, last, level):
            self._foreign()

    def _foreign(self) -> None:
        assert self._next is not None
        self._problem(f"tree node {self._next[0]}/{self._next[1]}: belongs to no event")
        self._next = next(self._rows, None)


def _reaches(row: Row, last: int, level: int) -> bool:
    """Whether a stored node stands at or behind (last, level) in the table, where text comes last."""
    numbers = [value if isinstance(value, int | float) else math.inf for value in row[:2]]
    return numbers >= [last, level]
