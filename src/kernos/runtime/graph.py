"""ONNX graphs: what they may hold, what their tensors are, what they are called.

Specification: ONNX IR, https://onnx.ai/onnx/repo-docs/IR.html. The onnx library is imported inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from kernos.base.errors import RefusedError
from kernos.base.units import show_bytes
from kernos.runtime.signature import Datatype, TensorSpec

MODEL_LIMIT_BYTES = 512 * 2**20
"""A protobuf file ends at 2 GiB, and a package is read into memory where it is served."""
_STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_DATATYPES: Mapping[str, str] = {
    "BOOL": "BOOL",
    "UINT8": "UINT8",
    "UINT16": "UINT16",
    "UINT32": "UINT32",
    "UINT64": "UINT64",
    "INT8": "INT8",
    "INT16": "INT16",
    "INT32": "INT32",
    "INT64": "INT64",
    "FLOAT16": "FP16",
    "FLOAT": "FP32",
    "DOUBLE": "FP64",
    "STRING": "BYTES",
}


def parse(data: bytes) -> Any:
    """The ModelProto in `data`. RefusedError unless it is valid, in one piece and of standard operators."""
    import onnx

    refuse_large(data)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own DecodeError, in one of its three implementations
        raise RefusedError(
            "The bytes are not an ONNX file.", hint="Give the bytes of a .onnx file."
        ) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise RefusedError(
            "The ONNX file keeps weights in other files.",
            hint="Save it in one piece: onnx.save_model(model, path, save_as_external_data=False).",
        )
    foreign = sorted({node.domain for node in _nodes(model)} - _STANDARD_DOMAINS)
    if foreign or model.functions:
        raise RefusedError(
            f"The ONNX file uses operators of its own: {', '.join(foreign) or 'local functions'}.",
            hint="Export with standard operators; onnx.inliner.inline_local_functions inlines functions.",
        )
    check(model)
    return model


def check(model: Any) -> None:
    """RefusedError unless the graph follows the specification and its shapes agree."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RefusedError(
            f"The ONNX graph is not valid: {str(error).strip().splitlines()[0][:200]}",
            hint="Export the model again; onnx.checker.check_model shows the same.",
        ) from error


def refuse_large(data: bytes) -> None:
    if len(data) > MODEL_LIMIT_BYTES:
        raise RefusedError(
            f"The model file has {show_bytes(len(data))}; the limit is {show_bytes(MODEL_LIMIT_BYTES)}.",
            hint="Use fewer or shallower trees, or fewer neighbours and weights.",
        )


def tensor_spec(value: Any) -> TensorSpec:
    """Name, datatype and shape of an input or output; sizes left open are -1. RefusedError for a map."""
    import onnx

    tensor = value.type.tensor_type
    datatype = _DATATYPES.get(onnx.TensorProto.DataType.Name(tensor.elem_type))
    if not value.type.HasField("tensor_type") or datatype is None:
        raise RefusedError(
            f"{value.name!r} is not a tensor of numbers or strings.",
            hint="Export classifiers with zipmap off, so that probabilities are a matrix.",
        )
    sizes = [d.dim_value if d.dim_value > 0 else -1 for d in tensor.shape.dim]
    return TensorSpec(value.name, cast(Datatype, datatype), sizes)


def inputs(model: Any) -> list[Any]:
    """The graph's true inputs: old files list their weights there too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def rename(model: Any, names: Mapping[str, str]) -> None:
    """Give tensors new names, in subgraphs too. All others get a leading `/`, so that none collide."""

    def new(name: str) -> str:
        return names.get(name, f"/{name}") if name else name

    _rename_graph(model.graph, new)


def attributes(model: Any, *names: str) -> Iterator[list[Any]]:
    """The values of list attributes with one of `names`, node by node."""
    import onnx

    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.name in names:
                yield list(onnx.helper.get_attribute_value(attribute))


def _rename_graph(graph: Any, new: Callable[[str], str]) -> None:
    del graph.value_info[:]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new(value.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = new(sparse.values.name)
    for node in graph.node:
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                _rename_graph(inner, new)


def _graphs(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _all_graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in _graphs(attribute):
                yield from _all_graphs(inner)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _all_graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _all_graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)
