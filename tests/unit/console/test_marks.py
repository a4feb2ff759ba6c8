from __future__ import annotations

from typing import get_args

import pytest

from kernos.catalog.records import RunState
from kernos.console.marks import brand, mark, shape, tone

STAGE_STATES = ("idle", "waiting", "running", "done", "cached", "failed")


@pytest.mark.parametrize(
    "states", [get_args(RunState), STAGE_STATES, ("live", "canary", "rolled_back", "stopped")]
)
def test_states_that_stand_together_have_shapes_of_their_own(states: tuple[str, ...]) -> None:
    assert len({shape(state) for state in states}) == len(states)


def test_a_mark_is_hidden_from_those_who_listen() -> None:
    assert 'aria-hidden="true"' in mark("done")
    assert 'aria-hidden="true"' in brand()


def test_only_what_asks_for_a_look_is_loud() -> None:
    assert (tone("failed"), tone("running"), tone("done"), tone("alarm")) == ("bad", "on", "plain", "warn")


def test_an_unknown_state_is_drawn_all_the_same() -> None:
    assert shape("new") == shape("idle")
    assert tone("new") == "plain"


def test_the_brand_has_the_eight_stages() -> None:
    assert brand().count("<circle") == 8
