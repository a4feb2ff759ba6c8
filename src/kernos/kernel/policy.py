"""Who is next: the higher class, in it the owner who held least for its weight, of that owner the one who
came first.

Nothing starves: a Run that waited `PATIENCE_S` may climb to the front, oldest first, and every `AGED_EVERY`th
start goes to such a one. Climbing is limited by starts, not by time, so that a long batch backlog does not
turn the classes upside down.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from kernos.base.ids import RunId
from kernos.catalog.records import RunClass

CLASSES: tuple[RunClass, ...] = ("realtime", "interactive", "batch", "idle")
PATIENCE_S = 60.0
AGED_EVERY = 4
START_COST_S = 1.0
"""A start is charged this much CPU time at once, so that owners of short Runs take turns."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a Run holds while it lives. Thousandths of a CPU, so that sums are exact."""

    millicpus: int
    memory_bytes: int


@dataclass(slots=True)
class Waiting:
    run: RunId
    owner: str
    klass: RunClass
    weight: float
    shape: Shape
    since_s: float
    attempts: int
    retries: int
    blocked_s: float | None = None
    """When it first was next and did not fit."""

    @property
    def rate(self) -> float:
        """CPUs it will hold per unit of weight."""
        return self.shape.millicpus / 1000 / self.weight


@dataclass(slots=True)
class _Account:
    held_s: float
    rate: float = 0.0
    at_s: float = 0.0


class Shares:
    """CPU seconds held per unit of weight, by owner. A share only grows.

    An owner who comes back starts level with whoever was served last (start-time fair queueing, Goyal 1996):
    nobody saves up an absence, nobody pays for yesterday's use of an idle machine.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._level = 0.0

    def enter(self, owner: str, now_s: float) -> None:
        """The owner has something to run, and had nothing before."""
        account = self._settle(owner, now_s)
        if account.rate == 0:
            account.held_s = max(account.held_s, self._level)

    def start(self, owner: str, rate: float, now_s: float) -> None:
        account = self._settle(owner, now_s)
        self._level = max(self._level, account.held_s)
        account.held_s += rate * START_COST_S
        account.rate += rate

    def end(self, owner: str, rate: float, now_s: float) -> None:
        account = self._settle(owner, now_s)
        account.rate = max(0.0, account.rate - rate)
        if account.rate < 1e-9:
            account.rate = 0.0

    def move(self, owner: str, old: float, new: float, now_s: float) -> None:
        """A living Run's weight changed."""
        account = self._settle(owner, now_s)
        account.rate += new - old

    def of(self, owner: str, now_s: float) -> float:
        return self._settle(owner, now_s).held_s

    def check(self, rates: Mapping[str, float]) -> None:
        """Every owner is charged for what is held at `rates`, and for nothing else."""
        for owner, account in self._accounts.items():
            assert abs(account.rate - rates.get(owner, 0.0)) < 1e-6, (
                f"{owner} is charged for what is not held"
            )
        assert set(rates) <= set(self._accounts), "somebody holds and is not charged"

    def _settle(self, owner: str, now_s: float) -> _Account:
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = _Account(self._level, at_s=now_s)
        account.held_s += account.rate * max(0.0, now_s - account.at_s)
        account.at_s = now_s
        return account


@dataclass(slots=True)
class _Lane:
    """The waiting Runs of one class and one shape: where the first does not fit, none does."""

    owners: dict[str, OrderedDict[RunId, Waiting]] = field(default_factory=dict)
    heap: list[tuple[float, float, str]] = field(default_factory=list)
    """(share, since, owner): one entry an owner. Shares only grow, so an old entry sorts early and is
    corrected at the top."""
    size: int = 0

    def add(self, waiting: Waiting, share: float) -> None:
        queue = self.owners.get(waiting.owner)
        if queue is None:
            queue = self.owners[waiting.owner] = OrderedDict()
            heapq.heappush(self.heap, (share, waiting.since_s, waiting.owner))
        queue[waiting.run] = waiting
        self.size += 1

    def remove(self, waiting: Waiting) -> None:
        del self.owners[waiting.owner][waiting.run]
        self.size -= 1

    def first(self, shares: Shares, now_s: float) -> tuple[float, float, Waiting] | None:
        while self.heap:
            share, _, owner = self.heap[0]
            queue = self.owners[owner]
            if not queue:
                heapq.heappop(self.heap)
                del self.owners[owner]
                continue
            waiting = next(iter(queue.values()))
            actual = shares.of(owner, now_s)
            if actual > share:
                heapq.heapreplace(self.heap, (actual, waiting.since_s, owner))
                continue
            return actual, waiting.since_s, waiting
        return None


class Queue:
    """The waiting Runs. Finding the next one costs the number of different shapes, not of Runs."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._waiting: dict[RunId, Waiting] = {}
        self._lanes: dict[RunClass, dict[Shape, _Lane]] = {klass: {} for klass in CLASSES}
        self._count: dict[str, int] = {}
        self._ages: list[tuple[float, RunId]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, run: RunId) -> bool:
        return run in self._waiting

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    def get(self, run: RunId) -> Waiting | None:
        return self._waiting.get(run)

    def add(self, waiting: Waiting, now_s: float) -> None:
        owner = waiting.owner
        if not self._count.get(owner):
            self._shares.enter(owner, now_s)
        self._count[owner] = self._count.get(owner, 0) + 1
        self._waiting[waiting.run] = waiting
        lane = self._lanes[waiting.klass].setdefault(waiting.shape, _Lane())
        lane.add(waiting, self._shares.of(owner, now_s))
        heapq.heappush(self._ages, (waiting.since_s, waiting.run))

    def remove(self, run: RunId) -> Waiting:
        waiting = self._waiting.pop(run)
        self._count[waiting.owner] -= 1
        if not self._count[waiting.owner]:
            del self._count[waiting.owner]
        lanes = self._lanes[waiting.klass]
        lane = lanes[waiting.shape]
        lane.remove(waiting)
        if not lane.size:
            del lanes[waiting.shape]
        return waiting

    def first(self, fits: Callable[[Shape], bool], now_s: float) -> Waiting | None:
        """The next Run by class, share and age among those that fit."""
        for lanes in self._lanes.values():
            found = [lane.first(self._shares, now_s) for shape, lane in lanes.items() if fits(shape)]
            best = min((entry for entry in found if entry), key=lambda entry: entry[:2], default=None)
            if best is not None:
                return best[2]
        return None

    def oldest(self) -> Waiting | None:
        while self._ages:
            since_s, run = self._ages[0]
            waiting = self._waiting.get(run)
            if waiting is not None and waiting.since_s == since_s:
                return waiting
            heapq.heappop(self._ages)
        return None

    def ahead(self, waiting: Waiting) -> int:
        """How many of its class came earlier."""
        return sum(
            other.klass == waiting.klass and (other.since_s, other.run) < (waiting.since_s, waiting.run)
            for other in self
        )

    def check(self) -> None:
        """Every waiting Run stands in exactly one lane, and its owner can be found there."""
        seen: list[RunId] = []
        for klass, lanes in self._lanes.items():
            for shape, lane in lanes.items():
                assert {entry[2] for entry in lane.heap} == set(lane.owners), "an owner is missing in a lane"
                assert len(lane.heap) == len(lane.owners), "an owner stands twice in a lane"
                for owner, queue in lane.owners.items():
                    for run, waiting in queue.items():
                        assert (waiting.klass, waiting.shape, waiting.owner) == (klass, shape, owner)
                        seen.append(run)
        assert sorted(seen) == sorted(self._waiting), "lanes and waiting Runs differ"
        assert sum(self._count.values()) == len(self._waiting)
