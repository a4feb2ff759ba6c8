"""What the training rows looked like, small enough to travel in a package, and live rows measured against it.

Every feature is a value in [0, 1] with a bound on its mean that holds if live rows come from where the training rows
came from. The reference is only a sample, so each bound is widened by what a sample of that size leaves open: all of
them hold together with probability 1 - MISS over the draw of the training rows. Small references are thus slow to
alarm, never quick to cry wolf.

- rank: the mid-rank among the reference's values, upwards and downwards; widened by Dvoretzky-Kiefer-Wolfowitz, which
  allows the ranks to be read off the same rows.
- wide, far: beyond the reference's 10-90 % and .1-99.9 % range. Between order statistics r and n + 1 - s lies a share
  distributed as Beta, so the share outside exceeds Chernoff's bound for r + s - 1 of n with the stated risk only.
- category, other, null: indicators; Chernoff's bound. `other` counts categories seen once, too: they estimate what has
  not been seen yet (Good 1953).
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

MISS = 0.01
"""Probability that the training rows are so odd a draw that some bound fails."""
_VALUES = 500
_CATEGORIES = 20
_DISCRETE = 10
"""Numbers with no more distinct values than this are categories."""
_LEAST_MEAN = 0.02
"""Bounds for `less than usual` below this could win next to nothing."""


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
    """The sketch of `columns` in the training rows. Numbers, truth values, times and text; NaN counts as null."""
    return Reference(frame.height, [_sketch(frame[name]) for name in columns])


def features(of: Reference) -> list[Feature]:
    """What is watched, in the order of `measure`'s columns."""
    named = [(column, name) for column in of.columns for name, _, _ in _parts(column, 1.0)]
    risk = MISS / max(1, len(named))
    return [
        Feature(column.name, what, bound) for column in of.columns for what, bound, _ in _parts(column, risk)
    ]


def measure(of: Reference, frame: pl.DataFrame) -> Floats:
    """Live rows as features, [rows, features]. A missing column or a value of another type counts as null."""
    blocks = [_measure(column, live_values(column, frame)) for column in of.columns]
    return np.concatenate([np.empty((frame.height, 0)), *blocks], axis=1)
