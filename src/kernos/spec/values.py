"""Plain values in a declaration: whole numbers, JSON values, and the space that tuning searches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kernos.base.errors import InvalidError

_MOST_TRIALS = 10_000


def whole(value: object, what: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidError(
            f"{what}={value!r} is not a whole number from {low} to {high}.", hint=f"Write {what}={low + 1}."
        )
    return value


def parse_space(tune: Mapping[str, Any], trials: int) -> tuple[dict[str, list[Any]], list[str]]:
    whole(trials, "trials", 0, _MOST_TRIALS)
    if trials and not tune:
        raise InvalidError(
            "trials without tune: there is nothing to try.", hint='Write tune={"C": (0.01, 10.0)}.'
        )
    if tune and not trials:
        raise InvalidError("tune without trials.", hint="Say how many combinations to try: trials=8.")
    for name, values in tune.items():
        if isinstance(values, tuple):
            _check_range(name, values)
        elif not isinstance(values, list) or not values or not all(is_json(value) for value in values):
            raise InvalidError(
                f"tune of {name!r} is neither a range nor a list of choices.",
                hint="Write (0.01, 10.0) for a range or ['a', 'b'] for choices.",
            )
    return {name: list(values) for name, values in tune.items()}, [
        name for name, values in tune.items() if isinstance(values, list)
    ]


def _check_range(name: str, ends: tuple[Any, ...]) -> None:
    numbers = [
        end
        for end in ends
        if isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)
    ]
    if len(ends) != 2 or len(numbers) != 2:
        raise InvalidError(f"The range of {name!r} is not two numbers.", hint="Write (0.01, 10.0).")
    if numbers[0] >= numbers[1]:
        raise InvalidError(
            f"The range of {name!r} has low {numbers[0]:g} not below high {numbers[1]:g}.", hint="Swap them."
        )


def is_json(value: object) -> bool:
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return math.isfinite(value)
        case list():
            return all(is_json(item) for item in value)
        case dict():
            return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    return False
