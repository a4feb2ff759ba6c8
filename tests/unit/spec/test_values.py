from __future__ import annotations

from typing import Any

import pytest

from kernos.base.errors import InvalidError
from kernos.spec.values import is_json, parse_space, whole


def test_a_pair_is_a_range_and_a_list_a_choice() -> None:
    assert parse_space({"C": (0.1, 10), "kind": ["a", None]}, 4) == (
        {"C": [0.1, 10], "kind": ["a", None]},
        ["kind"],
    )
    assert parse_space({}, 0) == ({}, [])


@pytest.mark.parametrize(
    ("tune", "trials", "says"),
    [
        ({}, 3, "trials without tune"),
        ({"C": (0, 1)}, 0, "tune without trials"),
        ({"C": (0, 1)}, -1, "whole number"),
        ({"C": (0, 1)}, 2.0, "whole number"),
        ({"C": (0, 1)}, True, "whole number"),
        ({"C": (1, 0)}, 2, "low 1 not below high 0"),
        ({"C": (1, 1)}, 2, "low 1 not below high 1"),
        ({"C": (0, 1, 2)}, 2, "not two numbers"),
        ({"C": ("a", "b")}, 2, "not two numbers"),
        ({"C": (0, float("inf"))}, 2, "not two numbers"),
        ({"C": 1.0}, 2, "neither a range nor a list"),
        ({"C": []}, 2, "neither a range nor a list"),
        ({"C": [object()]}, 2, "neither a range nor a list"),
    ],
)
def test_a_wrong_space_is_named(tune: dict[str, Any], trials: Any, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_space(tune, trials)

    assert says in str(caught.value)


def test_whole_numbers_have_bounds() -> None:
    assert whole(3, "retries", 0, 3) == 3


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "a", [1, ["b"]], {"a": {"b": None}}])
def test_json_values_are_json(value: object) -> None:
    assert is_json(value)


@pytest.mark.parametrize("value", [float("nan"), (1,), {1: 2}, object(), [object()], b"x"])
def test_other_values_are_not(value: object) -> None:
    assert not is_json(value)
