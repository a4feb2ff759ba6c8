from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.spec.contract import TYPES, parse_column
from kernos.spec.manifest import Column


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("int", Column("c", "int")),
        ("float? 10..70", Column("c", "float", nullable=True, low=10, high=70)),
        ("int -5..", Column("c", "int", low=-5)),
        ("float ..1.5 unique", Column("c", "float", high=1.5, unique=True)),
        ("int in 0,1", Column("c", "int", members=[0, 1])),
        ("str in A, B C ,D unique", Column("c", "str", members=["A", "B C", "D"], unique=True)),
        ("float in 0.5, 1", Column("c", "float", members=[0.5, 1.0])),
        ("str ~ [A-Z]+ unique", Column("c", "str", pattern="[A-Z]+", unique=True)),
        (r"str? ~ \d{3} \w+", Column("c", "str", nullable=True, pattern=r"\d{3} \w+")),
        ("bool", Column("c", "bool")),
        ("datetime unique", Column("c", "datetime", unique=True)),
    ],
)
def test_a_line_says_what_a_column_keeps(text: str, column: Column) -> None:
    assert parse_column("c", text) == column


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("integer 0..1", "Did you mean int?"),
        ("", "expected a type"),
        ("int 10..0", "10 is more than 0"),
        ("int ..", "needs an end"),
        ("int 0..1.5", "whole numbers"),
        ("str 0..1", "takes no range"),
        ("bool in true", "takes no list"),
        ("int in 0, one", "not all of type int"),
        ("str in A,,B", "a value is missing"),
        ("str in unique", "a value is missing"),
        ("str in A,A", "different from each other"),
        ("float in nan", "different from each other"),
        ("int ~ a+", "for str columns"),
        ("str ~", "a pattern follows"),
        ("str ~ [a", "the pattern is broken"),
        ("str ~ (?=a)b", "look-around"),
        (r"str ~ (a)\1", "back-references"),
        ("int 0..1 required", "nothing more"),
        ("int unique 0..1", "nothing more"),
    ],
)
def test_a_mistake_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_column("c", text)

    assert says in f"{caught.value.message}\n{caught.value.hint}"
    assert "'c'" in caught.value.message


@given(
    kind=st.sampled_from(["int", "float"]),
    nullable=st.booleans(),
    unique=st.booleans(),
    ends=st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)).map(sorted),
)
def test_a_range_written_out_is_read_back(kind: str, nullable: bool, unique: bool, ends: list[int]) -> None:
    text = f"{kind}{'?' * nullable} {ends[0]}..{ends[1]}{' unique' * unique}"

    column = parse_column("c", text)

    assert (column.type, column.nullable, column.unique) == (kind, nullable, unique)
    assert [column.low, column.high] == ends


@given(st.text(max_size=20) | st.tuples(st.sampled_from(TYPES), st.text(max_size=20)).map(" ".join))
def test_any_text_is_a_column_or_an_invalid_error(text: str) -> None:
    with contextlib.suppress(InvalidError):
        parse_column("c", text)
