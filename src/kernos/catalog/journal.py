"""The journal: what an Event's bytes are, where the Merkle tree stands, and what an append makes of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection, func, select

from kernos.base.digests import canonical
from kernos.base.ids import RunId
from kernos.catalog import merkle
from kernos.catalog.records import EventRecord, NodeRecord, RunRecord
from kernos.catalog.schema import Stored, table_of

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_EVENTS = table_of(EventRecord)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the journal stands. Plain values, so a change that fails leaves the old head as it was."""

    frontier: merkle.Frontier
    at_ms: int
    """Of the newest Event; 0 without one."""
    run: RunId
    """The highest Run id given out; 0 without one."""

    @property
    def seq(self) -> int:
        """Of the newest Event; -1 without one."""
        return self.frontier.size - 1

    def append(self, event: EventRecord) -> tuple[Head, tuple[Stored, ...], list[NodeRecord]]:
        """The head after `event` (which gets its leaf here), the Event as stored, the nodes it completes."""
        stored = _EVENTS.encode(event)[:-1]
        leaf = merkle.leaf_hash(event_bytes(stored))
        frontier, made = self.frontier.append(leaf)
        nodes = [NodeRecord(event.seq, node.level, node.hash.hex()) for node in made]
        return replace(self, frontier=frontier, at_ms=event.at_ms), (*stored, leaf.hex()), nodes


def event_bytes(stored: Sequence[Stored]) -> bytes:
    """The bytes under an Event's leaf: canonical JSON of its other columns, JSON columns as stored."""
    seq, at_ms, kind, subject, principal, payload, rows = stored[:7]
    return canonical(
        {
            "at_ms": at_ms,
            "kind": kind,
            "payload": msgspec.Raw(str(payload)),
            "principal": principal,
            "rows": msgspec.Raw(str(rows)),
            "seq": seq,
            "subject": subject,
        }
    )


def read_head(connection: Connection) -> Head:
    """Where the stored journal stands.

    Hashes that are missing or mangled count as zeros: a damaged journal still opens, so that an audit can say
    what is damaged.
    """
    events = _EVENTS.table.c
    newest = connection.execute(select(events.seq, events.at_ms).order_by(events.seq.desc()).limit(1)).first()
    seq, at_ms = newest or (-1, 0)
    run = connection.scalar(select(func.max(table_of(RunRecord).table.c.id)))
    return Head(merkle.frontier(seq + 1, stored_nodes(connection)), at_ms, RunId(run or 0))


def current(connection: Connection, head: Head) -> Head:
    """The head, read anew where another process has written since."""
    seq = connection.scalar(select(func.max(_EVENTS.table.c.seq)))
    return head if (-1 if seq is None else seq) == head.seq else read_head(connection)


def stored_nodes(connection: Connection) -> merkle.Nodes:
    """The tree as stored: leaves from the Events, complete subtrees from their own table."""
    events, nodes = _EVENTS.table.c, table_of(NodeRecord).table.c

    def node(level: int, index: int) -> bytes:
        last = ((index + 1) << level) - 1
        statement = select(nodes.hash).where(nodes.last == last, nodes.level == level)
        if level == 0:
            statement = select(events.leaf).where(events.seq == last)
        found = str(connection.scalar(statement))
        return bytes.fromhex(found) if _HASH.match(found) else bytes(merkle.HASH_BYTES)

    return node
