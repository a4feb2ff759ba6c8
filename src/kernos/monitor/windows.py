"""Which columns differ now: a two-sample test each over the newest rows, corrected for their number.

These describe; the alarm is the e-detector's. Asked again and again, tests at a fixed level cry wolf sooner
or later.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from kernos.monitor.features import ColumnReference, Reference, category_counts, live_values

LEVEL = 0.05
"""Probability that any column of an unchanged window is called drifted (Bonferroni)."""
LEAST_ROWS = 50
"""Fewer live values say too little: no test."""
_BINS = 10
_LEAST_EXPECTED = 5.0
"""Cochran's rule: the chi-squared approximation wants so many rows expected in each cell."""


class ColumnTest(msgspec.Struct, frozen=True):
    """The fields of the API's ColumnDrift."""

    column: str
    test: str
    """`ks` (numbers) or `chi2` (categories)."""
    p_value: float | None
    threshold: float
    psi: float | None
    """Population stability index, reported only: its false alarms depend on the number of rows."""
    drifted: bool


def compare_columns(of: Reference, window: pl.DataFrame) -> list[ColumnTest]:
    """One test a column of the newest rows against the training rows."""
    threshold = LEVEL / max(1, len(of.columns))
    return [_compare(column, live_values(column, window), threshold) for column in of.columns]


def ks_p_value(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Two-sample Kolmogorov-Smirnov, both sorted; asymptotic, with Stephens' correction for small samples.

    Ties make it conservative. (Stephens, JRSS B 1970; Press et al., Numerical Recipes 14.3.)
    """
    every = np.concatenate([a, b])
    distance = np.abs(
        np.searchsorted(a, every, "right") / len(a) - np.searchsorted(b, every, "right") / len(b)
    ).max()
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    x = (root + 0.12 + 0.11 / root) * float(distance)
    if x < 0.2:
        return 1.0
    total = 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, total))


def chi2_p_value(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Pearson's test that two rows of counts have one distribution; rare categories are taken together."""
    table = _merged(np.asarray([a, b], np.float64))
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return _chi2_tail(float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1)


def psi(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Population stability index of two rows of counts; half a row stands in for an empty cell."""
    p, q = (np.maximum(np.asarray(counts, np.float64), 0.5) for counts in (a, b))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def _compare(column: ColumnReference, values: pl.Series, threshold: float) -> ColumnTest:
    present = values.drop_nulls()
    test = "ks" if column.kind == "number" else "chi2"
    if len(present) < LEAST_ROWS or column.rows < LEAST_ROWS:
        return ColumnTest(column.name, test, None, threshold, None, drifted=False)
    if column.kind == "number":
        before, now = np.asarray(column.values), np.sort(present.to_numpy())
        edges = np.unique(np.quantile(before, np.arange(1, _BINS) / _BINS))
        counts = [
            np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (before, now)
        ]
        p_value, distance = ks_p_value(before, now), psi(*counts)
    else:
        known = [*column.counts, column.rows - sum(column.counts)]
        live = category_counts(column, present)
        p_value, distance = chi2_p_value(known, live), psi(known, live)
    return ColumnTest(column.name, test, p_value, threshold, distance, drifted=p_value < threshold)


def _merged(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    table = table[:, table.sum(0) > 0]
    expected = table.sum(1).min() * table.sum(0) / table.sum()
    rare = expected < _LEAST_EXPECTED
    if not rare.any():
        return table
    return np.column_stack([table[:, ~rare], table[:, rare].sum(1)])


def _chi2_tail(x: float, degrees: int) -> float:
    """P(chi-squared > x) for whole degrees of freedom: a finite sum (Abramowitz, Stegun 26.4.4-5)."""
    half = x / 2
    if degrees % 2:
        total, powers = math.erfc(math.sqrt(half)), [at - 0.5 for at in range(1, degrees // 2 + 1)]
    else:
        total, powers = math.exp(-half), [float(at) for at in range(1, degrees // 2)]
    if half > 0:
        total += sum(math.exp(-half + power * math.log(half) - math.lgamma(power + 1)) for power in powers)
    return min(1.0, total)
