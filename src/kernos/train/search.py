"""Searches parameters for the highest value; given what has finished, it goes on exactly as if never stopped.

Which parameters a batch of trials gets depends on the seed, the batch's place and the results before it:
nothing else. The sampler is Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011),
asked and told.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kernos.base.errors import FailedError, InvalidError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

Asked = tuple[int, dict[str, Any]]
"""A trial's index, from 0, and its parameters."""
Outcome = float | str | None
"""A trial's value; or that it failed: None, the reason in words, or a value that is not finite."""
_LOG_RATIO = 100


class Space(msgspec.Struct, frozen=True):
    """What to search, as a Flow declares it."""

    tune: dict[str, list[Any]]
    """Parameter -> [low, high], both included, or its choices. Two ints make whole numbers; low > 0 and
    high / low >= 100 make the scale logarithmic."""
    choices: list[str] = []
    """Which parameters list choices (any JSON values)."""


class Trial(msgspec.Struct, frozen=True):
    index: int
    params: dict[str, Any]
    value: float | None
    """None: it failed."""
    reason: str = ""


class Found(msgspec.Struct, frozen=True):
    best: Trial
    trials: list[Trial]
    """All, by index."""


def search(
    tune: dict[str, list[Any]],
    choices: list[str],
    *,
    trials: int,
    parallel: int,
    seed: int,
    run_trials: Callable[[list[Asked]], Mapping[int, Outcome]],
    finished: Mapping[int, tuple[dict[str, Any], Outcome]] | None = None,
) -> dict[str, Any]:
    """Run `trials` trials of the Space, `parallel` at once; returns `Found` as JSON values.

    `run_trials` gets the unfinished trials of one batch and answers with the outcome of each. `finished`
    holds trials of an earlier attempt at the same search: they are not run again. Raises InvalidError for a
    space that makes no sense, FailedError with the first reason when every trial failed.
    """
    space = Space(tune, choices)
    _check(space, trials, parallel)
    done = {index: _trial(index, *given) for index, given in (finished or {}).items() if 0 <= index < trials}
    for start in range(0, trials, parallel):
        indexes = range(start, min(start + parallel, trials))
        if all(index in done for index in indexes):
            continue
        asked = ask(space, [done[index] for index in range(start)], indexes, trials=trials, seed=seed)
        open_trials = [one for one in asked if one[0] not in done]
        outcomes = run_trials(open_trials)
        done |= {index: _trial(index, params, outcomes.get(index)) for index, params in open_trials}
    found: dict[str, Any] = msgspec.to_builtins(_best([done[index] for index in range(trials)]))
    return found


def ask(
    space: Space, history: Sequence[Trial], indexes: Sequence[int], *, trials: int, seed: int
) -> list[Asked]:
    """The parameters of the trials `indexes`, from the results of all trials before them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    key = hashlib.sha256(f"{seed}:{indexes[0]}".encode()).digest()
    sampler = optuna.samplers.TPESampler(
        seed=int.from_bytes(key[:4], "little"), n_startup_trials=min(10, max(3, trials // 3))
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: _distribution(space, name) for name in sorted(space.tune)}
    for trial in history:
        _tell(study, space, distributions, trial)
    return [(index, _params(space, study.ask(distributions).params)) for index in indexes]


def _check(space: Space, trials: int, parallel: int) -> None:
    if trials < 1 or parallel < 1:
        raise InvalidError(
            f"A search of {trials} trials, {parallel} at once, is none.", hint="Give at least 1 of both."
        )
    for name, values in space.tune.items():
        if name in space.choices:
            if not values:
                raise InvalidError(f"{name} has no choices.", hint="List at least one.")
        elif not _is_range(values):
            raise InvalidError(
                f"{name} is searched in {values!r:.100}, which is not a range.",
                hint="Give (low, high), two finite numbers with low <= high, or a list of choices.",
            )


def _is_range(values: Sequence[Any]) -> bool:
    return (
        len(values) == 2
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        and all(math.isfinite(value) for value in values)
        and values[0] <= values[1]
    )


def _distribution(space: Space, name: str) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = space.tune[name]
    if name in space.choices:
        return CategoricalDistribution(range(len(values)))
    low, high = values
    is_log = low > 0 and high / low >= _LOG_RATIO
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=is_log)
    return FloatDistribution(float(low), float(high), log=is_log)


def _tell(study: Study, space: Space, distributions: dict[str, BaseDistribution], trial: Trial) -> None:
    from optuna.trial import TrialState, create_trial

    params = {
        name: space.tune[name].index(value) if name in space.choices else value
        for name, value in trial.params.items()
    }
    state = TrialState.FAIL if trial.value is None else TrialState.COMPLETE
    study.add_trial(create_trial(params=params, distributions=distributions, value=trial.value, state=state))


def _params(space: Space, drawn: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: space.tune[name][value] if name in space.choices else value for name, value in drawn.items()
    }


def _trial(index: int, params: dict[str, Any], outcome: Outcome) -> Trial:
    match outcome:
        case None:
            return Trial(index, params, None, "It failed.")
        case str():
            return Trial(index, params, None, outcome)
        case _ if not math.isfinite(outcome):
            return Trial(index, params, None, f"Its value is {outcome}.")
        case _:
            return Trial(index, params, float(outcome))


def _best(trials: list[Trial]) -> Found:
    """The highest value; the earliest of equals."""
    best: Trial | None = None
    for trial in trials:
        if trial.value is not None and (best is None or best.value is None or trial.value > best.value):
            best = trial
    if best is None:
        raise FailedError(
            f"All {len(trials)} trials failed. The first: {trials[0].reason}",
            hint="Run the flow with one of these parameters alone to see why.",
            params=trials[0].params,
        )
    return Found(best, trials)
