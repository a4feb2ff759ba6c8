"""One tensor of a request, read strictly: datatype, shape, count, every element; or an error that names
it."""

from __future__ import annotations

import difflib
import json
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from kernos.base.errors import InvalidError
from kernos.runtime.signature import Datatype, TensorSpec

Packed = bytes | list[str]
"""A tensor's elements, row-major: little-endian bytes, or texts for BYTES."""

_CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_SHOWN = 80
_EXPLAIN_BYTES = 1 << 20
"""A malformed body larger than this is not searched for the NaN that may have spoilt it."""


class Tensor(msgspec.Struct, gc=False):
    """As it stands in the request; `data` is not decoded until the datatype is known."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


def _element(datatype: str) -> type:
    if datatype == "BYTES":
        return str
    if datatype == "BOOL":
        return bool
    return float if datatype.startswith("FP") else int


_LISTS: dict[str, Callable[[Any], list[Any]]] = {
    datatype: msgspec.json.Decoder(list[_element(datatype)]).decode  # type: ignore[misc]  # a type made here
    for datatype in (*_CODES, "BYTES")
}


class TensorReader:
    """Reads tensors for one input. A column (`[-1, 1]`) may also come as `[n]` and as a narrower kind of
    number."""

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self._is_column = spec.shape == [-1, 1]
        width = math.prod(spec.shape[1:])
        self._row = (
            struct.Struct(f"<{width}{_CODES[spec.datatype]}")
            if spec.datatype != "BYTES" and width > 0
            else None
        )
        self._width = width

    def read(self, tensor: Tensor) -> Packed:
        """The packed elements; `tensor.shape` is the signature's afterwards. InvalidError names the input."""
        values = self.elements(tensor)
        if self._row is not None and len(values) == self._width:
            try:
                return self._row.pack(*values)
            except (OverflowError, struct.error):
                pass  # told below, with the element's place
        return pack(values, self.spec.datatype, [self.spec.name])

    def elements(self, tensor: Tensor) -> list[Any]:
        spec = self.spec
        if tensor.datatype != spec.datatype:
            self._check_datatype(tensor)
        count = self._check_shape(tensor)
        try:
            values = _LISTS[tensor.datatype](tensor.data)
        except (msgspec.DecodeError, RecursionError):
            values = _flat(tensor)
        if len(values) != count:
            raise InvalidError(
                f"Input {show(spec.name)} has {len(values)} elements; its shape holds {count}.",
                hint="Send as many elements as the shape says, row by row.",
            )
        return values

    def _check_datatype(self, tensor: Tensor) -> None:
        wanted, given = self.spec.datatype, tensor.datatype
        if self._is_column and given in _LISTS:
            kinds = {float: (float, int, bool), int: (int, bool)}
            if _element(given) in kinds.get(_element(wanted), ()):
                return
        hint = f"Send {wanted}." if given in _LISTS else near(given, list(_LISTS))
        raise InvalidError(f"Input {show(self.spec.name)} is {wanted}; {show(given)} was sent.", hint=hint)

    def _check_shape(self, tensor: Tensor) -> int:
        shape, wanted = tensor.shape, self.spec.shape
        if self._is_column and len(shape) == 1:
            shape = tensor.shape = [shape[0], 1]
        if len(shape) == len(wanted) and all(
            given > 0 and size in (given, -1) for given, size in zip(shape, wanted, strict=True)
        ):
            return math.prod(shape)
        expected = "[" + ", ".join("n" if size == -1 else str(size) for size in wanted) + "]"
        raise InvalidError(
            f"Input {show(self.spec.name)} has shape {str(shape)[:_SHOWN]}; the model takes {expected}.",
            hint="n is the number of rows, at least 1." if -1 in wanted else "",
        )


def pack(values: Sequence[Any], datatype: Datatype, names: Sequence[str]) -> Packed:
    """Elements as little-endian bytes; `names` are the columns', in turn. InvalidError tells the first
    element that `datatype` cannot hold."""
    if datatype == "BYTES":
        return list(values)
    try:
        return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)
    except (OverflowError, struct.error) as error:
        place = next(k for k, value in enumerate(values) if not _fits(value, datatype))
        name, row = names[place % len(names)], place // len(names)
        raise InvalidError(
            f"Input {show(name)} holds a number at place {row} that {datatype} cannot.",
            hint="Send finite numbers in its range.",
        ) from error


def array_of(values: Packed, datatype: Datatype, shape: Sequence[int]) -> np.ndarray:
    """A read-only view of packed bytes; for texts an array of objects."""
    if isinstance(values, list):
        return np.array(values, dtype=object).reshape(shape)
    return np.frombuffer(values, dtype="<" + _CODES[datatype]).reshape(shape)


def explain(body: bytes, error: Exception) -> InvalidError:
    """Why a body is no infer request; names the input with NaN or infinity, which JSON does not know."""
    name = None if isinstance(error, msgspec.ValidationError) else _spoilt_input(body)
    if name is not None:
        return InvalidError(
            f"Input {show(name)} holds NaN or infinity.", hint="Fill or drop missing values before you ask."
        )
    return InvalidError(
        f"The body is not an infer request: {error}.",
        hint='Send {"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}.',
    )


def show(name: str) -> str:
    """A name from outside, quoted and cut."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")


def near(name: str, known: Sequence[str]) -> str:
    """A hint with the known names nearest to `name`."""
    close = difflib.get_close_matches(name[:_SHOWN], known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(show(one) for one in close)}?"
    more = ", …" if len(known) > 10 else ""
    return f"Known: {', '.join(show(one) for one in known[:10])}{more}."


def _flat(tensor: Tensor) -> list[Any]:
    """Nested rows, which the protocol allows too, as one list."""
    kind: Any = list[_element(tensor.datatype)]  # type: ignore[misc]  # a type made here
    try:
        flat: list[Any] = msgspec.convert(_flattened(msgspec.json.decode(tensor.data), tensor.shape), kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidError(
            f"Input {show(tensor.name)} is not {tensor.datatype} data of its shape: {error}.",
            hint="NaN, infinity and null are refused; numbers are not quoted.",
        ) from error
    return flat


def _flattened(value: Any, shape: Sequence[int]) -> list[Any]:
    level = [value]
    for size in shape:
        if not all(isinstance(part, list) and len(part) == size for part in level):
            return value if isinstance(value, list) else level
        level = [inner for part in level for inner in part]
    return level


def _fits(value: Any, datatype: Datatype) -> bool:
    try:
        struct.pack("<" + _CODES[datatype], value)
    except (OverflowError, struct.error):
        return False
    return True


def _spoilt_input(body: bytes) -> str | None:
    if len(body) > _EXPLAIN_BYTES:
        return None
    try:
        question = json.loads(body)
    except (ValueError, RecursionError):
        return None
    inputs = question.get("inputs") if isinstance(question, dict) else None
    for tensor in inputs if isinstance(inputs, list) else []:
        if isinstance(tensor, dict) and _is_spoilt(tensor.get("data")):
            return str(tensor.get("name"))
    return None


def _is_spoilt(data: Any) -> bool:
    if isinstance(data, list):
        return any(_is_spoilt(part) for part in data)
    return isinstance(data, float) and not math.isfinite(data)
