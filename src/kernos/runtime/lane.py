"""The queue of one loaded revision, and who runs it. Every job that was taken is delivered exactly once.

Cheap models run on the event loop, at the end of the turn that read the requests; others in one thread, which
takes what is queued when it is free. The two never run at once: the loop waits until the thread has
delivered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np

from kernos.base.clock import Clock
from kernos.runtime.batcher import Batcher
from kernos.runtime.counters import Counters
from kernos.runtime.engine import NUMPY_TYPES
from kernos.runtime.exchange import Request
from kernos.runtime.oip import Codec, Decoded
from kernos.runtime.signature import Signature

QUEUE_ROWS = 8192
"""Rows that may wait; more meet 429. At 1,000 rows/s, slow for a table model, the last of them waits 8 s."""
_JOIN_S = 30.0
_WARM_RUNS = 4


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory. `run` is called by one thread at a time."""

    app: str
    version: int
    digest: str
    """The package's."""
    signature: Signature
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
    close: Callable[[], None]


class Job:
    """One infer request on its way through a lane."""

    __slots__ = ("canary", "decoded", "is_routed", "request")

    def __init__(
        self, request: Request, decoded: Decoded, *, is_routed: bool, canary: Lane | None = None
    ) -> None:
        self.request = request
        self.decoded = decoded
        self.is_routed = is_routed
        """The plane chose the version; the caller did not."""
        self.canary = canary
        """The lane that failed on it, where this one is its rescue."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the engine: `outputs` in the signature's order, or the `error`."""

    jobs: list[Job]
    inputs: Decoded
    outputs: list[np.ndarray] | None
    error: str
    cost_s: float
    cpu_s: float


class Lane:
    """Lives on the event loop; only `_EngineThread` leaves it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        loaded: Loaded,
        batcher: Batcher,
        clock: Clock,
        deliver: Callable[[Lane, Ran], None],
    ) -> None:
        self.loop = loop
        self.loaded = loaded
        self.batcher = batcher
        self.clock = clock
        self.codec = Codec(loaded.app, loaded.version, loaded.signature)
        self.counters = Counters(loaded.app, loaded.version)
        self.queued_rows = 0
        """Taken and not delivered."""
        self._deliver = deliver
        self._queue: deque[Job] = deque()
        self._is_due = False
        self._thread: _EngineThread | None = None
        self._in_thread = 0
        self._is_threaded = not batcher.is_inline
        self._is_retired = False

    def has_room(self, rows: int) -> bool:
        """A request alone always has: its size is bounded by its body."""
        return self.queued_rows == 0 or self.queued_rows + rows <= QUEUE_ROWS

    def submit(self, job: Job) -> None:
        self.queued_rows += job.decoded.rows
        if self._is_threaded:
            self._hand_over([job])
            return
        self._queue.append(job)
        if not self._is_due:
            self._is_due = True
            self.loop.call_soon(self._turn)

    def retire(self) -> None:
        """No more jobs come: close the engine when the last is delivered."""
        self._is_retired = True
        self._close_if_done()

    def delivered(self, jobs: list[Job], runs: list[Ran]) -> None:
        """The thread's runs of a batch have come back."""
        self._in_thread -= len(jobs)
        self._settle(jobs, runs)
        if not self._in_thread:
            self._call_again()

    @property
    def limit_rows(self) -> int:
        return self.batcher.limit_rows if self.codec.is_batchable else 1

    def _turn(self) -> None:
        self._is_due = False
        if self._is_threaded:
            self._hand_over(self._queue)
            self._queue.clear()
        elif not self._in_thread:
            jobs = _take(self._queue, self.limit_rows)
            if self.batcher.suits_loop(sum([job.decoded.rows for job in jobs])):
                self._settle(jobs, run_batch(self, jobs))
            else:
                self._hand_over(jobs)
            self._call_again()

    def _call_again(self) -> None:
        if self._queue and not self._is_due:
            self._is_due = True
            self.loop.call_soon(self._turn)

    def _hand_over(self, jobs: Iterable[Job]) -> None:
        if self._thread is None:
            self._thread = _EngineThread(self)
        for job in jobs:
            self._in_thread += 1
            self._thread.jobs.put(job)

    def _settle(self, jobs: list[Job], runs: list[Ran]) -> None:
        for ran in runs:
            self.batcher.measured(ran.inputs.rows, ran.cost_s)
            self._deliver(self, ran)
        self._is_threaded = not self.batcher.is_inline
        self.queued_rows -= sum([job.decoded.rows for job in jobs])
        if self._is_retired:
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.queued_rows:
            return
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        self.loaded.close()


def run_batch(lane: Lane, jobs: list[Job]) -> list[Ran]:
    """Run the jobs together; where that fails, each alone, so that one bad request fails alone."""
    living = [job for job in jobs if not job.request.gone]
    if not living:
        return []
    inputs = lane.codec.join([job.decoded for job in living])
    outputs, error = None, ""
    start_s, start_cpu_s = lane.clock.monotonic_s(), time.thread_time()
    try:
        outputs = lane.codec.outputs(lane.loaded.run(lane.codec.arrays(inputs)), inputs.rows)
    except Exception as problem:  # whatever a model does, its requests are answered
        if len(living) > 1:
            return [ran for job in living for ran in run_batch(lane, [job])]
        error = f"{type(problem).__name__}: {problem}"
    cpu_s = time.thread_time() - start_cpu_s
    return [Ran(living, inputs, outputs, error, lane.clock.monotonic_s() - start_s, cpu_s)]


def warmed(loaded: Loaded, clock: Clock) -> Batcher:
    """A batcher that knows what one row costs. The first run allocates and does not count; a model that
    refuses zeros is measured by its first requests instead."""
    batcher = Batcher()
    inputs = {
        spec.name: _zeros(spec.datatype, [max(size, 1) for size in spec.shape])
        for spec in loaded.signature.inputs
    }
    for k in range(_WARM_RUNS):
        start_s = clock.monotonic_s()
        try:
            loaded.run(inputs)
        except Exception:  # as in run_batch: the model's own
            return batcher
        if k:
            batcher.measured(1, clock.monotonic_s() - start_s)
    return batcher


def _zeros(datatype: str, shape: list[int]) -> np.ndarray:
    return np.full(shape, "" if datatype == "BYTES" else 0, dtype=NUMPY_TYPES[datatype])


def _take(queue: deque[Job], limit_rows: int) -> list[Job]:
    jobs = [queue.popleft()]
    rows = jobs[0].decoded.rows
    while queue and (rows := rows + queue[0].decoded.rows) <= limit_rows:
        jobs.append(queue.popleft())
    return jobs


class _EngineThread:
    """Runs a lane's batches until told to stop: one hand-off a batch, and on to the next at once."""

    def __init__(self, lane: Lane) -> None:
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lane = lane
        self._thread = threading.Thread(
            target=self._work, name=f"engine-{lane.loaded.app}-{lane.loaded.version}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self.jobs.put(None)
        self._thread.join(_JOIN_S)

    def _work(self) -> None:
        lane = self._lane
        first = self.jobs.get()
        while first is not None:
            jobs, carried = self._gather(first)
            runs = run_batch(lane, jobs)
            try:
                lane.loop.call_soon_threadsafe(lane.delivered, jobs, runs)
            except RuntimeError:
                return  # the loop is closed: the process ends
            first = carried or self.jobs.get()

    def _gather(self, first: Job) -> tuple[list[Job], Job | None]:
        """What is queued, up to the limit; and the job that no longer fitted."""
        jobs, rows, limit_rows = [first], first.decoded.rows, self._lane.limit_rows
        while rows < limit_rows:
            try:
                job = self.jobs.get_nowait()
            except Empty:
                break
            if job is None:
                self.jobs.put(None)
                break
            if (rows := rows + job.decoded.rows) > limit_rows:
                return jobs, job
            jobs.append(job)
        return jobs, None
