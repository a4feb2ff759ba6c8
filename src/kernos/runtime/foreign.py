"""Model files from elsewhere: which tensors are the table, the labels, the probabilities. In doubt, no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kernos.base.errors import RefusedError
from kernos.runtime import graph
from kernos.runtime.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import polars as pl


def read(data: bytes, frame: pl.DataFrame) -> tuple[Any, Signature]:
    """The ModelProto with its outputs renamed, and what it takes and gives for a table such as `frame`.

    The graph takes one matrix [n, d] or one input [n, 1] for each column, named as the column; n is open. It
    gives one float output (a regressor), or int64 or string labels with an optional matrix of probabilities.
    RefusedError for anything else.
    """
    model = graph.parse(data)
    inputs = _inputs([graph.tensor_spec(value) for value in graph.inputs(model)], frame)
    names = _outputs([graph.tensor_spec(value) for value in model.graph.output])
    graph.rename(model, {spec.name: spec.name for spec in inputs} | names)
    by_name = {value.name: graph.tensor_spec(value) for value in model.graph.output}
    outputs = [by_name[name] for name in names.values()]
    if outputs[0].name == "prediction":
        return model, Signature("regression", inputs, outputs)
    return model, Signature("classification", inputs, outputs, _classes(model, outputs))


def _inputs(specs: list[TensorSpec], frame: pl.DataFrame) -> list[TensorSpec]:
    if len(specs) == 1 and len(specs[0].shape) == 2 and specs[0].shape[1] in (-1, frame.width):
        specs = [
            msgspec.structs.replace(specs[0], shape=[specs[0].shape[0], frame.width], columns=frame.columns)
        ]
    else:
        specs = [msgspec.structs.replace(spec, columns=[spec.name]) for spec in specs]
    for spec in specs:
        if len(spec.shape) != 2 or spec.shape[1] not in (-1, len(spec.columns)):
            raise RefusedError(
                f"Input {spec.name!r} has shape {spec.shape}, the example {frame.width} columns.",
                hint="A table goes in as one matrix [n, d], or as one input [n, 1] for each column.",
            )
        if spec.shape[0] != -1:
            raise RefusedError(
                f"Input {spec.name!r} takes {spec.shape[0]} rows, no more and no less.",
                hint="Export with an open first dimension (dynamic_axes, or dynamic_shapes in torch).",
            )
    return specs


def _outputs(specs: list[TensorSpec]) -> dict[str, str]:
    """What each output will be called, labels first."""
    floats = [spec for spec in specs if spec.datatype in ("FP32", "FP64")]
    labels = [spec for spec in specs if spec.datatype in ("INT64", "BYTES") and len(spec.shape) == 1]
    matrices = [spec for spec in floats if len(spec.shape) == 2 and spec.shape[1] != 1]
    if len(labels) == 1 and len(specs) == 1 + len(matrices) and len(matrices) <= 1:
        return {labels[0].name: "label"} | {spec.name: "probabilities" for spec in matrices}
    if len(specs) == len(floats) == 1 and floats[0].shape[1:] in ([], [1]):
        return {floats[0].name: "prediction"}
    shapes = ", ".join(f"{spec.name} {spec.datatype} {spec.shape}" for spec in specs)
    raise RefusedError(
        f"The outputs {shapes} are neither a classifier's nor a regressor's.",
        hint="Give labels [n] (ArgMax) and probabilities [n, k] (Softmax), or one float output [n, 1].",
    )


def _classes(model: Any, outputs: list[TensorSpec]) -> list[int | str]:
    """As a classifier node names them; else 0, 1, … where labels are numbers, none where they are strings."""
    count = outputs[1].shape[1] if len(outputs) == 2 else -1
    for values in graph.attributes(model, "classlabels_int64s", "classlabels_ints", "classlabels_strings"):
        if len(values) == count:
            return [value.decode() if isinstance(value, bytes) else value for value in values]
    return list(range(count)) if outputs[0].datatype == "INT64" else []
