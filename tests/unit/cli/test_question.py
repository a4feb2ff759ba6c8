from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.cli.question import answer_rows, question

MODEL = {
    "inputs": [
        {"name": "X", "datatype": "FP32", "shape": [-1, 1], "parameters": {"columns": ["bmi"]}},
        {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
    ]
}


def test_rows_become_a_tensor_a_column() -> None:
    asked = question([{"bmi": 1.5, "city": "Ulm"}, {"bmi": 2, "city": 7}], MODEL)

    assert asked["inputs"] == [
        {"name": "bmi", "shape": [2], "datatype": "FP32", "data": [1.5, 2]},
        {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Ulm", "7"]},
    ]


def test_a_request_goes_through_as_it_is() -> None:
    assert question({"inputs": []}, MODEL) == {"inputs": []}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"bmi": 1}, "lacks city"),
        ({"bim": 1, "city": "x"}, "no input 'bim'"),
        ({"bmi": "tall", "city": "x"}, "is not a number"),
        ([], "no rows"),
        ([1], "no rows"),
        ("x", "no rows"),
    ],
)
def test_what_does_not_fit_the_model_is_named(rows: Any, told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        question(rows, MODEL)


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(InvalidError) as caught:
        question({"bim": 1, "city": "x"}, MODEL)

    assert caught.value.hint == "Did you mean bmi?"


@given(st.integers(1, 4), st.integers(1, 3))
def test_every_value_of_an_answer_is_shown_in_its_row(rows: int, width: int) -> None:
    data = list(range(rows * width))

    names, shown = answer_rows({"outputs": [{"name": "s", "shape": [rows, width], "data": data}]})

    assert len(names) == width
    assert [int(value) for row in shown for value in row] == data


def test_an_answer_without_outputs_has_no_rows() -> None:
    assert answer_rows({}) == ([], [])
