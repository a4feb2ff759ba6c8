"""How far a mean may lie from what a finite sample showed. Every bound here is proved, none is asymptotic."""

from __future__ import annotations

import math


def mean_above(mean: float, count: int, risk: float) -> float:
    """The largest true mean of values in [0, 1] that `mean` over `count` of them leaves plausible.

    Chernoff's bound in its Kullback-Leibler form (Hoeffding, JASA 1963, theorem 1): the true mean exceeds
    the result with probability `risk` at most. 1.0 without any value.
    """
    if count <= 0:
        return 1.0
    limit = math.log(1 / risk) / count
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(mean, middle) <= limit else (low, middle)
    return high


def mean_below(mean: float, count: int, risk: float) -> float:
    """The smallest plausible true mean; the mirror image of `mean_above`."""
    return 1.0 - mean_above(1.0 - mean, count, risk)


def distribution_distance(count: int, risk: float) -> float:
    """How far an empirical distribution function may lie from the true one, anywhere at once.

    Dvoretzky, Kiefer, Wolfowitz with Massart's constant (Annals of Probability 1990). By partial
    integration it also bounds the error of the mean of any monotone function into [0, 1], even one that was
    read off the same sample.
    """
    return 1.0 if count <= 0 else min(1.0, math.sqrt(math.log(2 / risk) / (2 * count)))


def _divergence(p: float, q: float) -> float:
    """KL(Bernoulli(p) || Bernoulli(q)), in nats."""
    first = p * math.log(p / q) if p > 0 else 0.0
    if p >= 1:
        return first
    return math.inf if q >= 1 else first + (1 - p) * math.log((1 - p) / (1 - q))
