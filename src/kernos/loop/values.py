"""Values on their way between steps: a table, an array, bytes, a Model or plain JSON; never a pickle.

A value travels as a `Value`: its kind and the digest of its blob. Plain JSON travels inside.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from kernos.base.errors import InvalidError
from kernos.catalog.blobs import Blobs

ValueKind = Literal["json", "table", "pandas", "array", "bytes", "model"]


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: ValueKind
    digest: str = ""
    inline: Any = None
    """The value itself when `kind` is json."""
    rows: int = 0
    """Of a table."""


def encode(value: Any, blobs: Blobs, where: str) -> Value:
    """Put `value` where other Runs can read it. `where` names it in the error when it cannot travel."""
    if isinstance(value, bytes):
        return Value("bytes", blobs.put(value))
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    with _travelling(value, where):
        if kind == "polars.DataFrame":
            return Value("table", blobs.put(_parquet(value)), rows=value.height)
        if kind == "pandas.DataFrame":
            import polars as pl

            return Value("pandas", blobs.put(_parquet(pl.from_pandas(value))), rows=len(value))
        if kind == "numpy.ndarray":
            return Value("array", blobs.put(_npy(value)))
        return Value("json", inline=_plain(value))


def decode(value: Value, blobs: Blobs) -> Any:
    """The value again. A Model comes back as its digest: nothing but its ONNX file ever leaves its step."""
    match value.kind:
        case "json":
            return value.inline
        case "bytes":
            return blobs.get(_digest(value))
        case "table" | "pandas":
            import polars as pl

            frame = pl.read_parquet(io.BytesIO(blobs.get(_digest(value))))
            return frame if value.kind == "table" else frame.to_pandas()
        case "array":
            import numpy as np

            return np.load(io.BytesIO(blobs.get(_digest(value))), allow_pickle=False)
        case "model":
            return StoredModel(value.digest)


class StoredModel(msgspec.Struct, frozen=True):
    """A Model that is already stored: what a flow holds after the step that made it."""

    digest: str


def _digest(value: Value) -> Any:
    return value.digest


@contextmanager
def _travelling(value: Any, where: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InvalidError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot travel between steps: {error}.",
            hint="Pass a polars or pandas DataFrame, a numpy array, bytes, a Model, or plain JSON values.",
        ) from error


def _plain(value: Any) -> Any:
    """The JSON value itself: nothing that JSON would turn into something else, but a tuple may become a list."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case str():
            return str(value)
        case float() if math.isfinite(value):
            return float(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {str(key): _plain(item) for key, item in value.items()}
    what = repr(value) if isinstance(value, float) else f"a {type(value).__name__}"
    raise TypeError(f"{what} is no plain JSON value")


def _npy(array: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _parquet(frame: Any) -> bytes:
    import polars as pl

    buffer = io.BytesIO()
    try:
        frame.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
    except pl.exceptions.PolarsError as error:
        raise TypeError(str(error).splitlines()[0].strip()) from error
    return buffer.getvalue()
