from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from kernos.cli import table


def _text(drawing: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=4000, markup=False).print(drawing)
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (3.0, "3"), (12345, "12,345"), (0.12345, "0.1235"), (float("inf"), "inf")]
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert table.number(value) == text


def test_times_are_relative_and_never_negative() -> None:
    assert table.ago(1000, 4100) == "3.1 s ago"
    assert table.ago(5000, 4000) == "0 ms ago"
    assert table.ago(None, 0) == ""


def test_long_values_are_cut() -> None:
    assert _text(table.document({"text": "x" * 400, "many": list(range(20))})).count("…") == 2


def test_a_state_is_the_word_itself() -> None:
    assert table.state("failed").plain == "failed"
    assert table.state("unheard of").plain == "unheard of"


def test_empty_fields_are_left_out() -> None:
    assert _text(table.fields([("a", "1"), ("b", "")])).split() == ["a", "1"]


def test_a_list_of_like_things_is_a_table() -> None:
    lines = _text(table.document([{"x": 1, "y": None}, {"x": 2, "z": [1, 2]}])).splitlines()

    assert lines[0].split() == ["x", "y", "z"]
    assert lines[-1].split() == ["2", "1,", "2"]
