"""Follows the journal: whoever commits something about a Run, through whatever transaction, is heard."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from kernos.base.clock import Clock
from kernos.base.errors import KernosError
from kernos.base.ids import RunId
from kernos.catalog.records import ENDED, EventRecord, RunRecord
from kernos.catalog.store import SqlStore
from kernos.kernel.lifecycle import find

_TURN_S = 0.1
"""How late a stop is noticed."""
_PAGE = 1000

logger = logging.getLogger(__name__)

Heard = Sequence[tuple[str, RunRecord]]
"""(kind of the Event, the Run as it is by now)."""


class Follower:
    """One thread. `hear` gets what is new about Runs; a failing read is tried again."""

    def __init__(self, store: SqlStore, clock: Clock, hear: Callable[[Heard], None]) -> None:
        self._store = store
        self._clock = clock
        self._hear = hear
        self._lock = threading.Lock()
        self._waiting: dict[RunId, list[threading.Event]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, after: int) -> None:
        """Hear of every Event with a `seq` above `after`."""
        self._thread = threading.Thread(target=self._follow, args=(after,), name="kernos-journal")
        self._thread.start()

    def stop(self) -> None:
        """Those who wait are let go."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for events in self._waiting.values():
                for event in events:
                    event.set()

    def wait(self, run: RunId, timeout_s: float) -> RunRecord:
        """The Run once it has ended, or as it is when the time is up or the kernel stops."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        ended = threading.Event()
        with self._lock:
            self._waiting.setdefault(run, []).append(ended)
        try:
            record = self._read(run)
            if record.state not in ENDED and not self._stopping.is_set():
                ended.wait(max(0.0, deadline_s - self._clock.monotonic_s()))
                record = self._read(run)
            return record
        finally:
            with self._lock:
                self._waiting[run].remove(ended)
                if not self._waiting[run]:
                    del self._waiting[run]

    def _read(self, run: RunId) -> RunRecord:
        with self._store.read() as reader:
            return find(reader, run)

    def _follow(self, after: int) -> None:
        while not self._stopping.is_set():
            try:
                if self._store.wait(after, _TURN_S) > after:
                    after = self._turn(after)
            except KernosError:
                logger.warning("the journal cannot be read", exc_info=True)
                self._stopping.wait(_TURN_S)

    def _turn(self, after: int) -> int:
        with self._store.read() as reader:
            events = reader.events(after, _PAGE)
            about = [event for event in events if event.subject.startswith("run:")]
            ids = {_run_of(event) for event in about}
            records = {record.id: record for record in reader.list(RunRecord, where={"id": sorted(ids)})}
        self._hear([(event.kind, records[_run_of(event)]) for event in about])
        with self._lock:
            for record in records.values():
                if record.state in ENDED:
                    for waiter in self._waiting.get(record.id, []):
                        waiter.set()
        return events[-1].seq if events else after


def _run_of(event: EventRecord) -> RunId:
    return RunId(int(event.subject.removeprefix("run:")))
