"""The protocol's JSON: tables in three spellings, batches that stay apart, mistakes that are named."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import FailedError, InvalidError
from kernos.runtime.oip import Codec, Decoded
from kernos.runtime.signature import Signature, TensorSpec
from kernos.testing.wire import TABLE, infer_body, summing

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.lists(FINITE, min_size=3, max_size=3), min_size=1, max_size=4)
MIXED = Signature(
    task="classification",
    inputs=[
        TensorSpec("age", "INT64", [-1, 1]),
        TensorSpec("job", "BYTES", [-1, 1]),
        TensorSpec("rest", "FP32", [-1, 2], ["x", "y"]),
    ],
    outputs=[TensorSpec("label", "BYTES", [-1])],
)


def column(
    name: str, data: list[Any], datatype: str = "FP32", shape: list[int] | None = None
) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data), 1], "datatype": datatype, "data": data}


def body(*tensors: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(tensors), **more}).encode()


@pytest.fixture
def codec() -> Codec:
    return Codec("m", 2, TABLE)


@given(ROWS)
def test_a_matrix_and_its_columns_mean_the_same(rows: list[list[float]]) -> None:
    codec = Codec("m", 2, TABLE)
    columns = [column(name, [row[k] for row in rows]) for k, name in enumerate("abc")]

    matrix = codec.decode(infer_body(rows))
    table = codec.decode(body(*reversed(columns)))

    assert matrix.values == table.values
    assert matrix.shapes == table.shapes == [[len(rows), 3]]
    assert codec.arrays(matrix)["input"].tolist() == rows


def test_whole_numbers_may_stand_for_numbers_in_columns(codec: Codec) -> None:
    decoded = codec.decode(
        body(
            column("a", [1, 2], "INT64", [2]),
            column("b", [1.5, 2.5], "FP64"),
            column("c", [True, False], "BOOL"),
        )
    )

    assert codec.arrays(decoded)["input"].tolist() == [[1.0, 1.5, 1.0], [2.0, 2.5, 0.0]]


def test_several_inputs_come_in_any_order_and_spelling() -> None:
    codec = Codec("m", 1, MIXED)
    age, job = column("age", [40, 41], "INT64"), column("job", ["cook", "poet"], "BYTES", [2])
    rest = {"name": "rest", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}

    whole = codec.decode(body(rest, job, age))
    parts = codec.decode(body(column("y", [2, 4]), job, column("x", [1, 3]), age))

    assert whole.values == parts.values
    assert codec.arrays(whole)["job"].tolist() == [["cook"], ["poet"]]


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ([], "Missing inputs"),
        ([column("a", [1]), column("b", [1])], "Missing inputs.*'c'"),
        ([column("a", [1]), column("b", [1]), column("c", [1]), column("d", [1])], "no input 'd'"),
        ([column("inputs", [1])], "no input 'inputs'.*'input'"),
        ([column("a", [1]), column("a", [1])], "'a' is given twice"),
        ([column("a", [1]), column("b", [1, 2]), column("c", [1])], "'b' has 2 rows"),
        ([column("a", [1]), column("b", ["1"], "BYTES"), column("c", [1])], "'b' is FP32"),
        ([column("a", [1]), column("b", [1e39]), column("c", [1])], "'b' holds a number"),
        ([column("input", [1, 2, 3], "FP32", [1, 3]), column("a", [1])], "no input 'a'"),
    ],
)
def test_a_wrong_table_is_told_what_is_wrong(codec: Codec, tensors: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(InvalidError) as caught:
        codec.decode(body(*tensors))

    assert re.search(told, str(caught.value))


def test_inputs_with_different_rows_are_refused() -> None:
    tensors = [
        column("age", [1], "INT64"),
        column("job", ["a", "b"], "BYTES"),
        column("x", [1]),
        column("y", [2]),
    ]

    with pytest.raises(InvalidError, match="'age' 1, 'job' 2"):
        Codec("m", 1, MIXED).decode(body(*tensors))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["input", "a", "b", "c"]) | JSON,
        "shape": st.lists(st.integers(-2, 4), max_size=3) | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES"]) | JSON,
        "data": st.lists(st.floats(), max_size=12) | JSON,
    },
)
QUESTION = st.fixed_dictionaries(
    {}, optional={"inputs": st.lists(TENSOR, max_size=4) | JSON, "id": JSON, "outputs": JSON}
)


@given(QUESTION | JSON)
def test_no_body_makes_more_than_an_invalid_error(question: Any) -> None:
    codec = Codec("m", 2, TABLE)

    try:
        decoded = codec.decode(json.dumps(question).encode())
    except InvalidError:
        return
    assert codec.arrays(decoded)["input"].shape == (decoded.rows, 3)


@given(st.binary(max_size=200))
def test_no_bytes_make_more_than_an_invalid_error(data: bytes) -> None:
    with pytest.raises(InvalidError):
        Codec("m", 2, TABLE).decode(data)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_a_batch_answers_each_request_as_if_it_were_alone(requests: list[list[list[float]]]) -> None:
    codec = Codec("m", 2, TABLE)
    decoded = [codec.decode(infer_body(rows)) for rows in requests]

    joined = codec.join(decoded)
    together = codec.split(
        codec.outputs(summing(codec.arrays(joined)), joined.rows), [one.rows for one in decoded]
    )

    alone = [
        codec.split(codec.outputs(summing(codec.arrays(one)), one.rows), [one.rows])[0] for one in decoded
    ]
    assert together == alone


def test_texts_are_joined_too() -> None:
    codec = Codec("m", 1, MIXED)
    one = codec.decode(
        body(column("age", [1], "INT64"), column("job", ["a"], "BYTES"), column("x", [1]), column("y", [2]))
    )

    assert codec.arrays(codec.join([one, one]))["job"].tolist() == [["a"], ["a"]]


def test_an_answer_has_the_protocols_form(codec: Codec) -> None:
    decoded = codec.decode(infer_body([[1, 2, 3], [0, 0, 0]], id="mine"))
    outputs = codec.split(codec.outputs(summing(codec.arrays(decoded)), 2), [2])[0]

    assert json.loads(codec.encode(decoded, "boot-1", outputs)) == {
        "model_name": "m",
        "model_version": "2",
        "id": "mine",
        "parameters": {"prediction_id": "boot-1"},
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]},
            {"name": "sum", "datatype": "FP32", "shape": [2, 1], "data": [6.0, 0.0]},
        ],
    }


def test_without_an_id_none_is_echoed(codec: Codec) -> None:
    assert b'"id"' not in codec.encode(Decoded(1, [], []), "boot-1", [])


def test_only_the_outputs_asked_for_are_sent(codec: Codec) -> None:
    decoded = codec.decode(infer_body(outputs=[{"name": "sum"}]))
    outputs = codec.split(codec.outputs(summing(codec.arrays(decoded)), 1), [1])[0]

    assert [one["name"] for one in json.loads(codec.encode(decoded, "", outputs))["outputs"]] == ["sum"]
    with pytest.raises(InvalidError, match=r"no output 'sums'.*'sum'"):
        codec.decode(infer_body(outputs=[{"name": "sums"}]))


@pytest.mark.parametrize(
    "result",
    [
        {"label": np.zeros(2)},
        {"label": np.zeros(3), "sum": np.zeros((2, 1))},
        {"label": np.zeros(()), "sum": np.zeros((2, 1))},
        {"label": np.zeros(2), "sum": np.array([[0.0], [np.nan]])},
    ],
)
def test_a_model_that_breaks_its_signature_has_failed(codec: Codec, result: dict[str, np.ndarray]) -> None:
    with pytest.raises(FailedError):
        codec.outputs(result, 2)


@pytest.mark.parametrize(
    ("shape", "is_batchable"),
    [([-1, 3], True), ([-1], True), ([1, 3], False), ([-1, -1], False), ([], False)],
)
def test_only_an_open_first_dimension_makes_batches(shape: list[int], is_batchable: bool) -> None:
    signature = Signature("other", [TensorSpec("x", "FP32", shape)], [TensorSpec("y", "FP32", shape)])

    assert Codec("m", 1, signature).is_batchable is is_batchable


def test_a_model_of_fixed_shape_answers_in_its_own_shape() -> None:
    signature = Signature("other", [TensorSpec("x", "FP32", [2, 2])], [TensorSpec("y", "FP32", [4])])
    codec = Codec("m", 1, signature)
    decoded = codec.decode(body({"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}))
    (outputs,) = codec.split(
        codec.outputs({"y": codec.arrays(decoded)["x"].ravel()}, decoded.rows), [decoded.rows]
    )

    assert (outputs[0].shape, outputs[0].data) == ([4], [1.0, 2.0, 3.0, 4.0])


def test_metadata_tells_inputs_columns_and_versions(codec: Codec) -> None:
    told = json.loads(codec.metadata([1, 2]))

    assert (told["name"], told["versions"]) == ("m", ["1", "2"])
    assert told["inputs"][0]["parameters"] == {"columns": ["a", "b", "c"]}
    assert [one["name"] for one in told["outputs"]] == ["label", "sum"]
