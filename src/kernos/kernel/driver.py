"""The kernel's driver: clock, threads and store around the pure scheduler. A state is committed before it is
acted on.

Two threads. One follows the journal, so that whatever anybody commits about Runs reaches the scheduler and
those who wait. The other feeds the scheduler, commits its orders, several in one transaction, and carries
them out. Orders that cannot be committed (disk full) are kept and tried again, ever less often.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kernos.base.clock import Clock
from kernos.base.errors import ConflictError, KernosError
from kernos.base.ids import RunId
from kernos.base.settings import KernelSettings
from kernos.catalog.records import ENDED, RunClass, RunRecord, RunState
from kernos.catalog.store import SqlStore, Transaction
from kernos.kernel import lifecycle
from kernos.kernel.capacity import capacity
from kernos.kernel.executor import Executor
from kernos.kernel.folder import folder_of, read_exit, read_result
from kernos.kernel.follower import Follower, Heard
from kernos.kernel.orders import Carrier, Due, Settle
from kernos.kernel.outcome import judge
from kernos.kernel.run import Exit, RunSpec, Usage, Why
from kernos.kernel.scheduler import (
    End,
    Exited,
    Fact,
    Reniced,
    Requeue,
    Scheduler,
    Started,
    StopAsked,
    Submitted,
    Tick,
)
from kernos.kernel.why import explain

_BACKOFF_S = 0.1
_BACKOFF_LIMIT_S = 10.0

logger = logging.getLogger(__name__)


class Kernel:
    """Thread-safe. `start` it once; `settle` takes a successful Run's result within the transaction that ends
    the Run."""

    def __init__(
        self,
        store: SqlStore,
        executor: Executor,
        settings: KernelSettings,
        home: Path,
        clock: Clock,
        *,
        settle: Settle,
        token_for: Callable[[RunId], str],
        socket: str,
    ) -> None:
        self._store = store
        self._executor = executor
        self._settings = settings
        self._home = home
        self._clock = clock
        self._carrier = Carrier(
            store, executor, settings, home, settle=settle, token_for=token_for, socket=socket
        )
        self._cpus, self._memory_bytes = capacity(settings)
        self._scheduler = Scheduler(self._cpus, self._memory_bytes, lost_retries=settings.retries)
        self._scheduling = threading.Lock()
        self._follower = Follower(store, clock, self._hear)
        self._work = threading.Condition()
        self._facts: deque[Fact] = deque()
        self._has_exits = False
        self._is_stopping = False
        self._exits: deque[Exit] = deque()
        """Of the driver thread: exits not yet fed."""
        self._due: list[Due] = []
        """Of the driver thread: orders not yet committed."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Find every Run of an earlier kernel, adopt those that live, then go on."""
        self._executor.attach(self._wake)
        after = self._store.wait(-1, 0.0)
        self._recover()
        self._follower.start(after)
        self._thread = threading.Thread(target=self._drive, name="kernos-driver")
        self._thread.start()

    def stop(self, *, leave: bool = False) -> None:
        """`leave`: Runs live on without a kernel. Else they are killed, and queued for the next one: at no
        attempt's cost."""
        with self._work:
            self._is_stopping = True
            self._work.notify_all()
        if self._thread is None:
            return
        self._thread.join()
        self._follower.stop()
        self._executor.close(leave=leave)
        if not leave:
            try:
                self._store.write(_put_back)
            except KernosError:  # the next kernel finds them lost, which costs them an attempt
                logger.warning("the stopped Runs could not be queued again", exc_info=True)

    def submit(self, spec: RunSpec) -> RunRecord:
        """Durable when it returns. A key that is known gives the Run that has it."""
        return self._store.write(lambda tx: self.submit_in(tx, spec))

    def submit_in(self, tx: Transaction, spec: RunSpec) -> RunRecord:
        memory_bytes = min(self._settings.run_memory_bytes, self._memory_bytes)
        return lifecycle.queue(tx, spec, self._settings, memory_bytes)

    def record_cached(self, spec: RunSpec, result: dict[str, Any]) -> RunRecord:
        """A Run whose result was known: it never runs."""
        return self._store.write(lambda tx: lifecycle.cache(tx, spec, result))

    def wait(self, run: RunId, timeout_s: float) -> RunRecord:
        """The Run once it has ended, or as it is when the time is up."""
        return self._follower.wait(run, timeout_s)

    def finish(self, run: RunId, state: RunState, reason: str, result: dict[str, Any]) -> None:
        """End a Run that has no process (build, replica). One that has ended stays as it is."""
        self._store.write(lambda tx: self.finish_in(tx, run, state, reason, result))

    def finish_in(
        self, tx: Transaction, run: RunId, state: RunState, reason: str, result: dict[str, Any]
    ) -> None:
        record = lifecycle.find(tx, run)
        if record.entry:
            raise ConflictError(
                f"run {run} has a process of its own and ends with it.", hint=f"kernos stop {run}"
            )
        if record.state not in ENDED:
            lifecycle.end(tx, record, state, reason, result)

    def stop_run(self, run: RunId, principal: str) -> RunRecord:
        """Stopped when it returns, with its children; their processes are killed at once. What has ended
        stays as it is."""
        used = self._executor.usage().get(run)
        usage = {"cpu_s": used.cpu_s, "peak_rss_bytes": float(used.rss_bytes)} if used else None

        def change(tx: Transaction) -> RunRecord:
            record = lifecycle.find(tx, run)
            if record.state in ENDED:
                return record
            return lifecycle.end(tx, record, "stopped", f"stopped by {principal}", {}, usage, principal)

        return self._store.write(change)

    def renice(self, run: RunId, klass: RunClass, weight: float, principal: str) -> RunRecord:
        return self._store.write(lambda tx: lifecycle.nice(tx, run, klass, weight, principal))

    def why(self, run: RunId) -> Why:
        def waits(waiting: RunId) -> str:
            with self._scheduling:
                return self._scheduler.why(waiting)

        with self._store.read() as reader:
            return explain(reader, run, waits)

    def cpus(self) -> float:
        """Cores that Runs may hold together."""
        return self._cpus

    def held(self) -> tuple[float, int]:
        """(CPUs, bytes of memory) that Runs hold now."""
        with self._scheduling:
            return self._scheduler.held()

    def usage(self) -> dict[RunId, Usage]:
        """What living Runs have used so far."""
        return self._executor.usage()

    def check(self) -> None:
        """Assert the scheduler's invariants."""
        with self._scheduling:
            self._scheduler.check()

    def _recover(self) -> None:
        living = self._executor.living()
        with self._store.read() as reader:
            running = reader.list(RunRecord, where={"state": "running"}, order_by="id")
            queued = reader.list(RunRecord, where={"state": "queued"}, order_by="id")
        for record in running:
            if not record.entry:
                continue
            self._facts.append(Started(self._request(record)))
            if living.pop(record.id, None) != record.attempts:
                folder = folder_of(self._home, record.id)
                lost = Exit(record.id, record.attempts, reason="lost")
                self._exits.append(read_exit(folder, record.attempts) or lost)
        self._facts.extend(self._request(record) for record in queued)
        for run in living:
            self._executor.kill(run)

    def _request(self, record: RunRecord) -> Submitted:
        return Submitted(
            record.id,
            record.owner,
            record.klass,
            record.weight,
            record.cpus,
            record.memory_bytes,
            attempts=record.attempts,
            retries=record.retries,
            waited_s=max(0, self._clock.wall_ms() - record.queued_ms) / 1000,
        )

    def _hear(self, heard: Heard) -> None:
        facts: list[Fact] = []
        for kind, record in heard:
            if kind == "run.queued" and record.state == "queued":
                facts.append(self._request(record))
            elif kind == "run.stopped":
                facts.append(StopAsked(record.id))
            elif kind == "run.niced":
                facts.append(Reniced(record.id, record.klass, record.weight))
        if facts:
            with self._work:
                self._facts.extend(facts)
                self._work.notify_all()

    def _wake(self) -> None:
        with self._work:
            self._has_exits = True
            self._work.notify_all()

    def _drive(self) -> None:
        failures = 0
        while not self._is_stopping:
            try:
                self._turn()
                failures = 0
                with self._work:
                    self._work.wait_for(lambda: self._facts or self._has_exits or self._is_stopping)
            except Exception:  # the thread's outermost loop: what is due is kept, and tried again later
                logger.exception("orders could not be carried out; %d wait", len(self._due))
                pause_s = min(_BACKOFF_LIMIT_S, _BACKOFF_S * 2**failures)
                failures = min(failures + 1, 10)
                with self._work:
                    self._work.wait_for(lambda: self._is_stopping, pause_s)

    def _turn(self) -> None:
        self._feed(Tick(self._clock.monotonic_s()))
        while (fact := self._next_fact()) is not None:
            self._feed(fact)
        with self._work:
            self._has_exits = False
        self._exits.extend(self._executor.exits())
        while self._exits:
            self._take_exit(self._exits[0])
            self._exits.popleft()
        while self._due:
            committed = self._carrier.commit(self._due)
            due, self._due = self._due, []
            self._exits.extend(self._carrier.act(due, committed))
            for run in committed.void:
                self._feed(StopAsked(run))
                self._feed(Exited(run, "lost"))
        if self._exits:
            self._wake()

    def _next_fact(self) -> Fact | None:
        with self._work:
            return self._facts.popleft() if self._facts else None

    def _take_exit(self, exit_: Exit) -> None:
        """Read what the attempt left, before anything is fed: a read that fails leaves everything as it
        was."""
        with self._store.read() as reader:
            record = reader.get(RunRecord, exit_.run)
        if record is None or record.attempts != exit_.attempt:
            return
        result = read_result(folder_of(self._home, exit_.run), exit_.attempt)
        finding = judge(record, exit_, result, self._settings.run_processes)
        with self._scheduling:
            orders = self._scheduler.feed(Exited(exit_.run, finding.outcome))
        for order in orders:
            ends = isinstance(order, End | Requeue) and order.run == exit_.run
            self._due.append(Due(order, finding if ends else None))

    def _feed(self, fact: Fact) -> None:
        with self._scheduling:
            orders = self._scheduler.feed(fact)
        self._due.extend(Due(order) for order in orders)


def _put_back(tx: Transaction) -> None:
    """Runs that were killed because the kernel stops wait again, as if this attempt had never begun."""
    for record in tx.list(RunRecord, where={"state": "running"}):
        if record.entry:
            again = msgspec.structs.replace(record, attempts=record.attempts - 1)
            lifecycle.requeue(tx, again, "run.lost", "the kernel was stopped")
