"""Values on their way between steps: a table, an array, bytes, a Model or plain JSON; never a pickle.

A value travels as a `Value`: its kind and the digest of its blob. Plain JSON travels inside.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import msgspec

from kernos.base.digests import canonical
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
    module = type(value).__module__.partition(".")[0]
    if module == "polars" and type(value).__name__ == "DataFrame":
        return Value("table", blobs.put(_parquet(value)), rows=value.height)
    if module == "pandas" and type(value).__name__ == "DataFrame":
        import polars as pl

        return Value("pandas", blobs.put(_parquet(pl.from_pandas(value))), rows=len(value))
    if module == "numpy" and type(value).__name__ == "ndarray":
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return Value("array", blobs.put(buffer.getvalue()))
    try:
        return Value("json", inline=msgspec.json.decode(canonical(value)))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which cannot travel between steps.",
            hint="Pass a polars or pandas DataFrame, a numpy array, bytes, a Model, or plain JSON values.",
        ) from error


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


def _parquet(frame: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
    return buffer.getvalue()
