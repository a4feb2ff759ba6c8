"""Graphs are checked as a whole: every subgraph, every tensor, every name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kernos.base.errors import RefusedError
from kernos.runtime import graph

FLOAT = TensorProto.FLOAT


def value(name: str, kind: int = FLOAT, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, shape or ("n", 2))


def weight(name: str = "w") -> Any:
    return onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), name)


def elsewhere(tensor: Any) -> Any:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return tensor


def sparse(tensor: Any) -> Any:
    return helper.make_sparse_tensor(tensor, onnx.numpy_helper.from_array(np.arange(4), ""), [2, 2])


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], *weights: Any) -> Any:
    made = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def conditional(*inner: Any) -> Any:
    """`y` is what one of two branches makes of `x`; the branches may hold `inner` nodes."""
    branches = [
        helper.make_graph(
            [*inner, helper.make_node(operator, ["x"], [operator])], operator, [], [value(operator)]
        )
        for operator in ("Abs", "Neg")
    ]
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    return model([node], [value("x")], [value("y")], yes)


def refusal(made: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        graph.parse(made.SerializeToString())
    assert caught.value.hint
    return caught.value.message


def test_a_valid_graph_is_read() -> None:
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x")], [value("y")], weight())

    assert graph.parse(made.SerializeToString()) == made
    assert graph.parse(conditional().SerializeToString()) == conditional()


@pytest.mark.parametrize("data", [b"a pickle", b"\x80\x04\x95"], ids=len)
def test_bytes_that_are_no_graph_are_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="not an ONNX file"):
        graph.parse(data)


def test_external_data_is_found_wherever_it_hides() -> None:
    constant = helper.make_node("Constant", [], ["c"], value=elsewhere(weight()))
    plain = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x")], [value("y")], elsewhere(weight())
    )
    in_attribute = model([constant, helper.make_node("Neg", ["x"], ["y"])], [value("x")], [value("y")])
    in_sparse = model(
        [helper.make_node("Constant", [], ["c"], sparse_value=sparse(elsewhere(weight(""))))],
        [value("x")],
        [value("x")],
    )
    in_list = model([helper.make_node("Neg", ["x"], ["y"])], [value("x")], [value("y")])
    in_list.graph.node[0].attribute.append(helper.make_attribute("extra", [elsewhere(weight())]))
    in_sparse_list = model([helper.make_node("Neg", ["x"], ["y"])], [value("x")], [value("y")])
    in_sparse_list.graph.node[0].attribute.append(helper.make_attribute("e", [sparse(elsewhere(weight("")))]))
    in_initializer = model([helper.make_node("Neg", ["x"], ["y"])], [value("x")], [value("y")])
    in_initializer.graph.sparse_initializer.append(sparse(elsewhere(weight("s"))))

    for made in (
        plain,
        in_attribute,
        in_sparse,
        in_list,
        in_sparse_list,
        in_initializer,
        conditional(constant),
    ):
        assert "other files" in refusal(made)


def test_custom_operators_are_found_in_subgraphs_and_functions() -> None:
    foreign = helper.make_node("Do", ["x"], ["z"], domain="com.example")
    assert refusal(conditional(foreign)) == "The ONNX file uses operators of its own: com.example."

    made = conditional()
    opsets = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("local", "F", ["x"], ["z"], [foreign], opsets))
    assert "com.example" in refusal(made)

    made.functions[0].node[0].domain = ""
    assert refusal(made) == "The ONNX file uses operators of its own: local functions."


def test_a_graph_whose_types_disagree_is_refused() -> None:
    wrong = model([helper.make_node("Neg", ["x"], ["y"])], [value("x")], [value("y", TensorProto.INT64)])

    assert "not valid" in refusal(wrong)


def test_a_spec_has_open_sizes_and_the_protocols_datatypes() -> None:
    spec = graph.tensor_spec(value("a", TensorProto.DOUBLE, "n", 3, 0))

    assert (spec.name, spec.datatype, spec.shape) == ("a", "FP64", [-1, 3, -1])
    assert graph.tensor_spec(value("b", TensorProto.STRING, 1)).datatype == "BYTES"


def test_a_map_or_a_strange_type_has_no_spec() -> None:
    numbers = helper.make_tensor_type_proto(FLOAT, [])
    maps = helper.make_value_info("m", helper.make_sequence_type_proto(numbers))

    for strange in (maps, value("c", TensorProto.COMPLEX64, 1)):
        with pytest.raises(RefusedError, match="zipmap off"):
            graph.tensor_spec(strange)


def test_weights_listed_as_inputs_are_none() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    made = model(nodes, [value("x"), value("w", FLOAT, 2, 2)], [value("y")], weight())

    assert [found.name for found in graph.inputs(made)] == ["x"]


def test_renaming_keeps_the_graph_whole() -> None:
    made = conditional(helper.make_node("Clip", ["x", "", "yes"], ["z"]))
    made.graph.sparse_initializer.append(sparse(weight("s")))
    made.graph.value_info.append(value("y"))

    graph.rename(made, {"x": "hours-per-week", "y": "yes"})

    assert [v.name for v in (*made.graph.input, *made.graph.output)] == ["hours-per-week", "yes"]
    assert made.graph.initializer[0].name == made.graph.node[0].input[0] == "/yes"
    assert made.graph.sparse_initializer[0].values.name == "/s"
    branch = made.graph.node[0].attribute[0].g
    assert list(branch.node[0].input) == ["hours-per-week", "", "/yes"]
    assert branch.output[0].name == branch.node[1].output[0]
    assert not made.graph.value_info


def test_attributes_are_found_by_name() -> None:
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[3, 5])

    found = list(graph.attributes(model([node], [value("x")], [value("x")]), "classlabels_int64s", "other"))

    assert found == [[3, 5]]


def test_only_what_is_small_enough_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MODEL_LIMIT_BYTES", 3)

    graph.refuse_large(b"abc")
    with pytest.raises(RefusedError, match="4 B; the limit is 3 B"):
        graph.refuse_large(b"abcd")
