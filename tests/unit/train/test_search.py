from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernos.base.errors import FailedError, InvalidError
from kernos.train.search import Asked, Found, Outcome, Space, ask, search

SPACE = Space({"C": [0.001, 10.0], "depth": [1, 8], "kind": ["l1", "l2", None]}, ["kind"])


def value(params: dict[str, Any]) -> float:
    return float(-abs(math.log10(params["C"])) - abs(params["depth"] - 5) / 4 - (params["kind"] != "l2"))


def run(asked: list[Asked]) -> dict[int, Outcome]:
    return {index: value(params) for index, params in asked}


def found(space: Space = SPACE, run_trials: Callable[..., Any] = run, **changes: Any) -> Found:
    given: dict[str, Any] = {"trials": 12, "parallel": 3, "seed": 7, "run_trials": run_trials} | changes
    return msgspec.convert(search(space.tune, space.choices, **given), Found)


def test_it_maximises_and_keeps_every_trial() -> None:
    told = found()

    assert [trial.index for trial in told.trials] == list(range(12))
    assert told.best.value == max(trial.value or -math.inf for trial in told.trials)
    assert told.best == told.trials[told.best.index]
    assert told.best.value == value(told.best.params)


def test_it_beats_chance() -> None:
    wins = 0
    for seed in range(8):
        guided = found(trials=40, parallel=4, seed=seed).best.value or 0
        blind = found(trials=40, parallel=40, seed=seed).best.value or 0  # one batch learns nothing
        wins += guided >= blind

    assert wins >= 6


def test_ranges_are_ints_floats_and_logarithmic_as_declared() -> None:
    space = Space({"i": [1, 3], "f": [0.0, 1.0], "log": [1e-4, 1.0], "one": [2.0, 2.0], "li": [1, 1000]})
    asked = ask(space, [], range(200), trials=200, seed=0)
    drawn = {name: [params[name] for _, params in asked] for name in space.tune}

    assert set(drawn["i"]) == {1, 2, 3}
    assert all(type(one) is int for one in drawn["i"] + drawn["li"])
    assert all(type(one) is float and 0 <= one <= 1 for one in drawn["f"])
    assert set(drawn["one"]) == {2.0}
    assert 60 < sum(one < 1e-2 for one in drawn["log"]) < 140
    assert 60 < sum(one < 32 for one in drawn["li"]) < 140


def test_choices_may_be_any_json_value() -> None:
    space = Space({"layers": [[8], [8, 8], None, {"a": 1}]}, ["layers"])
    told = found(space, lambda asked: {index: float(params["layers"] == [8, 8]) for index, params in asked})

    assert told.best.params == {"layers": [8, 8]}
    assert {repr(trial.params["layers"]) for trial in told.trials} >= {"[8, 8]", "None"}


@hypothesis_settings(max_examples=15)
@given(st.sets(st.integers(0, 8)), st.integers(1, 4), st.integers(0, 1000))
def test_it_continues_identically(before: set[int], parallel: int, seed: int) -> None:
    whole = found(trials=9, parallel=parallel, seed=seed)
    ran: list[int] = []

    def note(asked: list[Asked]) -> dict[int, Outcome]:
        ran.extend(index for index, _ in asked)
        return run(asked)

    finished = {index: (whole.trials[index].params, whole.trials[index].value) for index in before}
    again = found(run_trials=note, trials=9, parallel=parallel, seed=seed, finished=finished)

    assert again == whole
    assert set(ran) == set(range(9)) - before


def test_another_seed_searches_elsewhere() -> None:
    assert found(seed=1).trials[0].params != found(seed=2).trials[0].params


def test_failed_trials_are_never_chosen() -> None:
    def flaky(asked: list[Asked]) -> dict[int, Outcome]:
        outcomes: list[Outcome] = [None, "Out of memory.", math.nan, math.inf]
        return {
            index: outcomes[index] if index < 4 else value(params) for index, params in asked if index != 5
        }

    told = found(run_trials=flaky)

    assert told.best.index not in {0, 1, 2, 3, 5}
    assert [trial.value for trial in told.trials[:4]] == [None] * 4
    assert told.trials[1].reason == "Out of memory."
    assert told.trials[2].reason == "Its value is nan."


def test_all_failed_says_the_first_reason() -> None:
    with pytest.raises(FailedError, match=r"All 3 trials failed. The first: Singular matrix.") as caught:
        found(run_trials=lambda asked: {0: "Singular matrix."}, trials=3)

    assert caught.value.hint
    assert set(caught.value.details["params"]) == set(SPACE.tune)


def test_a_space_without_parameters_is_one_point() -> None:
    assert found(Space({}), lambda asked: {index: 1.0 for index, _ in asked}, trials=2).best.params == {}


def test_equal_values_choose_the_earliest() -> None:
    assert found(run_trials=lambda asked: {index: 1.0 for index, _ in asked}).best.index == 0


@pytest.mark.parametrize(
    "space",
    [
        Space({"a": []}, ["a"]),
        Space({"a": [1]}),
        Space({"a": [2, 1]}),
        Space({"a": [0, math.inf]}),
        Space({"a": [math.nan, 1.0]}),
        Space({"a": [True, False]}),
        Space({"a": ["x", "y"]}),
    ],
)
def test_a_senseless_space_is_refused(space: Space) -> None:
    with pytest.raises(InvalidError) as caught:
        found(space)

    assert caught.value.hint


@pytest.mark.parametrize("changes", [{"trials": 0}, {"parallel": 0}])
def test_a_search_without_trials_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        found(**changes)


def test_optuna_is_loaded_only_to_ask_and_stays_silent() -> None:
    program = (
        "import sys; from kernos.train.search import search; assert 'optuna' not in sys.modules\n"
        "search({'a': [0.0, 1.0]}, [], trials=2, parallel=1, seed=0,"
        " run_trials=lambda asked: {i: 1.0 for i, _ in asked})"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    assert done.stdout == done.stderr == b""
