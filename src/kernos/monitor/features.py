"""What the training rows looked like, small enough to travel in a package, and live rows measured against it.

Every feature is a value in [0, 1] with a bound on its mean that holds if live rows come from where the
training rows came from. The reference is only a sample, so each bound is widened by what a sample of that
size leaves open: all of them hold together with probability 1 - MISS over the draw of the training rows.
Small references are thus slow to alarm, never quick to cry wolf.

- rank: the mid-rank among the reference's values, upwards and downwards; widened by
  Dvoretzky-Kiefer-Wolfowitz, which allows the ranks to be read off the same rows.
- wide, far: beyond the reference's 10-90 % and .1-99.9 % range. Between order statistics r and n + 1 - s
  lies a share distributed as Beta, so the share outside exceeds Chernoff's bound for r + s - 1 of n with
  the stated risk only.
- category, other, null: indicators; Chernoff's bound. `other` counts categories seen once, too: they
  estimate what has not been seen yet (Good 1953).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from kernos.monitor.bounds import distribution_distance, mean_above, mean_below

Floats = npt.NDArray[np.float64]

MISS = 0.001
"""Probability that the training rows are so odd a draw that some bound fails."""
_VALUES = 500
_CATEGORIES = 20
_DISCRETE = 10
"""Numbers with no more distinct values than this are categories."""


class ColumnReference(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["number", "discrete", "text"]
    rows: int
    """Training rows with a value."""
    nulls: int
    values: list[float] = []
    """`number`: up to 500 evenly spaced order statistics."""
    middle: float = 0.5
    """`number`: the mean mid-rank of all training rows among `values`."""
    wide: tuple[float, float] = (0.0, 0.0)
    far: tuple[float, float] = (0.0, 0.0)
    beyond: tuple[int, int] = (0, 0)
    """Training rows strictly outside `wide` and `far`."""
    categories: list[float | str] = []
    """`discrete`, `text`: the commonest ones, up to 20."""
    counts: list[int] = []
    once: int = 0
    """Categories in one training row only."""


class Reference(msgspec.Struct, frozen=True):
    """`reference.json` of a package."""

    rows: int
    columns: list[ColumnReference]
    format: int = 1


@dataclass(frozen=True, slots=True)
class Feature:
    column: str
    what: str
    """In words, for a person: `is higher`."""
    bound: float
    """The largest mean that counts as no change."""


def reference(frame: pl.DataFrame, columns: Sequence[str]) -> Reference:
    """The sketch of `columns` in the training rows: numbers, times, all else as text; NaN counts as null."""
    return Reference(frame.height, [_sketch(frame[name]) for name in columns])


def features(of: Reference) -> list[Feature]:
    """What is watched, in the order of `measure`'s columns."""
    statements = sum(_statements(column) for column in of.columns)
    return [feature for column in of.columns for feature in _features(column, MISS / statements)]


def measure(of: Reference, frame: pl.DataFrame) -> Floats:
    """Live rows as features, [rows, features]; NaN where a row has no value to speak of."""
    blocks = [_measure(column, live_values(column, frame)) for column in of.columns]
    return np.concatenate([np.empty((frame.height, 0)), *blocks], axis=1)


def live_values(column: ColumnReference, frame: pl.DataFrame) -> pl.Series:
    """The column as floats or text, as the reference has it; null where it is missing or of another type."""
    if column.name not in frame.columns:
        return pl.Series(column.name, [None] * frame.height, dtype=_dtype(column))
    return _plain(frame[column.name]).cast(_dtype(column), strict=False)


def category_counts(column: ColumnReference, values: pl.Series) -> list[int]:
    """Rows per category of the reference, and last those of any other."""
    present = values.drop_nulls()
    counts = [int((present == category).sum()) for category in column.categories]
    return [*counts, len(present) - sum(counts)]


def _dtype(column: ColumnReference) -> pl.DataType:
    return pl.String() if column.kind == "text" else pl.Float64()


def _plain(series: pl.Series) -> pl.Series:
    """Numbers and times as floats (microseconds), all else as text; NaN as null."""
    if series.dtype.is_temporal():
        series = series.cast(pl.Datetime("us")).cast(pl.Int64)
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_nan(None)
    return series.cast(pl.String)


def _sketch(series: pl.Series) -> ColumnReference:
    plain = _plain(series)
    present = plain.drop_nulls()
    shared = (series.name, len(present), plain.null_count())
    if plain.dtype == pl.String or present.n_unique() <= _DISCRETE:
        return _sketch_categories(present, *shared)
    return _sketch_numbers(np.sort(present.to_numpy()), *shared)


def _sketch_categories(present: pl.Series, name: str, rows: int, nulls: int) -> ColumnReference:
    table = (
        present.value_counts()
        .rename({present.name: "category"})
        .sort("count", "category", descending=[True, False])
    )
    common = table.head(_CATEGORIES)
    return ColumnReference(
        name,
        "text" if present.dtype == pl.String else "discrete",
        rows,
        nulls,
        categories=common["category"].to_list(),
        counts=common["count"].to_list(),
        once=int((table["count"] == 1).sum()),
    )


def _sketch_numbers(ordered: Floats, name: str, rows: int, nulls: int) -> ColumnReference:
    picks = np.linspace(0, rows - 1, min(rows, _VALUES)).round().astype(np.int64)
    values = ordered[picks]
    wide, far = _range(ordered, 0.1), _range(ordered, 0.001)
    return ColumnReference(
        name,
        "number",
        rows,
        nulls,
        values=values.tolist(),
        middle=float(_ranks(values, ordered).mean()),
        wide=wide,
        far=far,
        beyond=(int(_outside(ordered, wide).sum()), int(_outside(ordered, far).sum())),
    )


def _range(ordered: Floats, share: float) -> tuple[float, float]:
    """The order statistics that leave about `share` of the rows below and as many above."""
    skip = int(share * (len(ordered) - 1))
    return float(ordered[skip]), float(ordered[len(ordered) - 1 - skip])


def _ranks(values: Floats, of: Floats) -> Floats:
    return (np.searchsorted(values, of, "left") + np.searchsorted(values, of, "right")) / (2 * len(values))


def _outside(of: Floats, bounds: tuple[float, float]) -> npt.NDArray[np.bool_]:
    return (of < bounds[0]) | (of > bounds[1])


def _statements(column: ColumnReference) -> int:
    """How many claims about the training distribution the column's bounds make."""
    return 4 if column.kind == "number" else 2 * len(column.categories) + 2


def _features(column: ColumnReference, risk: float) -> Iterator[Feature]:
    name, rows, total = column.name, column.rows, column.rows + column.nulls
    if column.kind == "number":
        slack = distribution_distance(rows, risk)
        yield Feature(name, "is higher", min(1.0, column.middle + slack))
        yield Feature(name, "is lower", min(1.0, 1 - column.middle + slack))
        for what, outside in zip(("is spread wider", "has more outliers"), column.beyond, strict=True):
            yield Feature(name, what, mean_above(min(1.0, (outside + 1) / max(rows, 1)), rows, risk))
    else:
        for category, count in zip(column.categories, column.counts, strict=True):
            yield Feature(name, f"is more often {category}", mean_above(count / rows, rows, risk))
            yield Feature(name, f"is less often {category}", 1 - mean_below(count / rows, rows, risk))
        unseen = rows - sum(column.counts) + min(column.once, sum(column.counts))
        yield Feature(
            name, "has more new categories", mean_above(min(1.0, unseen / max(rows, 1)), rows, risk)
        )
    yield Feature(name, "is missing more often", mean_above(column.nulls / max(total, 1), total, risk))


def _measure(column: ColumnReference, values: pl.Series) -> Floats:
    """The column's features, [rows, features], in the order of `_features`."""
    nulls = values.is_null().to_numpy()
    if column.kind == "number":
        floats = values.fill_null(0.0).to_numpy()
        ranks = _ranks(np.asarray(column.values), floats)
        parts = [ranks, 1 - ranks, _outside(floats, column.wide), _outside(floats, column.far)]
    else:
        is_one = [(values == category).fill_null(value=False).to_numpy() for category in column.categories]
        parts = [part for one in is_one for part in (one, ~one)]
        parts.append(~np.any([*is_one, nulls], axis=0))
    block = np.column_stack([*parts, nulls]).astype(np.float64)
    block[nulls, :-1] = np.nan
    return block
