"""A model file, run by ONNX Runtime on one thread. What goes in matches the signature, or nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernos.base.errors import FailedError, InvalidError
from kernos.runtime.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, np.dtype[Any]]

NUMPY_TYPES: Mapping[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
"""Datatypes of the Open Inference Protocol v2 as numpy holds them; BYTES are arrays of `str` objects."""

_ORT_TYPES: Mapping[str, str] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_BATCH_ROWS = 8192
_FATAL = 4


class OnnxEngine:
    """One loaded model. `run` may be called from several threads at once."""

    def __init__(self, model: bytes | Path, signature: Signature, *, threads: int = 1) -> None:
        """Load the file. FailedError where ONNX Runtime refuses it or it is not what the signature says."""
        self.signature = signature
        self._session = _open(model, threads)
        self._outputs = [spec.name for spec in signature.outputs]
        self._expected = [(spec, np.dtype(NUMPY_TYPES[spec.datatype])) for spec in signature.inputs]
        _compare("input", signature.inputs, self._session.get_inputs())
        _compare("output", signature.outputs, self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for one batch. InvalidError for wrong inputs, FailedError where the model fails."""
        self._check(inputs)
        if self._session is None:
            raise FailedError("The model is closed.")
        try:
            results = self._session.run(self._outputs, inputs)
        except Exception as error:  # ONNX Runtime's errors share no root but this one
            raise FailedError(f"The model failed: {_brief(error)}") from error
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        """Give the model's memory back. A run that is under way ends as usual."""
        self._session = None

    def _check(self, inputs: Mapping[str, Array]) -> None:
        rows = -1
        for spec, dtype in self._expected:
            array = inputs.get(spec.name)
            if array is None:
                raise InvalidError(f"Input {spec.name!r} is missing.", hint=_takes(self.signature))
            shape = array.shape
            if array.dtype != dtype or len(shape) != len(spec.shape):
                raise InvalidError(_mismatch(spec, array), hint=_takes(self.signature))
            for size, wanted in zip(shape, spec.shape, strict=True):
                if wanted not in (-1, size):
                    raise InvalidError(_mismatch(spec, array), hint=_takes(self.signature))
            if rows not in (-1, shape[0]):
                raise InvalidError(f"Input {spec.name!r} has {shape[0]} rows where others have {rows}.")
            rows = shape[0]
        if len(inputs) != len(self._expected):
            unknown = sorted(set(inputs) - {spec.name for spec in self.signature.inputs})
            raise InvalidError(f"The model has no input {', '.join(unknown)}.", hint=_takes(self.signature))


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of a table, a row each."""

    labels: Array
    """[n]: classes of a classifier, values of a regressor."""
    scores: Array | None
    """Classifiers with probabilities: [n] P(second class) where there are two classes, else [n, k]."""


def table_inputs(frame: pl.DataFrame, signature: Signature) -> dict[str, Array]:
    """The signature's tensors from a table's columns: numbers with null as NaN, strings as objects.

    InvalidError for a column that is missing, of another type, or null where the model takes strings.
    """
    missing = [column for column in signature.columns if column not in frame.columns]
    if missing:
        raise InvalidError(
            f"The table lacks {', '.join(missing)}.", hint=f"The model reads {', '.join(signature.columns)}."
        )
    return {spec.name: _tensor(frame, spec) for spec in signature.inputs}


def predict(engine: OnnxEngine, frame: pl.DataFrame) -> Predictions:
    """Labels and scores for every row, in bounded memory. InvalidError for a table without rows."""
    if frame.height == 0:
        raise InvalidError("The table has no rows.")
    parts = [
        _predictions(engine.run(table_inputs(part, engine.signature)), engine.signature)
        for part in frame.iter_slices(_BATCH_ROWS)
    ]
    labels = np.concatenate([part.labels for part in parts])
    scores = [part.scores for part in parts if part.scores is not None]
    return Predictions(labels, np.concatenate(scores) if scores else None)


def _predictions(outputs: Mapping[str, Array], signature: Signature) -> Predictions:
    labels = outputs[signature.outputs[0].name]
    probabilities = outputs.get("probabilities") if signature.task == "classification" else None
    if probabilities is not None and probabilities.shape[1] == 2:
        probabilities = probabilities[:, 1]
    return Predictions(labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels, probabilities)


def _tensor(frame: pl.DataFrame, spec: TensorSpec) -> Array:
    names = spec.columns or [spec.name]
    if spec.datatype == "BYTES":
        return np.stack([_strings(frame[name]) for name in names], axis=1)
    return np.stack([_numbers(frame[name], spec) for name in names], axis=1)


def _numbers(column: pl.Series, spec: TensorSpec) -> Array:
    import polars as pl

    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise InvalidError(f"Column {column.name!r} is {column.dtype}; the model takes numbers there.")
    if column.null_count():
        if not spec.datatype.startswith("FP"):
            raise InvalidError(f"Column {column.name!r} has nulls; the model takes {spec.datatype} there.")
        column = column.cast(pl.Float64)
    return column.to_numpy().astype(NUMPY_TYPES[spec.datatype])


def _strings(column: pl.Series) -> Array:
    import polars as pl

    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise InvalidError(f"Column {column.name!r} is {column.dtype}; the model takes strings there.")
    if column.null_count():
        raise InvalidError(
            f"Column {column.name!r} has nulls; a model file has no null string.",
            hint=f'Fill them before the model: pl.col("{column.name}").fill_null("missing").',
        )
    return np.array(column.to_list(), dtype=np.object_)


def _open(model: bytes | Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _FATAL
    # Spinning threads burn the cores of their neighbours while they wait.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no root but this one
        raise FailedError(f"The model file does not load: {_brief(error)}") from error


def _compare(what: str, specs: list[TensorSpec], found: list[Any]) -> None:
    promised = {spec.name: spec.datatype for spec in specs}
    has = {node.name: _ORT_TYPES.get(node.type, node.type) for node in found}
    if promised != has:
        raise FailedError(f"The model's {what}s are {has}, its signature says {promised}.")


def _takes(signature: Signature) -> str:
    return "The model takes " + ", ".join(f"{s.name} {s.datatype} {s.shape}" for s in signature.inputs) + "."


def _mismatch(spec: TensorSpec, array: Array) -> str:
    return f"Input {spec.name!r} is {array.dtype} {list(array.shape)}, not {spec.datatype} {spec.shape}."


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
