"""Carrying out what the scheduler orders: first commit, then act. Nothing is done that is not in the
catalog."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kernos.base.errors import KernosError, LimitError, to_problem
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import ENDED, RunRecord
from kernos.catalog.store import SqlStore, Transaction
from kernos.kernel import lifecycle
from kernos.kernel.executor import Executor
from kernos.kernel.folder import folder_of
from kernos.kernel.outcome import Finding, failed
from kernos.kernel.run import Exit, Limits, Task
from kernos.kernel.scheduler import End, Kill, Order, Requeue, Start

Settle = Callable[[Transaction, RunRecord, dict[str, Any]], dict[str, Any]]
"""Called in the transaction that ends a successful Run: commits what it made, returns the result to keep.
What it raises fails the Run. It may be called again after the transaction was rolled back, so the
transaction is all it may change."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """An order, with what is known of the attempt it ends."""

    order: Order
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What may be acted on, and the starts that came to nothing because their Run waits no more."""

    started: list[RunRecord]
    void: list[RunId]


class _NotSettledError(Exception):
    """A Run's result could not be taken; the whole transaction is void."""

    def __init__(self, run: RunId, error: KernosError) -> None:
        super().__init__(run)
        self.run = run
        self.error = error


class Carrier:
    def __init__(
        self,
        store: SqlStore,
        executor: Executor,
        settings: KernelSettings,
        home: Path,
        *,
        settle: Settle,
        token_for: Callable[[RunId], str],
        socket: str,
    ) -> None:
        self._store = store
        self._executor = executor
        self._settings = settings
        self._home = home
        self._settle = settle
        self._token_for = token_for
        self._socket = socket

    def commit(self, due: Sequence[Due]) -> Committed:
        """All of it in one transaction, or none of it and the store's error. A Run whose result cannot be
        settled fails."""
        while True:
            try:
                return self._store.write(partial(self._apply, due))
            except _NotSettledError as refusal:
                due = [_unsettled(entry, refusal) for entry in due]

    def act(self, due: Sequence[Due], committed: Committed) -> list[Exit]:
        """The exits of attempts that could not even begin (no room for the task's file)."""
        unborn: list[Exit] = []
        for record in committed.started:
            try:
                self._executor.start(self._task(record), self._limits(record))
            except OSError:
                logger.exception("run %s could not be started", record.id)
                unborn.append(Exit(record.id, record.attempts, reason="lost"))
        for entry in due:
            if isinstance(entry.order, Kill):
                self._executor.kill(entry.order.run)
        return unborn

    def _apply(self, due: Sequence[Due], tx: Transaction) -> Committed:
        started: list[RunRecord] = []
        void: list[RunId] = []
        for entry in due:
            match entry.order:
                case Start(run=run, attempt=attempt):
                    record = lifecycle.start(tx, run, attempt)
                    if record is None:
                        void.append(run)
                    else:
                        started.append(record)
                case Requeue(run=run, reason=reason):
                    self._requeue(tx, run, reason, entry.finding)
                case End():
                    self._end(tx, entry.order, entry.finding)
                case Kill():
                    continue
        return Committed(started, void)

    def _end(self, tx: Transaction, order: End, finding: Finding | None) -> None:
        record = lifecycle.find(tx, order.run)
        if record.state in ENDED:
            return
        if finding is None or order.reason:
            refusal = LimitError(
                order.reason, hint="Ask for less, or give Runs more: kernel.cpus, kernel.memory_bytes."
            )
            lifecycle.end(tx, record, order.state, order.reason, {"error": to_problem(refusal)})
            return
        result = finding.result
        if finding.outcome == "done":
            result = self._settled(tx, record, result)
        lifecycle.end(tx, record, finding.state, finding.reason, result, finding.usage)

    def _settled(self, tx: Transaction, record: RunRecord, result: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._settle(tx, record, result)
        except KernosError as error:
            raise _NotSettledError(record.id, error) from error
        except Exception as error:  # a bug in what takes the result must not stop every other Run
            logger.exception("the result of run %s could not be taken", record.id)
            raise _NotSettledError(record.id, KernosError(f"{type(error).__name__}: {error}")) from error

    def _requeue(self, tx: Transaction, run: RunId, reason: str, finding: Finding | None) -> None:
        record = lifecycle.find(tx, run)
        if record.state != "running" or finding is None:
            return
        event = "run.lost" if finding.outcome == "lost" else "run.retried"
        lifecycle.requeue(tx, record, event, f"{reason}: {finding.reason}")

    def _task(self, record: RunRecord) -> Task:
        return Task(
            run=record.id,
            entry=record.entry,
            payload=record.payload,
            home=str(self._home),
            folder=str(folder_of(self._home, record.id)),
            token=self._token_for(record.id),
            socket=self._socket,
            attempt=record.attempts,
        )

    def _limits(self, record: RunRecord) -> Limits:
        return Limits(
            cpus=record.cpus,
            memory_bytes=record.memory_bytes,
            wall_s=record.wall_s,
            processes=self._settings.run_processes,
            log_bytes=self._settings.run_log_bytes,
        )


def _unsettled(entry: Due, refusal: _NotSettledError) -> Due:
    if entry.finding is None or not isinstance(entry.order, End) or entry.order.run != refusal.run:
        return entry
    return Due(entry.order, failed(entry.finding, refusal.error))
