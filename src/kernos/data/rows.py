"""Rows by content: a 64-bit hash, the same on every machine, in every version, in any order of columns.

Integers, times and booleans count by value, floats by their IEEE 754 bits (-0.0 as 0.0, NaN as null),
strings by BLAKE2b. A cell's hash is keyed with its column's name; a row's is the mixed sum of its cells'.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]

_NULL = np.uint64(0x9E3779B97F4A7C15)
"""Any fixed odd constant does; this is 2^64 / golden ratio, as in SplitMix64."""


def row_hashes(frame: pl.DataFrame) -> Hashes:
    """One hash a row, shape [rows]. Equal rows have equal hashes; a type's width is no part of it."""
    total = np.zeros(frame.height, np.uint64)
    for series in frame:
        total += mix(_cells(series) ^ np.uint64(_text_hash(series.name)))
    return mix(total)


def mix(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit in moves all bits out."""
    values = values + _NULL
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _cells(series: pl.Series) -> Hashes:
    if series.null_count() == len(series):
        return np.full(len(series), _NULL)
    if series.dtype.is_float():
        floats = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return np.where(np.isnan(floats), _NULL, (floats + 0.0).view(np.uint64))
    if series.dtype.is_integer() or series.dtype == pl.Boolean:
        numbers = series.cast(pl.UInt64 if series.dtype == pl.UInt64 else pl.Int64)
    elif series.dtype.is_temporal():
        numbers = series.cast(pl.Datetime("us")).cast(pl.Int64)
    else:
        return _text_cells(series)
    bits = numbers.fill_null(0).to_numpy().view(np.uint64)
    return np.where(series.is_null().to_numpy(), _NULL, bits)


def _text_cells(series: pl.Series) -> Hashes:
    """Each distinct string is hashed once: columns of text repeat themselves."""
    distinct = series.cast(pl.String).unique()
    hashes = pl.Series(
        [int(_NULL) if text is None else _text_hash(text) for text in distinct], dtype=pl.UInt64
    )
    return series.cast(pl.String).replace_strict(distinct, hashes, return_dtype=pl.UInt64).to_numpy()


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
