"""Tensors: what goes in comes out, and what is wrong is named."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.runtime.engine import NUMPY_TYPES
from kernos.runtime.signature import Datatype, TensorSpec
from kernos.runtime.tensors import Tensor, TensorReader, array_of, explain, near, pack, show

INTEGERS: list[Datatype] = ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
FLOATS: dict[Datatype, int] = {"FP16": 16, "FP32": 32, "FP64": 64}


def tensor(data: Any, shape: list[int], datatype: str, name: str = "x") -> Tensor:
    return Tensor(name, shape, datatype, msgspec.Raw(json.dumps(data).encode()))


def read(data: Any, shape: list[int], datatype: Datatype, spec: list[int]) -> Any:
    one = tensor(data, shape, datatype)
    return array_of(TensorReader(TensorSpec("x", datatype, spec)).read(one), datatype, one.shape)


@given(st.data())
@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_come_through(datatype: Datatype, data: st.DataObject) -> None:
    bounds = np.iinfo(NUMPY_TYPES[datatype])  # type: ignore[type-var]  # integers alone
    values = data.draw(st.lists(st.integers(int(bounds.min), int(bounds.max)), min_size=1, max_size=8))

    array = read(values, [len(values)], datatype, [-1])

    assert array.tolist() == values
    assert array.dtype == NUMPY_TYPES[datatype]


@given(st.data())
@pytest.mark.parametrize("datatype", list(FLOATS))
def test_numbers_come_through(datatype: Datatype, data: st.DataObject) -> None:
    width: Any = FLOATS[datatype]
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)
    rows = data.draw(st.lists(st.lists(finite, min_size=2, max_size=2), min_size=1, max_size=4))
    flat = [value for row in rows for value in row]

    assert read(flat, [len(rows), 2], datatype, [-1, 2]).tolist() == rows
    assert read(rows, [len(rows), 2], datatype, [-1, 2]).tolist() == rows


def test_texts_and_truths_come_through() -> None:
    assert read(["a", "é", ""], [3, 1], "BYTES", [-1, 1]).tolist() == [["a"], ["é"], [""]]
    assert read([True, False], [2], "BOOL", [-1]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "told"),
    [
        ([1, 2], [1, 3], "FP32", "2 elements"),
        ([1, 2, 3], [3], "FP32", r"takes \[n, 3\]"),
        ([1, 2, 3], [1, 4], "FP32", r"takes \[n, 3\]"),
        ([], [0, 3], "FP32", r"takes \[n, 3\]"),
        ([1, 2, 3], [-1, 3], "FP32", r"takes \[n, 3\]"),
        ([1, 2, 3], [10**30, 3], "FP32", "elements"),
        ([1, 2, 3], [1, 3], "FP64", "'FP64' was sent"),
        ([1, 2, 3], [1, 3], "float", "'float' was sent"),
        ([1, 2, None], [1, 3], "FP32", "not FP32"),
        ([1, 2, "3"], [1, 3], "FP32", "not FP32"),
        ([1, 2, True], [1, 3], "FP32", "not FP32"),
        ([1, 2, 1e300], [1, 3], "FP32", "place 2"),
        ({"a": 1}, [1, 3], "FP32", "not FP32"),
        ([[1, 2], [3]], [1, 3], "FP32", "not FP32"),
        ([[[1, 2, 3]]], [1, 3], "FP32", "not FP32"),
        (7, [1, 3], "FP32", "elements"),
    ],
)
def test_a_wrong_tensor_is_named(data: Any, shape: list[int], datatype: str, told: str) -> None:
    reader = TensorReader(TensorSpec("x", "FP32", [-1, 3]))

    with pytest.raises(InvalidError, match=told) as caught:
        reader.read(tensor(data, shape, datatype))

    assert "'x'" in caught.value.message


@pytest.mark.parametrize(
    ("value", "datatype"), [(300, "UINT8"), (-1, "UINT64"), (2**63, "INT64"), (1.5, "INT64")]
)
def test_an_integer_out_of_range_is_refused(value: float, datatype: Datatype) -> None:
    with pytest.raises(InvalidError, match="'x'"):
        read([value], [1], datatype, [-1])


@pytest.mark.parametrize("data", [b"[1e999]", b"[-1e999]", b"[" * 5000, b"[1,]"])
def test_a_number_beyond_all_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidError, match="'x'"):
        TensorReader(TensorSpec("x", "FP64", [-1])).read(Tensor("x", [1], "FP64", msgspec.Raw(data)))


def test_a_column_may_be_flat_and_of_a_narrower_kind() -> None:
    reader = TensorReader(TensorSpec("age", "FP32", [-1, 1]))
    flat = tensor([1, 2], [2], "INT64")

    assert array_of(reader.read(flat), "FP32", flat.shape).tolist() == [[1.0], [2.0]]
    assert array_of(reader.read(tensor([True], [1], "BOOL")), "FP32", [1, 1]).tolist() == [[1.0]]
    with pytest.raises(InvalidError, match="'FP32' was sent"):
        TensorReader(TensorSpec("age", "INT64", [-1, 1])).read(tensor([1.5], [1], "FP32"))
    with pytest.raises(InvalidError, match="'BYTES' was sent"):
        reader.read(tensor(["1"], [1], "BYTES"))


def test_packing_tells_the_column_and_the_row() -> None:
    with pytest.raises(InvalidError, match=r"'b' holds a number at place 1"):
        pack([1.0, 2.0, 3.0, 1e300], "FP32", ["a", "b"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_body_with_nan_names_its_input(number: str) -> None:
    tensors = [{"name": "ok", "data": [1]}, {"name": "bmi", "data": [[1.0, float(number)]]}]
    body = json.dumps({"inputs": tensors})

    error = explain(body.encode(), msgspec.DecodeError("malformed"))

    assert "'bmi' holds NaN or infinity" in error.message


@pytest.mark.parametrize(
    "body", [b"[NaN]", b'{"inputs": [NaN]}', b"[" * 100_000, b"\xff", b'{"inputs": NaN}']
)
def test_any_other_malformed_body_is_told_as_such(body: bytes) -> None:
    assert "not an infer request" in explain(body, msgspec.DecodeError("why")).message


def test_names_from_outside_are_cut() -> None:
    assert len(show("x" * 10_000)) < 100
    assert near("bmo", ["bmi", "age"]) == "Did you mean 'bmi'?"
    assert "Known: 'a', 'b'" in near("zzz", ["a", "b"])
    assert near("?", [f"column{k}" for k in range(20)]).endswith(", ….")


def test_packed_floats_are_those_of_numpy() -> None:
    values = [0.1, math.pi, -1e-45, 3.4e38, 16777217.0]

    assert (
        array_of(pack(values, "FP32", ["x"]), "FP32", [5]).tolist() == np.array(values, np.float32).tolist()
    )
