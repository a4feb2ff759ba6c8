"""Who is next, and what it costs an owner."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.ids import RunId
from kernos.kernel.policy import CLASSES, START_COST_S, Queue, Shape, Shares, Waiting


def waiting(run: int, **more: Any) -> Waiting:
    fields: dict[str, Any] = {"owner": "ann", "klass": "batch", "weight": 1.0, "shape": Shape(1000, 0)}
    return Waiting(RunId(run), **(fields | {"since_s": float(run), "attempts": 0, "retries": 0} | more))


def test_a_share_grows_with_what_is_held() -> None:
    shares = Shares()
    shares.start("ann", 2.0, 0.0)

    assert shares.of("ann", 10.0) == 2.0 * START_COST_S + 20.0
    shares.end("ann", 2.0, 10.0)
    assert shares.of("ann", 99.0) == 2.0 * START_COST_S + 20.0


def test_a_newcomer_starts_level_with_the_last_served() -> None:
    shares = Shares()
    shares.start("ann", 1.0, 0.0)
    shares.end("ann", 1.0, 100.0)
    shares.start("ann", 1.0, 100.0)
    shares.enter("bob", 100.0)

    assert shares.of("bob", 100.0) == 100.0 + START_COST_S


def test_a_changed_weight_changes_the_rate() -> None:
    shares = Shares()
    shares.start("ann", 1.0, 0.0)
    shares.move("ann", 1.0, 0.25, 10.0)

    assert shares.of("ann", 20.0) == START_COST_S + 10.0 + 2.5
    shares.check({"ann": 0.25})
    with pytest.raises(AssertionError):
        shares.check({})
    with pytest.raises(AssertionError):
        shares.check({"ann": 0.25, "bob": 1.0})


def test_only_what_fits_is_found() -> None:
    queue = Queue(Shares())
    queue.add(waiting(1, klass="realtime", shape=Shape(4000, 0)), 0.0)
    queue.add(waiting(2, klass="idle"), 0.0)

    first = queue.first(lambda shape: shape.millicpus <= 1000, 0.0)

    assert first is not None
    assert first.run == 2
    assert queue.first(lambda shape: False, 0.0) is None


def test_the_oldest_is_found_whatever_its_class() -> None:
    queue = Queue(Shares())
    for run in (1, 2, 3):
        queue.add(waiting(run, klass=CLASSES[3 - run]), 0.0)
    queue.remove(RunId(1))

    oldest = queue.oldest()

    assert oldest is not None
    assert oldest.run == 2
    assert queue.ahead(oldest) == 0
    queue.remove(RunId(2))
    queue.remove(RunId(3))
    assert queue.oldest() is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 3)),
            st.tuples(st.just("take"), st.just(""), st.integers(0, 3), st.just(0)),
            st.tuples(st.just("drop"), st.just(""), st.integers(0, 20), st.just(0)),
        ),
        max_size=40,
    )
)
def test_the_first_is_what_a_search_through_all_finds(steps: list[tuple[str, str, int, int]]) -> None:
    shares, now_s, number = Shares(), 0.0, 0
    queue = Queue(shares)
    for kind, owner, pick, cpus in steps:
        now_s += 1.0
        if kind == "add":
            number += 1
            queue.add(waiting(number, owner=owner, klass=CLASSES[pick], shape=Shape(cpus * 1000, 0)), now_s)
        elif kind == "drop":
            if RunId(pick) in queue:
                queue.remove(RunId(pick))
        else:
            found = queue.first(lambda shape: shape.millicpus <= pick * 1000, now_s)  # noqa: B023 - used at once
            fitting = [entry for entry in queue if entry.shape.millicpus <= pick * 1000]
            assert (found is None) == (not fitting)
            if found is not None:
                ranks = [(CLASSES.index(entry.klass), shares.of(entry.owner, now_s)) for entry in fitting]
                assert (CLASSES.index(found.klass), shares.of(found.owner, now_s)) == min(ranks)
                queue.remove(found.run)
                shares.start(found.owner, found.rate, now_s)
        queue.check()
    assert len(queue) == len(list(queue))
