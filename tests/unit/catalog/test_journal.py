from __future__ import annotations

import hashlib
import json

import pytest

from kernos.base.ids import RunId
from kernos.catalog import journal, merkle
from kernos.catalog.records import EventRecord
from kernos.catalog.schema import Stored, table_of
from kernos.catalog.store import SqlStore
from kernos.testing.contracts import submit

EMPTY = journal.Head(merkle.Frontier(), 0, RunId(0))


def event(seq: int) -> EventRecord:
    rows = [("runs", "1", "ab" * 32)]
    return EventRecord(seq, 5, "run.queued", "run:1", "alice", {"b": 1, "a": "é"}, rows, leaf="")


def test_a_leaf_can_be_computed_by_anyone_who_reads_the_event() -> None:
    _, stored, _ = EMPTY.append(event(0))

    fields = {
        "at_ms": 5,
        "kind": "run.queued",
        "payload": {"a": "é", "b": 1},
        "principal": "alice",
        "rows": [["runs", "1", "ab" * 32]],
        "seq": 0,
        "subject": "run:1",
    }
    data = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert journal.event_bytes(stored) == data
    assert stored[-1] == hashlib.sha256(b"\0" + data).hexdigest()


def test_a_head_is_a_value_that_append_leaves_as_it_was() -> None:
    head, nodes = EMPTY, []
    for seq in range(4):
        assert head.seq == seq - 1
        before = head.frontier.root()
        after, _, made = head.append(event(seq))
        assert head.frontier.root() == before
        head = after
        nodes += [(node.last, node.level) for node in made]

    assert EMPTY.seq == -1
    assert head.at_ms == 5
    assert nodes == [(1, 1), (3, 1), (3, 2)]


def test_the_stored_tree_is_the_tree_of_the_leaves(store: SqlStore) -> None:
    for _ in range(21):
        store.write(submit)

    with store.read() as reader:
        leaves = [bytes.fromhex(each.leaf) for each in reader.events()]
        nodes = reader.tree()
        expected = merkle.Frontier()
        for size, leaf in enumerate(leaves, 1):
            expected, _ = expected.append(leaf)
            assert merkle.frontier(size, nodes) == expected
        for index, leaf in enumerate(leaves):
            proof = merkle.inclusion(index, 21, nodes)
            assert merkle.verify_inclusion(leaf, index, 21, proof, expected.root())


def test_every_column_is_under_the_leaf() -> None:
    stored = list(table_of(EventRecord).encode(event(0)))
    whole = journal.event_bytes(stored)

    others: list[Stored] = [1, 6, "x", "x", "x", "{}", "[]"]
    for index, other in enumerate(others):
        changed = [*stored[:index], other, *stored[index + 1 :]]
        assert journal.event_bytes(changed) != whole
    with pytest.raises(ValueError, match="not enough values"):
        journal.event_bytes(stored[:6])
