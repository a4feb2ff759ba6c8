"""Why a Run is in its state, in words, the nearest cause first, and the command that helps next."""

from __future__ import annotations

from collections.abc import Callable

from kernos.base.ids import RunId
from kernos.catalog.records import RunRecord
from kernos.catalog.store import Reader
from kernos.kernel.lifecycle import find
from kernos.kernel.run import Why

_CHILDREN = 5
_DEPTH = 5


def explain(reader: Reader, run: RunId, waits: Callable[[RunId], str]) -> Why:
    """`waits` says why a queued Run waits."""
    record = find(reader, run)
    because: list[str] = []
    culprit = _trace(reader, record, waits, because, _DEPTH)
    return Why(because, _next(culprit))


def _trace(
    reader: Reader, record: RunRecord, waits: Callable[[RunId], str], because: list[str], depth: int
) -> RunRecord:
    """Say why, then go on to what it waits for or what it failed by; the Run at the end of that."""
    because.append(_sentence(record, waits))
    children = _causes(reader, record) if depth else []
    culprits = [_trace(reader, child, waits, because, depth - 1) for child in children]
    return culprits[0] if culprits else record


def _causes(reader: Reader, record: RunRecord) -> list[RunRecord]:
    """The children that explain it: those it waits for, or those that failed with it."""
    states = {"running": ["queued", "running"], "failed": ["failed"]}.get(record.state)
    if states is None:
        return []
    where = {"parent": record.id, "state": states}
    return reader.list(RunRecord, where=where, order_by="id", descending=True, limit=_CHILDREN)


def _sentence(record: RunRecord, waits: Callable[[RunId], str]) -> str:
    reason = record.reason
    if record.state == "queued":
        reason = waits(record.id) or reason
    name = f"run {record.id} ({record.kind} {record.name})"
    return f"{name} is {record.state}: {reason}" if reason != record.state else f"{name} is {record.state}"


def _next(record: RunRecord) -> str:
    if record.state == "queued":
        return f"kernos nice {record.id} interactive"
    if record.state in {"running", "failed"} and record.entry:
        return f"kernos logs {record.id}"
    return ""
