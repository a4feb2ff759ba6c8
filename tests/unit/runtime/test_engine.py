"""The engine takes what the signature says and turns every failure of the library into one kind of error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper

from kernos.base.errors import FailedError, InvalidError
from kernos.runtime.engine import OnnxEngine, predict, table_inputs
from kernos.runtime.signature import Datatype, Signature, TensorSpec


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None) -> bytes:
    made = helper.make_graph(nodes, "g", inputs, outputs, weights or [])
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9
    )
    data: bytes = model.SerializeToString()
    return data


def value(name: str, kind: int = TensorProto.FLOAT, shape: tuple[Any, ...] = (None, 2)) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def doubler() -> OnnxEngine:
    """prediction = x + x for a table of `a` and `b`."""
    model = graph([helper.make_node("Add", ["x", "x"], ["prediction"])], [value("x")], [value("prediction")])
    return OnnxEngine(model, signature(), threads=1)


def signature(name: str = "x", output: str = "prediction", datatype: Datatype = "FP32") -> Signature:
    return Signature(
        "other", [TensorSpec(name, datatype, [-1, 2], ["a", "b"])], [TensorSpec(output, datatype, [-1, 2])]
    )


def classifier(classes: int) -> OnnxEngine:
    """Probabilities are the columns themselves; the label is the larger."""
    nodes = [
        helper.make_node("Identity", ["x"], ["probabilities"]),
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [value("label", TensorProto.INT64, (None,)), value("probabilities", shape=(None, classes))]
    names = [f"c{index}" for index in range(classes)]
    spec = Signature(
        "classification",
        [TensorSpec("x", "FP32", [-1, classes], names)],
        [TensorSpec("label", "INT64", [-1]), TensorSpec("probabilities", "FP32", [-1, classes])],
        list(range(classes)),
    )
    return OnnxEngine(graph(nodes, [value("x", shape=(None, classes))], outputs), spec)


def floats(*rows: list[float]) -> Any:
    return np.array(rows, dtype=np.float32)


def test_it_runs_a_batch(doubler: OnnxEngine) -> None:
    assert doubler.run({"x": floats([1, 2], [3, 4])})["prediction"].tolist() == [[2, 4], [6, 8]]


def test_a_file_runs_as_its_bytes_do(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        graph([helper.make_node("Neg", ["x"], ["prediction"])], [value("x")], [value("prediction")])
    )

    assert OnnxEngine(path, signature()).run({"x": floats([1, 2])})["prediction"].tolist() == [[-1, -2]]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'x' is missing"),
        ({"y": floats([1, 2])}, "'x' is missing"),
        ({"x": floats([1, 2]), "y": floats([1, 2])}, "no input y"),
        ({"x": floats([1, 2, 3])}, r"float32 \[1, 3\], not FP32 \[-1, 2\]"),
        ({"x": floats([1, 2])[0]}, r"float32 \[2\]"),
        ({"x": np.ones((1, 2))}, "float64"),
        ({"x": np.array([["a", "b"]], dtype=object)}, "object"),
    ],
)
def test_wrong_inputs_are_named(doubler: OnnxEngine, inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        doubler.run(inputs)
    assert caught.value.hint.startswith("The model") or "no input" in caught.value.message


def test_inputs_must_have_the_same_number_of_rows() -> None:
    model = graph(
        [helper.make_node("Identity", ["a"], ["out"]), helper.make_node("Identity", ["b"], ["other"])],
        [value("a"), value("b")],
        [value("out"), value("other")],
    )
    pair = [TensorSpec("a", "FP32", [-1, 2]), TensorSpec("b", "FP32", [-1, 2])]
    outputs = [TensorSpec("out", "FP32", [-1, 2]), TensorSpec("other", "FP32", [-1, 2])]
    engine = OnnxEngine(model, Signature("other", pair, outputs))

    with pytest.raises(InvalidError, match="'b' has 1 rows where others have 2"):
        engine.run({"a": floats([1, 2], [3, 4]), "b": floats([1, 2])})


@pytest.mark.parametrize("data", [b"", b"no model", bytes(1000)], ids=len)
def test_bytes_that_are_no_model_fail(data: bytes) -> None:
    with pytest.raises(FailedError, match="does not load"):
        OnnxEngine(data, signature())


def test_a_missing_file_fails(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="does not load"):
        OnnxEngine(tmp_path / "none.onnx", signature())


@pytest.mark.parametrize("wrong", [signature("y"), signature(output="y"), signature(datatype="FP64")])
def test_a_model_must_be_what_its_signature_says(wrong: Signature) -> None:
    model = graph([helper.make_node("Neg", ["x"], ["prediction"])], [value("x")], [value("prediction")])

    with pytest.raises(FailedError, match="its signature says"):
        OnnxEngine(model, wrong)


def test_a_failure_inside_the_model_is_short() -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 7])
    model = graph(
        [helper.make_node("Reshape", ["x", "shape"], ["prediction"])],
        [value("x")],
        [value("prediction", shape=(None, None))],
        [shape],
    )
    engine = OnnxEngine(model, signature())

    with pytest.raises(FailedError, match="The model failed") as caught:
        engine.run({"x": floats([1, 2])})
    assert len(caught.value.message) < 240
    assert "\n" not in caught.value.message


def test_a_closed_engine_runs_no_more(doubler: OnnxEngine) -> None:
    doubler.close()

    with pytest.raises(FailedError, match="closed"):
        doubler.run({"x": floats([1, 2])})


def test_numbers_of_any_kind_become_one_matrix() -> None:
    frame = pl.DataFrame(
        {"c": [True, None], "a": [1, None], "extra": ["x", "y"], "b": [0.5, 1.5], "d": [None, None]}
    )
    spec = Signature("other", [TensorSpec("input", "FP32", [-1, 4], ["a", "b", "c", "d"])], [])

    matrix = table_inputs(frame, spec)["input"]

    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, floats([1, 0.5, 1, np.nan], [np.nan, 1.5, np.nan, np.nan]))


def test_strings_become_objects_a_column() -> None:
    frame = pl.DataFrame(
        {"s": ["é", "b"], "e": pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"])), "n": [1, 2]}
    )
    inputs = [
        TensorSpec("s", "BYTES", [-1, 1], ["s"]),
        TensorSpec("e", "BYTES", [-1, 1], ["e"]),
        TensorSpec("n", "INT64", [-1, 1]),
    ]

    tensors = table_inputs(frame, Signature("other", inputs, []))

    assert tensors["s"].tolist() == [["é"], ["b"]]
    assert tensors["e"].dtype == np.object_
    assert tensors["n"].dtype == np.dtype(np.int64)
    assert tensors["n"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("frame", "datatype", "words"),
    [
        (pl.DataFrame({"b": [1]}), "FP32", "lacks a"),
        (pl.DataFrame({"a": ["1"], "b": [1]}), "FP32", "takes numbers"),
        (pl.DataFrame({"a": [1], "b": [1]}), "BYTES", "takes strings"),
        (pl.DataFrame({"a": ["x", None], "b": ["y", "z"]}), "BYTES", "fill_null"),
        (pl.DataFrame({"a": [1, None], "b": [1, 2]}), "INT64", "has nulls"),
    ],
)
def test_a_table_of_another_kind_is_refused_by_column(frame: Any, datatype: Datatype, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        table_inputs(frame, signature(datatype=datatype))


def test_two_classes_score_the_second_and_more_score_all() -> None:
    two = predict(classifier(2), pl.DataFrame({"c0": [0.25, 0.75], "c1": [0.75, 0.25]}))
    three = predict(classifier(3), pl.DataFrame({"c0": [0.5], "c1": [0.25], "c2": [0.25]}))

    assert two.labels.tolist() == [1, 0]
    assert two.scores is not None
    assert two.scores.tolist() == [0.75, 0.25]
    assert three.scores is not None
    assert three.scores.tolist() == [[0.5, 0.25, 0.25]]


def test_a_column_of_values_becomes_a_vector_without_scores() -> None:
    model = graph(
        [helper.make_node("ReduceSum", ["x", "axes"], ["prediction"], keepdims=1)],
        [value("x")],
        [value("prediction", shape=(None, 1))],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    spec = Signature(
        "regression",
        [TensorSpec("x", "FP32", [-1, 2], ["a", "b"])],
        [TensorSpec("prediction", "FP32", [-1, 1])],
    )

    answer = predict(OnnxEngine(model, spec), pl.DataFrame({"a": [1, 2], "b": [3, 4]}))

    assert (answer.labels.tolist(), answer.scores) == ([4, 6], None)


def test_a_large_table_is_answered_in_parts() -> None:
    rows = 20_000
    frame = pl.DataFrame({"c0": np.arange(rows) % 2, "c1": 1 - np.arange(rows) % 2})

    answer = predict(classifier(2), frame)

    assert (answer.labels == 1 - np.arange(rows) % 2).all()


def test_a_table_without_rows_is_invalid() -> None:
    with pytest.raises(InvalidError, match="no rows"):
        predict(classifier(2), pl.DataFrame({"c0": [], "c1": []}))


def test_the_engine_is_light_to_import() -> None:
    program = "import sys, kernos.runtime.engine; print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert not {"polars", "sklearn", "onnx", "onnxruntime", "skl2onnx", "scipy"} & set(loaded.split())
