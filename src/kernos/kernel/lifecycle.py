"""How a RunRecord changes, inside a transaction: each change with its Event, and ended stays ended.

queued -> running -> done | failed | stopped
queued -> stopped | failed
running -> queued       lost, or to be tried again
cached                  from the start, where the result was known
"""

from __future__ import annotations

from typing import Any

import msgspec

from kernos.base.errors import ConflictError, InvalidError, NotFoundError
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import ENDED, RunClass, RunRecord, RunState
from kernos.catalog.store import Reader, Transaction
from kernos.kernel.run import RunSpec

KERNEL = "kernel"
"""The principal of what the kernel does by itself."""


def find(reader: Reader, run: RunId) -> RunRecord:
    record = reader.get(RunRecord, run)
    if record is None:
        raise NotFoundError(f"There is no run {run}.", hint="kernos ps --all")
    return record


def queue(tx: Transaction, spec: RunSpec, settings: KernelSettings, memory_bytes: int) -> RunRecord:
    """A new Run, or the one that has this key. `memory_bytes`: what a Run gets that does not say."""
    known = _with_key(tx, spec.key)
    if known is not None:
        return known
    _check(spec)
    parent = tx.get(RunRecord, spec.parent) if spec.parent is not None else None
    if parent is not None and parent.state == "stopped":
        raise ConflictError(f"run {parent.id} was stopped: it gets no new children.")
    record = _new(
        tx, spec, "queued" if spec.entry else "running", "waits for its turn" if spec.entry else "runs"
    )
    record = msgspec.structs.replace(
        record,
        memory_bytes=spec.memory_bytes or memory_bytes,
        wall_s=spec.wall_s or settings.run_wall_s,
        started_ms=None if spec.entry else tx.at_ms,
    )
    tx.put(record)
    _emit(tx, "run.queued", record, record.owner)
    return record


def cache(tx: Transaction, spec: RunSpec, result: dict[str, Any]) -> RunRecord:
    """A Run whose result is known: it is over before it began."""
    known = _with_key(tx, spec.key)
    if known is not None:
        return known
    _check(spec)
    record = _new(tx, spec, "cached", "nothing changed since its result was made")
    record = msgspec.structs.replace(record, result=result, started_ms=tx.at_ms, ended_ms=tx.at_ms)
    tx.put(record)
    _emit(tx, "run.cached", record, record.owner)
    return record


def start(tx: Transaction, run: RunId, attempt: int) -> RunRecord | None:
    """The Run as it starts its attempt, or None where it waits no more."""
    record = find(tx, run)
    if record.state != "queued":
        return None
    again = f", attempt {attempt}" if attempt > 1 else ""
    record = msgspec.structs.replace(
        record, state="running", reason=f"runs{again}", attempts=attempt, started_ms=tx.at_ms
    )
    tx.put(record)
    _emit(tx, "run.started", record, KERNEL, attempt=attempt)
    return record


def end(
    tx: Transaction,
    record: RunRecord,
    state: RunState,
    reason: str,
    result: dict[str, Any],
    usage: dict[str, float] | None = None,
    principal: str = KERNEL,
) -> RunRecord:
    """End a Run; where it did not succeed, its children end too, for nobody waits for them any more."""
    ended = msgspec.structs.replace(
        record, state=state, reason=reason, result=result, ended_ms=tx.at_ms, usage=usage or record.usage
    )
    tx.put(ended)
    _emit(tx, f"run.{state}", ended, principal)
    if state in {"failed", "stopped"}:
        for child in tx.list(RunRecord, where={"parent": record.id, "state": ["queued", "running"]}):
            end(tx, child, "stopped", f"run {record.id} {state}", {}, principal=principal)
    return ended


def requeue(tx: Transaction, record: RunRecord, event: str, reason: str) -> RunRecord:
    """Back to the queue: `run.lost` or `run.retried`."""
    queued = msgspec.structs.replace(record, state="queued", reason=reason, started_ms=None)
    tx.put(queued)
    _emit(tx, event, queued, KERNEL, attempt=record.attempts)
    return queued


def nice(tx: Transaction, run: RunId, klass: RunClass, weight: float, principal: str) -> RunRecord:
    record = find(tx, run)
    if record.state in ENDED:
        raise ConflictError(
            f"run {run} is over ({record.state}).", hint="Only a Run that waits or runs can be reniced."
        )
    _check_weight(weight)
    record = msgspec.structs.replace(record, klass=klass, weight=weight)
    tx.put(record)
    _emit(tx, "run.niced", record, principal)
    return record


def _with_key(tx: Transaction, key: str) -> RunRecord | None:
    found = tx.list(RunRecord, where={"key": key}, limit=1) if key else []
    return found[0] if found else None


def _check(spec: RunSpec) -> None:
    _check_weight(spec.weight)
    if not (0 <= spec.cpus < 1e6):
        raise InvalidError(
            f"{spec.cpus} cpus cannot be held.", hint="Give 0 (only waits for others) or more."
        )
    if spec.memory_bytes < 0 or spec.wall_s < 0 or spec.retries < 0:
        raise InvalidError("Memory, time and retries of a Run cannot be negative.")


def _check_weight(weight: float) -> None:
    if not (0 < weight < 1e6):
        raise InvalidError(f"{weight} is not a weight.", hint="Give a number above 0; 1 is usual.")


def _new(tx: Transaction, spec: RunSpec, state: RunState, reason: str) -> RunRecord:
    return RunRecord(
        id=tx.next_run_id(),
        kind=spec.kind,
        app=spec.app,
        name=spec.name,
        owner=spec.owner,
        parent=spec.parent,
        key=spec.key,
        state=state,
        reason=reason,
        klass=spec.klass,
        weight=spec.weight,
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
        wall_s=spec.wall_s,
        entry=spec.entry,
        payload=spec.payload,
        result={},
        attempts=0,
        retries=spec.retries,
        queued_ms=tx.at_ms,
        started_ms=None,
        ended_ms=None,
        usage={},
    )


def _emit(tx: Transaction, event: str, record: RunRecord, principal: str, **more: Any) -> None:
    tx.emit(
        event,
        f"run:{record.id}",
        principal,
        kind=record.kind,
        app=record.app,
        name=record.name,
        parent=record.parent,
        reason=record.reason,
        **more,
    )
