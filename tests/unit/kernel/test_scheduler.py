"""The scheduler: facts in, orders out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernos.base.ids import RunId
from kernos.kernel.policy import AGED_EVERY, CLASSES, PATIENCE_S, Shape
from kernos.kernel.scheduler import (
    HOLD_S,
    Capacity,
    End,
    Exited,
    Kill,
    Order,
    Reniced,
    Requeue,
    Scheduler,
    Start,
    Started,
    StopAsked,
    Submitted,
    Tick,
)

GIB = 2**30


def scheduler(cpus: float = 2.0, memory_bytes: int = 8 * GIB, *, lost_retries: int = 1) -> Scheduler:
    return Scheduler(cpus, memory_bytes, lost_retries=lost_retries)


def ask(run: int, **more: Any) -> Submitted:
    fields: dict[str, Any] = {
        "owner": "ann",
        "klass": "batch",
        "weight": 1.0,
        "cpus": 1.0,
        "memory_bytes": GIB,
    }
    return Submitted(RunId(run), **(fields | more))


def started(orders: list[Order]) -> list[int]:
    return [order.run for order in orders if isinstance(order, Start)]


def test_what_fits_starts_and_the_rest_waits() -> None:
    core = scheduler()

    orders = [core.feed(ask(run)) for run in (1, 2, 3)]

    assert orders == [[Start(RunId(1), 1)], [Start(RunId(2), 1)], []]
    assert core.held() == (2.0, 2 * GIB)
    core.check()


def test_an_end_makes_room_for_the_next() -> None:
    core = scheduler()
    for run in (1, 2, 3):
        core.feed(ask(run))

    orders = core.feed(Exited(RunId(1), "done"))

    assert orders == [End(RunId(1), "done"), Start(RunId(3), 1)]


def test_a_run_told_of_twice_starts_once() -> None:
    core = scheduler()
    core.feed(ask(1))

    assert core.feed(ask(1)) == []


def test_higher_classes_go_first() -> None:
    core = scheduler(cpus=1.0)
    core.feed(ask(1))
    for run, klass in enumerate(reversed(CLASSES), start=2):
        core.feed(ask(run, klass=klass))

    order = []
    current = 1
    for _ in CLASSES:
        (current,) = started(core.feed(Exited(RunId(current), "done")))
        order.append(current)

    assert order == [5, 4, 3, 2]


def test_owners_take_turns_inside_a_class() -> None:
    core = scheduler(cpus=1.0)
    for run in range(1, 6):
        core.feed(ask(run, owner="ann"))
    for run in range(6, 9):
        core.feed(ask(run, owner="bob"))

    order = [1]
    for _ in range(7):
        order += started(core.feed(Exited(RunId(order[-1]), "done")))

    assert ["bob" if run > 5 else "ann" for run in order] == [
        "ann",
        "bob",
        "ann",
        "bob",
        "ann",
        "bob",
        "ann",
        "ann",
    ]


def test_held_time_follows_weights() -> None:
    core = scheduler(cpus=1.0)
    held = {"ann": 0, "bob": 0}
    owners: dict[int, str] = {}
    for run in range(1, 201):
        owners[run] = "ann" if run % 2 else "bob"
        core.feed(ask(run, owner=owners[run], weight=3.0 if run % 2 else 1.0))

    current = 1
    for turn in range(80):
        core.feed(Tick((turn + 1) * 10.0))
        held[owners[current]] += 10
        (current,) = started(core.feed(Exited(RunId(current), "done")))

    assert held["ann"] == pytest.approx(3 * held["bob"], rel=0.1)


def test_an_owner_who_comes_back_saved_up_nothing() -> None:
    core = scheduler(cpus=1.0)
    for run in range(1, 12):
        core.feed(ask(run, owner="ann"))
    current = 1
    for turn in range(5):
        core.feed(Tick((turn + 1) * 100.0))
        (current,) = started(core.feed(Exited(RunId(current), "done")))
    for run in range(20, 30):
        core.feed(ask(run, owner="bob"))

    owners = []
    for turn in range(6):
        core.feed(Tick(600.0 + turn * 100.0))
        (current,) = started(core.feed(Exited(RunId(current), "done")))
        owners.append("bob" if current >= 20 else "ann")

    assert "ann" in owners


def test_a_run_that_waited_long_gets_every_fourth_start() -> None:
    core = scheduler(cpus=1.0)
    core.feed(ask(1, klass="realtime"))
    core.feed(ask(2, klass="idle"))
    core.feed(Tick(PATIENCE_S + 1))

    current, starts = 1, 0
    while current != 2:
        core.feed(ask(100 + starts, klass="realtime"))
        (current,) = started(core.feed(Exited(RunId(current), "done")))
        starts += 1

    assert starts <= AGED_EVERY


def test_a_batch_backlog_does_not_stand_before_realtime() -> None:
    core = scheduler(cpus=1.0)
    for run in range(1, 50):
        core.feed(ask(run))
    core.feed(Tick(100 * PATIENCE_S))
    core.feed(ask(100, klass="realtime"))

    current, starts = 1, 0
    while current != 100:
        (current,) = started(core.feed(Exited(RunId(current), "done")))
        starts += 1

    assert starts <= 2


def test_small_runs_overtake_a_big_one_only_for_a_while() -> None:
    core = scheduler(cpus=2.0)
    core.feed(ask(1))
    core.feed(ask(2, cpus=2.0))

    early = core.feed(ask(3))
    core.feed(Tick(HOLD_S))
    late = core.feed(ask(4)) + core.feed(Exited(RunId(3), "done")) + core.feed(Exited(RunId(1), "done"))

    assert started(early) == [3]
    assert started(late) == [2]


def test_too_big_a_run_is_refused_with_the_reason() -> None:
    core = scheduler()

    (cpus,) = core.feed(ask(1, cpus=8.0))
    (memory,) = core.feed(ask(2, memory_bytes=9 * GIB))

    assert cpus == End(RunId(1), "failed", "asks for 8.0 cpus, this machine has 2.0 for Runs")
    assert memory == End(RunId(2), "failed", "asks for 9.0 GiB of memory, this machine has 8.0 GiB for Runs")


def test_a_run_that_only_waits_always_starts() -> None:
    core = scheduler(cpus=1.0, memory_bytes=GIB)
    core.feed(ask(1))

    orders = [core.feed(ask(run, cpus=0.0, memory_bytes=64 * GIB)) for run in (2, 3)]

    assert orders == [[Start(RunId(2), 1)], [Start(RunId(3), 1)]]
    assert core.held() == (1.0, GIB)
    core.check()


def test_a_lost_run_starts_again_as_often_as_allowed() -> None:
    core = scheduler()
    core.feed(ask(1))

    first = core.feed(Exited(RunId(1), "lost"))
    second = core.feed(Exited(RunId(1), "lost"))

    assert first == [Requeue(RunId(1), "attempt 1 of 2 was lost"), Start(RunId(1), 2)]
    assert second == [End(RunId(1), "failed")]


@pytest.mark.parametrize("cpus", [0.0, 1.0])
def test_a_failed_run_starts_again_if_it_asked(cpus: float) -> None:
    core = scheduler()
    core.feed(ask(1, retries=1, cpus=cpus))

    first = core.feed(Exited(RunId(1), "failed"))
    second = core.feed(Exited(RunId(1), "failed"))

    assert first == [Requeue(RunId(1), "attempt 1 of 2 failed"), Start(RunId(1), 2)]
    assert second == [End(RunId(1), "failed")]


def test_stopping_a_waiting_run_forgets_it_and_a_running_one_is_killed() -> None:
    core = scheduler(cpus=1.0)
    core.feed(ask(1))
    core.feed(ask(2))

    waiting = core.feed(StopAsked(RunId(2)))
    running = core.feed(StopAsked(RunId(1)))
    again = core.feed(StopAsked(RunId(1)))
    gone = core.feed(Exited(RunId(1), "lost"))

    assert (waiting, running, again, gone) == ([], [Kill(RunId(1))], [], [])
    assert core.held() == (0.0, 0)


def test_an_adopted_run_holds_even_what_there_is_not() -> None:
    core = scheduler(cpus=1.0)
    core.feed(Started(ask(1, attempts=1)))
    core.feed(Started(ask(2, cpus=4.0, attempts=1)))

    core.check()
    assert core.held()[0] == 5.0
    assert core.feed(Exited(RunId(2), "lost")) == [
        End(RunId(2), "failed", "asks for 4.0 cpus, this machine has 1.0 for Runs")
    ]
    assert core.feed(Exited(RunId(1), "lost"))[0] == Requeue(RunId(1), "attempt 1 of 2 was lost")


def test_a_run_found_running_waits_no_more() -> None:
    core = scheduler(cpus=1.0)
    core.feed(ask(1))
    core.feed(ask(2))

    core.feed(Started(ask(2, attempts=1)))

    core.check()
    assert core.held()[0] == 2.0


def test_renice_changes_who_is_next_and_what_is_charged() -> None:
    core = scheduler(cpus=1.0)
    for run in (1, 2, 3):
        core.feed(ask(run))

    core.feed(Reniced(RunId(3), "interactive", 1.0))
    core.feed(Reniced(RunId(1), "batch", 4.0))

    assert started(core.feed(Exited(RunId(1), "done"))) == [3]
    core.check()


def test_less_capacity_refuses_what_fits_no_more_and_more_starts_what_waits() -> None:
    core = scheduler(cpus=2.0)
    core.feed(ask(1, cpus=2.0))
    core.feed(ask(2, cpus=2.0))

    less = core.feed(Capacity(1.0, 8 * GIB))
    core.feed(ask(3))
    more = core.feed(Capacity(3.0, 8 * GIB))

    assert less == [End(RunId(2), "failed", "asks for 2.0 cpus, this machine has 1.0 for Runs")]
    assert started(more) == [3]
    core.check()


def test_every_waiting_run_has_a_reason_in_words() -> None:
    core = scheduler(cpus=2.0, memory_bytes=4 * GIB)
    core.feed(ask(12))
    core.feed(ask(13, memory_bytes=3 * GIB))
    core.feed(ask(14))
    core.feed(ask(15))

    assert core.why(RunId(14)) == "waits for 1.0 cpu: run 12 and 13 hold 2.0 of 2.0; first in class batch"
    assert core.why(RunId(15)) == "waits for 1.0 cpu: run 12 and 13 hold 2.0 of 2.0; 1 ahead in class batch"
    core.feed(Exited(RunId(12), "done"))
    core.feed(Exited(RunId(14), "done"))
    core.feed(Exited(RunId(15), "done"))
    core.feed(ask(16, cpus=0.5, memory_bytes=2 * GIB))
    assert core.why(RunId(16)) == (
        "waits for 2.0 GiB of memory: run 13 holds 3.0 GiB of 4.0 GiB; first in class batch"
    )
    assert core.why(RunId(13)) == ""


def test_a_run_held_back_names_the_one_it_waits_for() -> None:
    core = scheduler(cpus=2.0)
    core.feed(ask(1))
    core.feed(ask(2, cpus=2.0))
    core.feed(Tick(HOLD_S))
    core.feed(ask(3))

    assert core.why(RunId(3)) == (
        "lets run 2 go first, which waits for 2.0 cpu: run 1 holds 1.0 of 2.0; 1 ahead in class batch"
    )


def test_ten_thousand_queued_runs_cost_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    core = scheduler(cpus=1.0)
    looked: list[Shape] = []
    for run in range(1, 10_001):
        core.feed(ask(run, owner=f"owner {run % 100}"))
    fits = core._fits

    def counted(shape: Shape) -> bool:
        looked.append(shape)
        return fits(shape)

    monkeypatch.setattr(core, "_fits", counted)

    for run in range(1, 101):
        core.feed(Tick(float(run)))
        core.feed(ask(20_000 + run))

    assert len(looked) <= 300


def test_a_broken_invariant_tells_the_last_facts() -> None:
    core = scheduler()
    core.feed(ask(1))
    core._free = core._total

    with pytest.raises(AssertionError, match=r"The last facts:\nSubmitted\(run=1"):
        core.check()


class SchedulerMachine(RuleBasedStateMachine):
    """Any facts in any order: invariants hold, attempts stay in budget, and nothing starves."""

    def __init__(self) -> None:
        super().__init__()
        self.core = scheduler(cpus=4.0, memory_bytes=8 * GIB)
        self.now_s = 0.0
        self.asked: dict[int, Submitted] = {}
        self.attempts: dict[int, int] = {}
        self.alive: set[int] = set()
        self.over: set[int] = set()
        self.stopped: set[int] = set()

    def feed(self, fact: Any) -> None:
        for order in self.core.feed(fact):
            match order:
                case Start(run=run, attempt=attempt):
                    assert run not in self.alive
                    assert run not in self.over | self.stopped
                    assert attempt == self.attempts.get(run, 0) + 1 <= 2 + self.asked[run].retries
                    self.attempts[run] = attempt
                    self.alive.add(run)
                case End(run=run):
                    assert run not in self.alive
                    self.over.add(run)
                case Kill(run=run):
                    assert run in self.alive
                case Requeue(run=run):
                    assert run not in self.over

    @rule(count=st.integers(2, 6), owner=st.sampled_from(["ann", "bob"]), klass=st.sampled_from(CLASSES))
    def submit_many(self, count: int, owner: str, klass: str) -> None:
        for number in range(count):
            self.submit(owner, klass, 1.0, float(number % 4 + 1), 1, 1)

    @rule(
        owner=st.sampled_from(["ann", "bob", "cid"]),
        klass=st.sampled_from(CLASSES),
        weight=st.sampled_from([0.5, 1.0, 3.0]),
        cpus=st.sampled_from([0.0, 0.1, 1.0, 3.0, 4.0, 5.0]),
        memory=st.integers(0, 9),
        retries=st.integers(0, 2),
    )
    def submit(self, owner: str, klass: str, weight: float, cpus: float, memory: int, retries: int) -> None:
        run = len(self.asked) + 1
        fact = ask(
            run,
            owner=owner,
            klass=klass,
            weight=weight,
            cpus=cpus,
            memory_bytes=memory * GIB,
            retries=retries,
        )
        self.asked[run] = fact
        self.feed(fact)

    @rule(seconds=st.sampled_from([0.1, 10.0, 100.0]))
    def tick(self, seconds: float) -> None:
        self.now_s += seconds
        self.feed(Tick(self.now_s))

    @precondition(lambda self: self.alive)
    @rule(pick=st.integers(0, 100), outcome=st.sampled_from(["done", "failed", "lost"]))
    def exit(self, pick: int, outcome: Any) -> None:
        run = sorted(self.alive)[pick % len(self.alive)]
        self.alive.remove(run)
        self.feed(Exited(RunId(run), outcome))

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0, 100))
    def stop(self, pick: int) -> None:
        run = 1 + pick % len(self.asked)
        self.stopped.add(run)
        self.feed(StopAsked(RunId(run)))

    @precondition(lambda self: self.asked)
    @rule(pick=st.integers(0, 100), klass=st.sampled_from(CLASSES), weight=st.sampled_from([0.5, 2.0]))
    def renice(self, pick: int, klass: Any, weight: float) -> None:
        self.feed(Reniced(RunId(1 + pick % len(self.asked)), klass, weight))

    @rule(cpus=st.sampled_from([1.0, 4.0]))
    def resize(self, cpus: float) -> None:
        self.feed(Capacity(cpus, 8 * GIB))

    @invariant()
    def holds(self) -> None:
        self.core.check()
        for run in set(self.asked) - self.alive - self.over - self.stopped:
            assert self.core.why(RunId(run)), f"run {run} waits without a reason"

    def teardown(self) -> None:
        """While more realtime Runs come than can be served, all others still come to start."""
        self.feed(Capacity(4.0, 8 * GIB))
        waiting = set(self.asked) - self.alive - self.over - self.stopped
        before = {run: self.attempts.get(run, 0) for run in waiting}
        for _ in range(20 + 10 * len(waiting)):
            for _ in range(3):
                self.submit("dan", "realtime", 1.0, 1.0, 1, 0)
            self.tick(20.0)
            for alive in sorted(self.alive)[:2]:
                self.alive.remove(alive)
                self.feed(Exited(RunId(alive), "done"))
        left = {run for run in waiting if run not in self.over and self.attempts.get(run, 0) == before[run]}
        assert not left, f"runs {left} starve"
        self.core.check()


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = hypothesis_settings(max_examples=40, stateful_step_count=30)
