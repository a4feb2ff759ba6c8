"""The Open Inference Protocol v2 in JSON: tensors in, tensors out, every mistake named.

A request's tensors become little-endian bytes, one `bytes` an input (a list for text): a batch is then a
join, and the prediction log keeps the same bytes. JSON has no NaN and no infinity, and packing refuses
what the datatype cannot hold.
Source: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from kernos.base.errors import FailedError, InvalidError
from kernos.runtime.signature import Signature, TensorSpec
from kernos.runtime.tensors import Packed, Tensor, TensorReader, array_of, explain, near, pack, show


class _Wish(msgspec.Struct):
    name: str


class _Question(msgspec.Struct, gc=False):
    inputs: list[Tensor]
    id: str | None = None
    outputs: list[_Wish] | None = None


class Output(msgspec.Struct, gc=False):
    """One tensor of an answer."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class _Ids(msgspec.Struct, gc=False):
    prediction_id: str


class _Answer(msgspec.Struct, gc=False, omit_defaults=True):
    model_name: str
    model_version: str
    parameters: _Ids
    outputs: list[Output]
    id: str | None = None


class Decoded(msgspec.Struct, gc=False):
    """One request's tensors in the order of the signature's inputs; or those of several requests, joined."""

    rows: int
    values: list[Packed]
    shapes: list[list[int]]
    id: str | None = None
    wanted: list[int] | None = None
    """Indexes of the outputs asked for; None for all."""


class Codec:
    """Reads requests to one model version and writes its answers. Pure: the loop and the engine thread
    use it."""

    def __init__(self, app: str, version: int, signature: Signature) -> None:
        self.app = app
        self.version = version
        self.signature = signature
        self.is_batchable = all(_is_open_batch(spec) for spec in signature.inputs)
        """Rows of several requests may run together: the first dimension, and no other, is open."""
        self._question = msgspec.json.Decoder(_Question)
        self._encode = msgspec.json.Encoder().encode
        self._readers = [TensorReader(spec) for spec in signature.inputs]
        self._first_name = signature.inputs[0].name
        self._names = _known_names(signature)

    def decode(self, body: bytes) -> Decoded:
        """The tensors of an infer request. InvalidError says which input is wrong, and why."""
        try:
            question = self._question.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise explain(body, error) from error
        tensors = question.inputs
        if len(tensors) == len(self._readers) == 1 and tensors[0].name == self._first_name:
            values = [self._readers[0].read(tensors[0])]
            shapes = [tensors[0].shape]
        else:
            values, shapes = self._match(tensors)
        rows = shapes[0][0] if shapes[0] else 1
        wanted = None if question.outputs is None else self._wanted(question.outputs)
        return Decoded(rows, values, shapes, question.id, wanted)

    def join(self, requests: Sequence[Decoded]) -> Decoded:
        """The rows of all requests, in order. Several only where `is_batchable`."""
        if len(requests) == 1:
            return requests[0]
        rows = sum([request.rows for request in requests])
        values = [_joined(parts) for parts in zip(*[request.values for request in requests], strict=True)]
        return Decoded(rows, values, [[rows, *shape[1:]] for shape in requests[0].shapes])

    def arrays(self, decoded: Decoded) -> dict[str, np.ndarray]:
        """What the engine takes: views of the packed bytes, read-only."""
        return {
            spec.name: array_of(values, spec.datatype, shape)
            for spec, values, shape in zip(self.signature.inputs, decoded.values, decoded.shapes, strict=True)
        }

    def outputs(self, result: Mapping[str, np.ndarray], rows: int) -> list[np.ndarray]:
        """The engine's result in the signature's order. FailedError where it breaks the signature's
        promise."""
        arrays = []
        for spec in self.signature.outputs:
            array = result.get(spec.name)
            if array is None:
                raise FailedError(f"The model gave no output {spec.name!r}.")
            if self.is_batchable and (array.ndim == 0 or array.shape[0] != rows):
                raise FailedError(f"Output {spec.name!r} has shape {list(array.shape)} for {rows} rows.")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise FailedError(f"Output {spec.name!r} holds NaN or infinity.")
            arrays.append(array)
        return arrays

    def split(self, arrays: Sequence[np.ndarray], rows: Sequence[int]) -> list[list[Output]]:
        """Each request's part of a batch's outputs; `rows` are the requests' row counts."""
        if len(rows) == 1:
            return [[self._output(k, list(a.shape), a.ravel().tolist()) for k, a in enumerate(arrays)]]
        parts: list[list[Output]] = [[] for _ in rows]
        for k, array in enumerate(arrays):
            flat = array.reshape(array.shape[0], -1)
            shape = list(array.shape[1:])
            lists = flat.tolist() if len(rows) == array.shape[0] else _pieces(flat, rows)
            for part, count, data in zip(parts, rows, lists, strict=True):
                part.append(self._output(k, [count, *shape], data))
        return parts

    def encode(self, request: Decoded, prediction_id: str, outputs: list[Output]) -> bytes:
        if request.wanted is not None:
            outputs = [outputs[k] for k in request.wanted]
        return self._encode(_Answer(self.app, str(self.version), _Ids(prediction_id), outputs, request.id))

    def metadata(self, versions: Iterable[int]) -> bytes:
        """The answer of the protocol's model metadata request, with a table's columns as parameters."""
        return self._encode(
            {
                "name": self.app,
                "versions": [str(version) for version in versions],
                "platform": "onnx_onnxv1",
                "inputs": [_describe(spec) for spec in self.signature.inputs],
                "outputs": [_describe(spec) for spec in self.signature.outputs],
            }
        )

    def _output(self, index: int, shape: list[int], data: list[Any]) -> Output:
        spec = self.signature.outputs[index]
        return Output(spec.name, spec.datatype, shape, data)

    def _match(self, tensors: list[Tensor]) -> tuple[list[Packed], list[list[int]]]:
        """Tensors by name, in any order: the signature's own, or one for each column of a table."""
        given: dict[str, Tensor] = {}
        for tensor in tensors:
            if tensor.name in given:
                raise InvalidError(f"Input {show(tensor.name)} is given twice.", hint="Send each input once.")
            given[tensor.name] = tensor
        _check_names(given, [_expected(spec, given) for spec in self.signature.inputs], self._names)
        values, shapes = [], []
        for reader in self._readers:
            spec = reader.spec
            if spec.name in given:
                values.append(reader.read(given[spec.name]))
                shapes.append(given[spec.name].shape)
            else:
                packed, rows = _read_columns(spec, given)
                values.append(packed)
                shapes.append([rows, len(spec.columns)])
        if self.is_batchable and len({shape[0] for shape in shapes}) > 1:
            counts = ", ".join(
                f"{show(spec.name)} {shape[0]}"
                for spec, shape in zip(self.signature.inputs, shapes, strict=True)
            )
            raise InvalidError(f"The inputs differ in their number of rows: {counts[:400]}.")
        return values, shapes

    def _wanted(self, wishes: list[_Wish]) -> list[int]:
        names = [spec.name for spec in self.signature.outputs]
        for wish in wishes:
            if wish.name not in names:
                raise InvalidError(f"There is no output {show(wish.name)}.", hint=near(wish.name, names))
        return [names.index(wish.name) for wish in wishes]


def _is_open_batch(spec: TensorSpec) -> bool:
    return len(spec.shape) > 0 and spec.shape[0] == -1 and all(size > 0 for size in spec.shape[1:])


def _is_table(spec: TensorSpec) -> bool:
    """A matrix with a name for each of its columns."""
    return len(spec.shape) == 2 and len(spec.columns) == spec.shape[1]


def _known_names(signature: Signature) -> list[str]:
    names = [column for spec in signature.inputs if _is_table(spec) for column in spec.columns]
    return list(dict.fromkeys([*names, *(spec.name for spec in signature.inputs)]))


def _expected(spec: TensorSpec, given: Mapping[str, Tensor]) -> list[str]:
    """The names under which this input may come: its own, else its columns'."""
    return [spec.name] if spec.name in given or not _is_table(spec) else spec.columns


def _describe(spec: TensorSpec) -> dict[str, Any]:
    told: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
    return told | ({"parameters": {"columns": spec.columns}} if spec.columns else {})


def _joined(parts: tuple[Packed, ...]) -> Packed:
    if isinstance(parts[0], bytes):
        return b"".join(part for part in parts if isinstance(part, bytes))
    return [text for part in parts for text in part if isinstance(text, str)]


def _pieces(flat: np.ndarray, rows: Sequence[int]) -> list[list[Any]]:
    pieces, start = [], 0
    for count in rows:
        pieces.append(flat[start : start + count].ravel().tolist())
        start += count
    return pieces


def _check_names(
    given: Mapping[str, Tensor], expected: Sequence[Sequence[str]], known: Sequence[str]
) -> None:
    names = dict.fromkeys(name for group in expected for name in group)
    unknown = next((name for name in given if name not in names), None)
    missing = [name for name in names if name not in given]
    if unknown is not None:
        raise InvalidError(f"The model has no input {show(unknown)}.", hint=near(unknown, known))
    if missing:
        told = ", ".join(show(name) for name in missing[:10])
        raise InvalidError(
            f"Missing inputs ({len(missing)}): {told}.", hint="Send one tensor for each input."
        )


def _read_columns(spec: TensorSpec, given: Mapping[str, Tensor]) -> tuple[Packed, int]:
    """The matrix and its rows from one tensor a column, in the signature's order."""
    columns: list[list[Any]] = []
    for name in spec.columns:
        column = TensorReader(TensorSpec(name, spec.datatype, [-1, 1])).elements(given[name])
        if columns and len(column) != len(columns[0]):
            raise InvalidError(
                f"Input {show(name)} has {len(column)} rows, {show(spec.columns[0])} has {len(columns[0])}."
            )
        columns.append(column)
    flat = [value for row in zip(*columns, strict=True) for value in row]
    return pack(flat, spec.datatype, spec.columns), len(columns[0])
