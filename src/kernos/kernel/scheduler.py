"""Which Run starts, ends or is killed: facts in, orders out, time is a fact. Never more is held than there
is.

A Run with `cpus=0` waits for others and holds nothing: it always starts, else its children could never end. A
Run too big for what is free is overtaken by smaller ones for `HOLD_S`; then nothing overtakes it any more
until it fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from kernos.base.ids import RunId
from kernos.base.units import show_bytes
from kernos.catalog.records import RunClass
from kernos.kernel.policy import AGED_EVERY, PATIENCE_S, Queue, Shape, Shares, Waiting

HOLD_S = 30.0
"""How long smaller Runs may overtake one that is next but does not fit."""
_STORY = 20
_NAMED = 3

Outcome = Literal["done", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class Tick:
    now_s: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Capacity:
    cpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """Somebody wants this Run. Told twice, it counts once."""

    run: RunId
    owner: str
    klass: RunClass
    weight: float
    cpus: float
    memory_bytes: int
    attempts: int = 0
    """Starts it had so far."""
    retries: int = 0
    """Failed attempts that are started again."""
    waited_s: float = 0.0
    """How long it waited before this fact."""


@dataclass(frozen=True, slots=True)
class Started:
    """This Run was found running (after a restart of the kernel): it holds what it asked for, fitting or
    not."""

    request: Submitted


@dataclass(frozen=True, slots=True)
class Exited:
    run: RunId
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class StopAsked:
    run: RunId


@dataclass(frozen=True, slots=True)
class Reniced:
    run: RunId
    klass: RunClass
    weight: float


Fact = Tick | Capacity | Submitted | Started | Exited | StopAsked | Reniced


@dataclass(frozen=True, slots=True)
class Start:
    run: RunId
    attempt: int


@dataclass(frozen=True, slots=True)
class Kill:
    run: RunId


@dataclass(frozen=True, slots=True)
class End:
    """The Run is over. `reason` is the scheduler's own, empty where the Run's exit says more."""

    run: RunId
    state: Literal["done", "failed"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Requeue:
    """The attempt is over, the Run waits for another."""

    run: RunId
    reason: str


Order = Start | Kill | End | Requeue


@dataclass(slots=True)
class _Holding:
    asked: Waiting
    is_stopping: bool = False


class Scheduler:
    """Pure. `lost_retries`: how often a Run lost through no fault of its own starts again."""

    def __init__(self, cpus: float, memory_bytes: int, *, lost_retries: int) -> None:
        self._lost_retries = lost_retries
        self._now_s = 0.0
        self._total = Shape(_millis(cpus), memory_bytes)
        self._free = self._total
        self._shares = Shares()
        self._queue = Queue(self._shares)
        self._holding: dict[RunId, _Holding] = {}
        self._since_aged = 0
        self._story: deque[Fact] = deque(maxlen=_STORY)

    def feed(self, fact: Fact) -> list[Order]:
        self._story.append(fact)
        match fact:
            case Tick():
                self._now_s = max(self._now_s, fact.now_s)
                return []
            case Capacity():
                orders = self._resize(fact)
            case Submitted():
                orders = self._submit(fact)
            case Started():
                orders = self._adopt(fact.request)
            case Exited():
                orders = self._exit(fact)
            case StopAsked():
                orders = self._stop(fact.run)
            case Reniced():
                orders = self._renice(fact)
            case _:
                assert_never(fact)
        return orders + self._start_what_fits()

    def held(self) -> tuple[float, int]:
        """(CPUs, bytes of memory) that Runs hold now."""
        return (
            (self._total.millicpus - self._free.millicpus) / 1000,
            self._total.memory_bytes - self._free.memory_bytes,
        )

    def waiting(self) -> int:
        return len(self._queue)

    def why(self, run: RunId) -> str:
        """Why this Run waits, in words; empty where it does not wait."""
        waiting = self._queue.get(run)
        if waiting is None:
            return ""
        short = self._shortage(waiting.shape)
        ahead = self._queue.ahead(waiting)
        place = f"{ahead} ahead in class {waiting.klass}" if ahead else f"first in class {waiting.klass}"
        if short:
            return f"waits for {short}; {place}"
        head = self._head()
        if head is None or head.run == run:
            return place
        return f"lets run {head.run} go first, which waits for {self._shortage(head.shape)}; {place}"

    def check(self) -> None:
        """Assert every invariant; an AssertionError carries the last facts that led here."""
        try:
            self._check()
        except AssertionError as error:
            story = "\n".join(map(str, self._story))
            raise AssertionError(f"{error}\nThe last facts:\n{story}") from error

    def _submit(self, fact: Submitted) -> list[Order]:
        if fact.run in self._queue or fact.run in self._holding:
            return []
        waiting = self._waiting(fact)
        refusal = self._refusal(waiting.shape)
        if refusal:
            return [End(fact.run, "failed", refusal)]
        if waiting.shape.millicpus == 0:
            return [self._start(waiting)]
        self._queue.add(waiting, self._now_s)
        return []

    def _adopt(self, request: Submitted) -> list[Order]:
        if request.run in self._queue:
            self._queue.remove(request.run)
        if request.run not in self._holding:
            self._hold(self._waiting(request))
        return []

    def _exit(self, fact: Exited) -> list[Order]:
        holding = self._holding.pop(fact.run, None)
        if holding is None:
            return []
        asked = holding.asked
        self._free = _plus(self._free, asked.shape)
        self._shares.end(asked.owner, asked.rate, self._now_s)
        if holding.is_stopping:
            return []
        if fact.outcome == "done":
            return [End(fact.run, "done")]
        allowed = 1 + asked.retries + (self._lost_retries if fact.outcome == "lost" else 0)
        if asked.attempts >= allowed:
            return [End(fact.run, "failed")]
        refusal = self._refusal(asked.shape)
        if refusal:
            return [End(fact.run, "failed", refusal)]
        again = replace(asked, since_s=self._now_s, blocked_s=None)
        requeue = Requeue(fact.run, f"attempt {asked.attempts} of {allowed} {_PAST[fact.outcome]}")
        if again.shape.millicpus == 0:
            return [requeue, self._start(again)]
        self._queue.add(again, self._now_s)
        return [requeue]

    def _stop(self, run: RunId) -> list[Order]:
        if run in self._queue:
            self._queue.remove(run)
        holding = self._holding.get(run)
        if holding is None or holding.is_stopping:
            return []
        holding.is_stopping = True
        return [Kill(run)]

    def _renice(self, fact: Reniced) -> list[Order]:
        if fact.run in self._queue:
            asked = self._queue.remove(fact.run)
            self._queue.add(replace(asked, klass=fact.klass, weight=fact.weight), self._now_s)
        holding = self._holding.get(fact.run)
        if holding is not None:
            asked = holding.asked
            holding.asked = replace(asked, klass=fact.klass, weight=fact.weight)
            self._shares.move(asked.owner, asked.rate, holding.asked.rate, self._now_s)
        return []

    def _resize(self, fact: Capacity) -> list[Order]:
        total = Shape(_millis(fact.cpus), fact.memory_bytes)
        self._free = _plus(self._free, _minus(total, self._total))
        self._total = total
        refused = [(waiting.run, self._refusal(waiting.shape)) for waiting in self._queue]
        orders: list[Order] = []
        for run, refusal in refused:
            if refusal:
                self._queue.remove(run)
                orders.append(End(run, "failed", refusal))
        return orders

    def _start_what_fits(self) -> list[Order]:
        orders: list[Order] = []
        while (head := self._head()) is not None:
            if self._fits(head.shape):
                orders.append(self._take(head, head))
                continue
            if head.blocked_s is None:
                head.blocked_s = self._now_s
            if self._now_s - head.blocked_s >= HOLD_S:
                break
            filler = self._queue.first(self._fits, self._now_s)
            if filler is None:
                break
            orders.append(self._take(filler, head))
        return orders

    def _head(self) -> Waiting | None:
        """Who is next, fitting or not."""
        return self._aged() or self._queue.first(_any, self._now_s)

    def _aged(self) -> Waiting | None:
        oldest = self._queue.oldest() if self._since_aged >= AGED_EVERY - 1 else None
        return oldest if oldest is not None and self._now_s - oldest.since_s >= PATIENCE_S else None

    def _take(self, waiting: Waiting, head: Waiting) -> Start:
        self._since_aged = 0 if waiting is head and waiting is self._aged() else self._since_aged + 1
        return self._start(self._queue.remove(waiting.run))

    def _start(self, waiting: Waiting) -> Start:
        started = replace(waiting, attempts=waiting.attempts + 1)
        self._hold(started)
        return Start(waiting.run, started.attempts)

    def _hold(self, asked: Waiting) -> None:
        self._holding[asked.run] = _Holding(asked)
        self._free = _minus(self._free, asked.shape)
        self._shares.start(asked.owner, asked.rate, self._now_s)

    def _waiting(self, fact: Submitted) -> Waiting:
        millicpus = _millis(fact.cpus)
        return Waiting(
            run=fact.run,
            owner=fact.owner,
            klass=fact.klass,
            weight=fact.weight,
            shape=Shape(millicpus, fact.memory_bytes if millicpus else 0),
            since_s=self._now_s - fact.waited_s,
            attempts=fact.attempts,
            retries=fact.retries,
        )

    def _fits(self, shape: Shape) -> bool:
        return shape.millicpus <= self._free.millicpus and shape.memory_bytes <= self._free.memory_bytes

    def _refusal(self, shape: Shape) -> str:
        if shape.millicpus > self._total.millicpus:
            asked_cpus, cpus = shape.millicpus / 1000, self._total.millicpus / 1000
            return f"asks for {asked_cpus} cpus, this machine has {cpus} for Runs"
        if shape.memory_bytes > self._total.memory_bytes:
            asked, total = show_bytes(shape.memory_bytes), show_bytes(self._total.memory_bytes)
            return f"asks for {asked} of memory, this machine has {total} for Runs"
        return ""

    def _shortage(self, shape: Shape) -> str:
        cpus, memory = self.held()
        if shape.millicpus > self._free.millicpus:
            names, verb = self._holders(lambda holding: holding.asked.shape.millicpus)
            return f"{shape.millicpus / 1000} cpu: {names} {verb} {cpus} of {self._total.millicpus / 1000}"
        if shape.memory_bytes > self._free.memory_bytes:
            names, verb = self._holders(lambda holding: holding.asked.shape.memory_bytes)
            held = f"{show_bytes(memory)} of {show_bytes(self._total.memory_bytes)}"
            return f"{show_bytes(shape.memory_bytes)} of memory: {names} {verb} {held}"
        return ""

    def _holders(self, amount: Callable[[_Holding], int]) -> tuple[str, str]:
        """The Runs that hold most of it, and the verb that fits their number."""
        holding = {run: amount(entry) for run, entry in self._holding.items() if amount(entry) > 0}
        runs = sorted(holding, key=lambda run: (-holding[run], run))
        if not runs:
            return "nobody", "holds"
        named = [str(run) for run in runs[:_NAMED]]
        if len(runs) > _NAMED:
            named.append(f"{len(runs) - _NAMED} more")
        if len(named) == 1:
            return f"run {named[0]}", "holds"
        return f"run {', '.join(named[:-1])} and {named[-1]}", "hold"

    def _check(self) -> None:
        self._queue.check()
        shapes = [entry.asked.shape for entry in self._holding.values()]
        millicpus, memory = (
            sum(shape.millicpus for shape in shapes),
            sum(shape.memory_bytes for shape in shapes),
        )
        assert self._total == _plus(self._free, Shape(millicpus, memory)), (
            "what is held and free is not what there is"
        )
        rates: dict[str, float] = {}
        for entry in self._holding.values():
            rates[entry.asked.owner] = rates.get(entry.asked.owner, 0.0) + entry.asked.rate
        self._shares.check(rates)
        assert not any(run in self._queue for run in self._holding), "a Run waits and holds"
        for waiting in self._queue:
            assert waiting.shape.millicpus > 0, f"run {waiting.run} waits, yet holds nothing"
            assert not self._refusal(waiting.shape), f"run {waiting.run} waits for more than there is"
        head = self._head()
        if head is not None:
            assert not self._fits(head.shape), f"run {head.run} is next and fits, yet waits"
            held_back = head.blocked_s is not None and self._now_s - head.blocked_s >= HOLD_S
            assert held_back or self._queue.first(self._fits, self._now_s) is None, (
                "a Run that fits waits for no reason"
            )


_PAST: dict[Outcome, str] = {"done": "was done", "failed": "failed", "lost": "was lost"}


def _any(shape: Shape) -> bool:
    return True


def _millis(cpus: float) -> int:
    return round(cpus * 1000)


def _plus(a: Shape, b: Shape) -> Shape:
    return Shape(a.millicpus + b.millicpus, a.memory_bytes + b.memory_bytes)


def _minus(a: Shape, b: Shape) -> Shape:
    return Shape(a.millicpus - b.millicpus, a.memory_bytes - b.memory_bytes)
