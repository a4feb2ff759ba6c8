"""Model files from elsewhere: what is understood, and what is refused with the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper

from kernos.base.errors import InvalidError, RefusedError
from kernos.runtime.convert import Converted, from_onnx
from kernos.runtime.engine import OnnxEngine, predict

TABLE = pl.DataFrame({"a": [0.1, 0.9], "b": [0.9, 0.1]})
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def value(name: str, kind: int, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], *weights: Any, domain: str = "x") -> Any:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    if any(node.domain == domain for node in nodes):
        opsets.append(helper.make_opsetid(domain, 1))
    made = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


MATRIX = value("x", FLOAT, "n", 2)
ARGMAX = helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0)
SOFTMAX = helper.make_node("Softmax", ["x"], ["odds"], axis=1)
BEST, ODDS = value("best", INT64, "n"), value("odds", FLOAT, "n", 2)


def read(made: Any, table: pl.DataFrame = TABLE) -> Converted:
    return from_onnx(made.SerializeToString(), table)


def test_a_classifier_is_renamed_and_answers() -> None:
    for outputs in ([BEST, ODDS], [ODDS, BEST]):
        converted = read(model([ARGMAX, SOFTMAX], [MATRIX], outputs))

        made = converted.signature
        assert (made.task, made.classes, made.columns) == ("classification", [0, 1], ["a", "b"])
        assert [spec.name for spec in made.outputs] == ["label", "probabilities"]
        answer = predict(OnnxEngine(converted.onnx, made), TABLE)
        assert answer.labels.tolist() == [1, 0]
        assert answer.scores is not None
        assert answer.scores[0] == pytest.approx(1 - answer.scores[1])


def test_labels_alone_are_a_classifier() -> None:
    made = read(model([ARGMAX], [MATRIX], [BEST])).signature

    assert (made.classes, [spec.name for spec in made.outputs]) == ([], ["label"])


def test_a_column_of_floats_is_a_regressor() -> None:
    axes = helper.make_tensor("axes", INT64, [1], [1])
    for keep, shape in ((1, ("n", 1)), (0, ("n",))):
        node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=keep)
        converted = read(model([node], [MATRIX], [value("y", FLOAT, *shape)], axes))

        assert converted.signature.task == "regression"
        answer = predict(OnnxEngine(converted.onnx, converted.signature), TABLE)
        assert answer.labels.tolist() == [1.0, 1.0]


def test_an_input_a_column_takes_the_columns_of_its_name() -> None:
    nodes = [helper.make_node("Concat", ["b", "a"], ["x"], axis=1), ARGMAX, SOFTMAX]
    made = model(nodes, [value("b", FLOAT, "n", 1), value("a", FLOAT, "n", 1)], [BEST, ODDS])

    converted = read(made, TABLE.with_columns(unused=pl.lit("text")))

    assert converted.signature.columns == ["b", "a"]
    assert predict(OnnxEngine(converted.onnx, converted.signature), TABLE).labels.tolist() == [0, 1]


def test_classes_come_from_the_classifier_in_the_graph() -> None:
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["best", "odds"],
        domain="ai.onnx.ml",
        coefficients=[1.0, 0.0, 0.0, 1.0],
        intercepts=[0.0, 0.0],
        classlabels_strings=["no", "yes"],
        post_transform="SOFTMAX",
    )
    converted = read(model([node], [MATRIX], [value("best", STRING, "n"), ODDS]))

    assert converted.signature.classes == ["no", "yes"]
    assert predict(OnnxEngine(converted.onnx, converted.signature), TABLE).labels.tolist() == ["yes", "no"]


def test_other_number_types_are_taken_as_they_are() -> None:
    nodes = [helper.make_node("Cast", ["i"], ["x"], to=FLOAT), ARGMAX, SOFTMAX]
    converted = read(
        model(nodes, [value("i", INT64, "n", 2)], [BEST, ODDS]), pl.DataFrame({"a": [1], "b": [2]})
    )

    assert converted.signature.inputs[0].datatype == "INT64"


def test_tensors_inside_may_have_the_names_of_outputs() -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["label"]),
        helper.make_node("Neg", ["label"], ["back"]),
        helper.make_node("ArgMax", ["back"], ["best"], axis=1, keepdims=0),
    ]
    converted = read(model(nodes, [MATRIX], [BEST]))

    assert predict(OnnxEngine(converted.onnx, converted.signature), TABLE).labels.tolist() == [1, 0]


def branch(name: str) -> Any:
    return helper.make_graph(
        [helper.make_node(name, ["x"], [f"{name}_out"])], name, [], [value(f"{name}_out", FLOAT, "n", 2)]
    )


def test_names_are_changed_in_subgraphs_too() -> None:
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    nodes = [
        helper.make_node("If", ["yes"], ["odds"], then_branch=branch("Abs"), else_branch=branch("Neg")),
        ARGMAX,
    ]
    converted = read(model(nodes, [MATRIX], [BEST, ODDS], yes))

    assert predict(OnnxEngine(converted.onnx, converted.signature), TABLE).labels.tolist() == [1, 0]


def external() -> Any:
    weight = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return model([helper.make_node("MatMul", ["x", "w"], ["odds"]), ARGMAX], [MATRIX], [BEST, ODDS], weight)


def local_function() -> Any:
    made = model([helper.make_node("Twice", ["x"], ["odds"], domain="x"), ARGMAX], [MATRIX], [BEST, ODDS])
    made.functions.append(
        helper.make_function(
            "x",
            "Twice",
            ["i"],
            ["o"],
            [helper.make_node("Add", ["i", "i"], ["o"])],
            [helper.make_opsetid("", 18)],
        )
    )
    return made


def unknown(domain: str, operator: str) -> Any:
    return model([helper.make_node(operator, ["x"], ["odds"], domain=domain), ARGMAX], [MATRIX], [BEST, ODDS])


def three_outputs() -> Any:
    nodes = [ARGMAX, SOFTMAX, helper.make_node("Neg", ["x"], ["z"])]
    return model(nodes, [MATRIX], [BEST, ODDS, value("z", FLOAT, "n", 2)])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (external(), "other files"),
        (local_function(), "operators of its own: x"),
        (unknown("x", "Do"), "operators of its own: x"),
        (unknown("", "Nonsense"), "not valid"),
        (model([ARGMAX], [MATRIX], [value("best", FLOAT, "n")]), "not valid"),
        (model([ARGMAX], [value("x", FLOAT, 1, 2)], [value("best", INT64, 1)]), "takes 1 rows"),
        (model([ARGMAX], [value("x", FLOAT, "n", 3)], [BEST]), "example 2 columns"),
        (model([SOFTMAX], [MATRIX], [ODDS]), "neither a classifier's nor a regressor's"),
        (three_outputs(), "neither a classifier's nor a regressor's"),
        (
            model([ARGMAX, helper.make_node("Neg", ["x"], ["odds"])], [MATRIX], [BEST, ODDS]),
            "between 0 and 1",
        ),
    ],
    ids=lambda made: made if isinstance(made, str) else "",
)
def test_what_is_not_understood_is_refused(made: Any, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        read(made)
    assert caught.value.hint


def test_a_zipmap_is_refused_with_the_option_that_avoids_it() -> None:
    zipmap = helper.make_node("ZipMap", ["odds"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    )
    made = model([ARGMAX, SOFTMAX, zipmap], [MATRIX], [BEST, helper.make_value_info("maps", kind)])

    with pytest.raises(RefusedError, match="zipmap off"):
        read(made)


@pytest.mark.parametrize("data", [b"", b"\x08\x07", b"a pickle", b"PK\x03\x04"], ids=len)
def test_bytes_that_are_no_graph_are_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        from_onnx(data, TABLE)


def test_a_file_above_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    from kernos.runtime import graph

    monkeypatch.setattr(graph, "MODEL_LIMIT_BYTES", 10)
    with pytest.raises(RefusedError, match="the limit is 10 B"):
        from_onnx(b"x" * 11, TABLE)


def test_a_graph_that_fails_on_the_example_is_refused() -> None:
    shape = helper.make_tensor("shape", INT64, [2], [2, 2])
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["odds"]), ARGMAX]

    with pytest.raises(RefusedError, match="does not answer the example"):
        read(model(nodes, [MATRIX], [BEST, ODDS], shape), TABLE)


def test_an_example_that_does_not_fit_is_invalid() -> None:
    with pytest.raises(InvalidError, match="takes numbers"):
        read(model([ARGMAX], [MATRIX], [BEST]), pl.DataFrame({"a": ["x"], "b": ["y"]}))
