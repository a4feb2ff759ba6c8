"""A search asks for trials by number and learns from their scores; a restarted one asks for the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kernos.base.errors import KernosError
from kernos.loop.work import tune

if TYPE_CHECKING:
    from tests.unit.loop.conftest import Workshop

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]
Make = Callable[[Answer], "Workshop"]
PAYLOAD = {
    "space": {"C": [0.001, 10.0], "kind": ["a", "b"]},
    "choices": ["kind"],
    "trials": 8,
    "parallel": 2,
    "seed": 1,
}


def score(params: dict[str, Any]) -> float:
    return float(-abs(params["C"] - 1.0) + (params["kind"] == "b"))


def at_once(verb: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"run": body["index"], "state": "done", "reason": "", "result": {"score": score(body["params"])}}


def test_the_best_trial_wins(make_workshop: Make) -> None:
    workshop = make_workshop(at_once)

    result = tune.run(workshop.task(PAYLOAD))

    asked = [body for verb, body in workshop.asked if verb == "trial"]
    assert sorted(body["index"] for body in asked) == list(range(8))
    best = max(asked, key=lambda body: score(body["params"]))
    assert result["best"]["params"] == best["params"]


def test_the_same_search_asks_for_the_same_trials(make_workshop: Make) -> None:
    workshop = make_workshop(at_once)

    first = tune.run(workshop.task(PAYLOAD))
    again = tune.run(workshop.task(PAYLOAD))

    assert first == again
    assert workshop.asked[:8] == workshop.asked[8:]


def test_trials_that_take_their_time_are_waited_for(make_workshop: Make) -> None:
    params: dict[int, Any] = {}

    def slowly(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        if verb == "trial":
            params[body["index"]] = body["params"]
            return {"run": body["index"], "state": "queued", "reason": "", "result": {}}
        return {
            "run": body["run"],
            "state": "cached",
            "reason": "",
            "result": {"score": score(params[body["run"]])},
        }

    result = tune.run(make_workshop(slowly).task(PAYLOAD))

    assert result["best"]["params"] in params.values()


def test_a_trial_that_fails_is_no_winner(make_workshop: Make) -> None:
    def some(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["params"]["kind"] == "b":
            return {"run": 1, "state": "failed", "reason": "it died", "result": {}}
        return at_once(verb, body)

    assert tune.run(make_workshop(some).task(PAYLOAD))["best"]["params"]["kind"] == "a"


def test_a_search_in_which_all_fail_says_why(make_workshop: Make) -> None:
    def none(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"run": 1, "state": "failed", "reason": "it died by me", "result": {}}

    with pytest.raises(KernosError, match="it died by me"):
        tune.run(make_workshop(none).task(PAYLOAD))
