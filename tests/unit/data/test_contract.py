from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError, RefusedError
from kernos.data.contract import LONGEST_CELL, Violation, check, dtype_of, refuse
from kernos.spec.manifest import Column


def violations(values: list[Any], column: Column, dtype: Any = None) -> list[Violation]:
    return check(pl.LazyFrame({"a": pl.Series(values, dtype=dtype or dtype_of(column))}), [column])


@pytest.mark.parametrize(
    ("column", "values", "rule", "rows"),
    [
        (Column("a", "int"), [1, None, 3, None], "given (null)", [2, 4]),
        (Column("a", "int", low=0, high=9), [0, 9, 10, -1], "in 0..9", [3, 4]),
        (Column("a", "float", low=0.5), [0.5, 0.4], "in 0.5..", [2]),
        (Column("a", "float", high=1), [0.5, 1.4], "in ..1", [2]),
        (Column("a", "float"), [1.0, float("nan")], "a number (NaN)", [2]),
        (Column("a", "float", nullable=True), [1.0, float("inf"), -float("inf")], "finite", [2, 3]),
        (Column("a", "int", members=[0, 1]), [0, 1, 2], "one of 0, 1", [3]),
        (Column("a", "str", members=["x"]), ["x", "y"], "one of x", [2]),
        (Column("a", "str", pattern="[A-Z]+|é"), ["AB", "é", "ABc", "xA"], "of the form [A-Z]+|é", [3, 4]),
        (Column("a", "str", unique=True, nullable=True), ["x", "y", "x", None, None], "unique", [1, 3]),
        (
            Column("a", "str"),
            ["x" * LONGEST_CELL, "é" * (LONGEST_CELL + 1)],
            "at most 65,536 characters long",
            [2],
        ),
    ],
)
def test_each_rule_names_the_rows_that_break_it(
    column: Column, values: list[Any], rule: str, rows: list[int]
) -> None:
    [violation] = violations(values, column)

    assert (violation.column, violation.rule, violation.rows) == ("a", rule, rows)
    assert violation.count >= len(rows) - 1


def test_nulls_break_no_rule_but_their_own() -> None:
    column = Column("a", "int", nullable=True, low=0, high=1, members=[0, 1], unique=True)

    assert violations([None, 0, 1, None], column) == []


def test_columns_outside_the_contract_are_free_but_finite_and_short() -> None:
    frame = pl.LazyFrame({"a": [1.0, float("inf")], "b": ["x", "y" * 70_000], "c": [None, 1.0]})

    assert [violation.column for violation in check(frame, [])] == ["a", "b"]


@pytest.mark.parametrize(
    ("column", "dtype", "fits"),
    [
        (Column("a", "int"), pl.UInt8, True),
        (Column("a", "int"), pl.Float64, False),
        (Column("a", "float"), pl.Int64, True),
        (Column("a", "str"), pl.Int64, False),
        (Column("a", "bool"), pl.Boolean, True),
        (Column("a", "datetime"), pl.Date, True),
        (Column("a", "datetime"), pl.String, False),
    ],
)
def test_a_columns_type_is_checked(column: Column, dtype: Any, *, fits: bool) -> None:
    found = violations([], column, dtype)

    assert [violation.count for violation in found] == ([] if fits else [0])


def test_only_the_first_rows_are_listed_and_long_values_are_cut() -> None:
    [violation] = violations(["x" * 500] * 9, Column("a", "str", members=["y"]))

    assert violation.count == 9
    assert violation.rows == [1, 2, 3, 4, 5]
    assert violation.examples[0].endswith("(500 characters)")
    assert len(str(violation)) < 1000


def test_examples_are_json_values() -> None:
    frame = pl.LazyFrame({"a": [datetime(2024, 1, 1)] * 2})

    [violation] = check(frame, [Column("a", "datetime", unique=True)])

    assert violation.examples == ["2024-01-01 00:00:00", "2024-01-01 00:00:00"]


def test_refusal_tells_three_and_carries_all() -> None:
    found = [Violation(name, "given (null)", 1, [1], [None]) for name in "abcd"]

    with pytest.raises(RefusedError, match="and 1 more") as caught:
        refuse(found, "t.csv")

    assert len(caught.value.details["violations"]) == 4
    refuse([], "t.csv")


@pytest.mark.parametrize("column", [Column("a", "str", pattern="("), Column("a", "int", members=["x"])])
def test_a_senseless_contract_is_invalid(column: Column) -> None:
    with pytest.raises(InvalidError) as caught:
        violations([None], column)

    assert caught.value.hint


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=30), st.integers(-50, 50))
def test_the_count_is_that_of_plain_python(values: list[int | None], low: int) -> None:
    found = {one.rule: one for one in violations(values, Column("a", "int", low=low))}

    nulls = [row for row, value in enumerate(values, 1) if value is None]
    below = [row for row, value in enumerate(values, 1) if value is not None and value < low]
    assert (found["given (null)"].rows if nulls else []) == nulls[:5]
    assert (found[f"in {low}.."].count if below else 0) == len(below)
