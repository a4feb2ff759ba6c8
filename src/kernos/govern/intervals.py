"""95 % intervals in closed form: no resampling, so the same evidence always gives the same verdict."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernos.govern.evidence import Figure

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


def wilson(hits: float, rows: float) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927). Without rows: 0 to 1."""
    if rows <= 0:
        return 0.0, 1.0
    share, spread = hits / rows, Z * Z / rows
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def share(hits: float, rows: int) -> Figure:
    """A share with Wilson's interval; 0 where nothing was counted."""
    low, high = wilson(hits, rows)
    return Figure(hits / rows if rows else 0.0, low, high, rows)


def newcombe(hits_a: float, rows_a: int, hits_b: float, rows_b: int) -> tuple[float, float]:
    """Interval of the difference of two independent shares, a - b: Newcombe 1998, method 10."""
    a, b = hits_a / rows_a, hits_b / rows_b
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, rows_a), wilson(hits_b, rows_b)
    low = a - b - math.hypot(a - low_a, high_b - b)
    return low, a - b + math.hypot(high_a - a, b - low_b)


def mean(values: NDArray[np.float64], *, low: float = -math.inf, high: float = math.inf) -> Figure:
    """A mean with its normal interval, kept within the metric's range."""
    return from_influence(float(values.mean()), values - values.mean(), low=low, high=high)


def from_influence(
    value: float, influence: NDArray[np.float64], *, low: float = -math.inf, high: float = math.inf
) -> Figure:
    """A smooth statistic with the interval its influence function gives (the delta method): one term a
    row."""
    rows = len(influence)
    half = Z * math.sqrt(float(np.sum(influence**2)) / (rows * max(rows - 1, 1)))
    return Figure(value, max(low, value - half), min(high, value + half), rows)
