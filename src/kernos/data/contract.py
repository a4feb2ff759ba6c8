"""A contract blocks, and says which rows and why. One lazy pass; rows are looked up only where it fails."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from kernos.base.errors import InvalidError, RefusedError
from kernos.spec.manifest import Column

LONGEST_CELL = 65_536
"""Characters. A longer cell is nearly always a broken quote; documents belong in blobs."""
_SHOWN_ROWS = 5


class Violation(msgspec.Struct, frozen=True):
    column: str
    rule: str
    """What does not hold: `not null`, `in 0..120`, `unique`, …"""
    count: int
    """Rows that break it; 0 for a rule about the column as a whole."""
    rows: list[int] = []
    """The first of them, counted from 1 at the first data row."""
    examples: list[Any] = []
    """Their values, as JSON values, 100 characters at most each."""

    def __str__(self) -> str:
        if not self.count:
            return f"column {self.column}: {self.rule}"
        where = ", ".join(
            f"row {row}: {value!r}" for row, value in zip(self.rows, self.examples, strict=True)
        )
        more = ", …" if self.count > len(self.rows) else ""
        return f"column {self.column} is not {self.rule} in {self.count} rows ({where}{more})"


@dataclass(frozen=True, slots=True)
class _Check:
    column: str
    rule: str
    bad: pl.Expr
    """True for the rows that break the rule."""
    count: pl.Expr
    """How many they are, computable in a stream."""


def check(frame: pl.LazyFrame, contract: Sequence[Column]) -> list[Violation]:
    """Everything in `frame` that `contract` forbids, and what no dataset holds: infinities and giant cells.

    Columns that the contract does not name are free in all else. `unique` is about these rows only. Raises
    InvalidError where the contract itself makes no sense (a pattern, a value of another type).
    """
    schema = frame.collect_schema()
    violations = list(_column_violations(schema, contract))
    named = {column.name for column in contract if column.name in schema}
    broken = {violation.column for violation in violations}
    checks = [one for name, dtype in schema.items() for one in _general_checks(name, dtype)] + [
        one
        for column in contract
        if column.name in named - broken
        for one in _contract_checks(column, schema[column.name])
    ]
    if not checks:
        return violations
    counts = _collect(frame.select(one.count.alias(str(number)) for number, one in enumerate(checks))).row(0)
    return violations + [
        _locate(frame, one, count) for one, count in zip(checks, counts, strict=True) if count
    ]


def refuse(violations: Sequence[Violation], what: str) -> None:
    """RefusedError naming the first three violations and carrying all; nothing where there are none."""
    if not violations:
        return
    told = "; ".join(str(violation) for violation in violations[:3])
    more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
    raise RefusedError(
        f"{what} breaks its contract: {told}{more}.",
        hint=f"Correct these rows, or change what the contract says of {violations[0].column}.",
        violations=msgspec.to_builtins(list(violations)),
    )


def dtype_of(column: Column) -> pl.DataType:
    """How a dataset stores the column."""
    match column.type:
        case "int":
            return pl.Int64()
        case "float":
            return pl.Float64()
        case "str":
            return pl.String()
        case "bool":
            return pl.Boolean()
        case "datetime":
            return pl.Datetime("us")


def _column_violations(schema: pl.Schema, contract: Sequence[Column]) -> Iterator[Violation]:
    for column in contract:
        if column.name not in schema:
            near = difflib.get_close_matches(column.name, schema.names(), n=1)
            known = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(schema.names()[:20])}"
            yield Violation(column.name, f"is in the contract but not in the data{known}", 0)
        elif not _is_of_type(schema[column.name], column):
            yield Violation(column.name, f"holds {schema[column.name]}, the contract says {column.type}", 0)


def _is_of_type(dtype: pl.DataType, column: Column) -> bool:
    match column.type:
        case "int":
            return dtype.is_integer()
        case "float":
            return dtype.is_numeric()
        case "str":
            return dtype == pl.String
        case "bool":
            return dtype == pl.Boolean
        case "datetime":
            return dtype in (pl.Date, pl.Datetime)


def _general_checks(name: str, dtype: pl.DataType) -> Iterator[_Check]:
    value = pl.col(name)
    if dtype.is_float():
        yield _counted(name, "finite", value.is_infinite())
    elif dtype == pl.String:
        yield _counted(
            name, f"at most {LONGEST_CELL:,} characters long", value.str.len_chars() > LONGEST_CELL
        )


def _contract_checks(column: Column, dtype: pl.DataType) -> Iterator[_Check]:
    name, value = column.name, pl.col(column.name)
    is_nan = value.is_nan() if dtype.is_float() else pl.lit(value=False)
    if not column.nullable:
        yield _counted(name, "given (null)", value.is_null())
        if dtype.is_float():
            yield _counted(name, "a number (NaN)", is_nan)
    if column.low is not None or column.high is not None:
        bad = pl.lit(value=False)
        if column.low is not None:
            bad |= value < column.low
        if column.high is not None:
            bad |= value > column.high
        low, high = _bound(column.low), _bound(column.high)
        yield _counted(name, f"in {low}..{high}", bad & ~is_nan)
    if column.members is not None:
        yield _counted(
            name, f"one of {', '.join(map(str, column.members))}", ~value.is_in(_members(column, dtype))
        )
    if column.pattern:
        yield _counted(name, f"of the form {column.pattern}", ~value.str.contains(f"^(?:{column.pattern})$"))
    if column.unique:
        present = value.drop_nulls()
        yield _Check(
            name, "unique", value.is_duplicated() & value.is_not_null(), present.len() - present.n_unique()
        )


def _counted(name: str, rule: str, bad: pl.Expr) -> _Check:
    """A null is neither good nor bad: whether it may stand there is a rule of its own."""
    bad = bad.fill_null(value=False)
    return _Check(name, rule, bad, bad.sum())


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if value != round(value) else f"{value:.0f}"


def _members(column: Column, dtype: pl.DataType) -> pl.Series:
    try:
        return pl.Series(column.members or [], dtype=dtype)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InvalidError(
            f"The contract's values for {column.name} are not all of its type {column.type}.",
            hint=f"Write {column.type} values, as in `{column.type} in …`.",
        ) from error


def _collect(frame: pl.LazyFrame) -> pl.DataFrame:
    try:
        return frame.collect(engine="streaming")
    except pl.exceptions.ComputeError as error:
        if "regex" not in str(error):
            raise
        raise InvalidError(
            f"A pattern in the contract is not a regular expression: {str(error).splitlines()[0]}",
            hint="Use the syntax of Rust's regex crate: no look-around, no back-references.",
        ) from error


def _locate(frame: pl.LazyFrame, one: _Check, count: int) -> Violation:
    rows = _collect(
        frame.select(pl.col(one.column)).with_row_index("__row", offset=1).filter(one.bad).head(_SHOWN_ROWS)
    )
    examples = [_example(value) for value in rows[one.column]]
    return Violation(one.column, one.rule, count, rows["__row"].to_list(), examples)


def _example(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value)
    if isinstance(value, float) and text not in {"nan", "inf", "-inf"}:
        return value
    return text if len(text) <= 100 else f"{text[:60]}… ({len(text):,} characters)"
