"""Metrics of held-out rows, each with a 95 % interval. The values are those of scikit-learn's functions of
the same name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from kernos.base.errors import RefusedError
from kernos.govern import fairness, intervals
from kernos.govern.evidence import Coded, Evidence, Figure, check, coded, numbers, refuse


def measure(evidence: Evidence, metric: str, column: str = "") -> Figure:
    """The metric of that name in the gate grammar. RefusedError where the evidence does not carry it."""
    if column:
        return _GAPS[metric](evidence, column)
    return _PLAIN[metric](evidence)


def figures(evidence: Evidence) -> dict[str, Figure]:
    """Every plain metric that this evidence carries."""
    found: dict[str, Figure] = {}
    for name, function in _PLAIN.items():
        try:
            found[name] = function(evidence)
        except RefusedError:  # not of this task, or no scores: it is left out
            continue
    return found


def accuracy(evidence: Evidence) -> Figure:
    """Share of rows predicted right; Wilson."""
    code = coded(evidence)
    return intervals.share(int((code.labels == code.predicted).sum()), evidence.rows)


def precision(evidence: Evidence) -> Figure:
    """Two classes: share of right ones among those predicted positive, Wilson. More: the classes' mean,
    delta method."""
    code = coded(evidence)
    if code.is_binary:
        positive = code.predicted == 1
        return intervals.share(int((positive & (code.labels == 1)).sum()), int(positive.sum()))
    return _macro(code, label_weight=0.0)


def recall(evidence: Evidence) -> Figure:
    """Two classes: share of the positive rows that were found, Wilson. More: the classes' mean, delta
    method."""
    code = coded(evidence)
    if code.is_binary:
        positive = code.labels == 1
        return intervals.share(int((positive & (code.predicted == 1)).sum()), int(positive.sum()))
    return _macro(code, label_weight=1.0)


def f1(evidence: Evidence) -> Figure:
    """Two classes: F1 of the positive one. More: the classes' mean. Delta method on the confusion matrix
    (Takahashi et al. 2022)."""
    code = coded(evidence)
    return _macro(code, label_weight=0.5, only=1 if code.is_binary else None)


def auc(evidence: Evidence) -> Figure:
    """Area under the ROC curve of two classes; DeLong's variance, by mid-ranks (Sun and Xu 2014)."""
    code = coded(evidence)
    scores = _positive_scores(evidence, code).astype(np.float64)
    above, below = scores[code.labels == 1], scores[code.labels == 0]
    m, n = len(above), len(below)
    ranks = _mid_ranks(np.concatenate([above, below]))
    value = float(ranks[:m].sum() / m - (m + 1) / 2) / n
    of_above = (ranks[:m] - _mid_ranks(above)) / n
    of_below = 1 - (ranks[m:] - _mid_ranks(below)) / m
    variance = _variance(of_above) / m + _variance(of_below) / n
    if variance == 0:  # perfect, or perfectly wrong: as wide as the smaller class leaves it
        low, high = intervals.wilson(value * min(m, n), min(m, n))
    else:
        half = intervals.Z * math.sqrt(variance)
        low, high = max(0.0, value - half), min(1.0, value + half)
    return Figure(value, low, high, evidence.rows)


def log_loss(evidence: Evidence) -> Figure:
    """Mean of -ln p(label), natural logarithm; probabilities are cut at the smallest step of their type."""
    table, labels = _probabilities(evidence)
    step = float(np.finfo(table.dtype).eps)
    table = table.astype(np.float64)
    table = table / table.sum(axis=1, keepdims=True)
    hit = np.clip(table[np.arange(len(labels)), labels], step, 1 - step)
    return intervals.mean(-np.log(hit), low=0.0)


def brier(evidence: Evidence) -> Figure:
    """Two classes: mean of (p - y)², 0 to 1. More: mean over rows of the sum over classes, 0 to 2."""
    table, labels = _probabilities(evidence)
    wanted = np.eye(table.shape[1])[labels]
    squares = ((table.astype(np.float64) - wanted) ** 2).sum(axis=1)
    return intervals.mean(squares / 2, low=0.0) if table.shape[1] == 2 else intervals.mean(squares, low=0.0)


def coverage(evidence: Evidence) -> Figure:
    """Share of the held-out rows that the steps kept; Wilson."""
    check(evidence)
    if not 0 < evidence.coverage <= 1:
        raise refuse(f"a coverage of {evidence.coverage:g} is no share")
    held_out = round(evidence.rows / evidence.coverage)
    low, high = intervals.wilson(evidence.rows, held_out)
    return Figure(evidence.coverage, low, high, evidence.rows)


def r2(evidence: Evidence) -> Figure:
    """Share of the labels' variance explained; delta method."""
    labels, predicted = numbers(evidence)
    squares, spread = (labels - predicted) ** 2, (labels - labels.mean()) ** 2
    if spread.max() == 0:
        raise refuse("the held-out labels are all equal")
    error, variance = squares.mean(), spread.mean()
    influence = -(squares - error) / variance + error * (spread - variance) / variance**2
    return intervals.from_influence(float(1 - error / variance), influence, high=1.0)


def mae(evidence: Evidence) -> Figure:
    """Mean absolute error, in the target's unit; normal interval."""
    labels, predicted = numbers(evidence)
    return intervals.mean(np.abs(labels - predicted), low=0.0)


def rmse(evidence: Evidence) -> Figure:
    """Root of the mean squared error, in the target's unit; the root of the mean's interval."""
    labels, predicted = numbers(evidence)
    of_squares = intervals.mean((labels - predicted) ** 2, low=0.0)
    value, low, high = (math.sqrt(end) for end in (of_squares.value, of_squares.low, of_squares.high))
    return Figure(value, low, high, evidence.rows)


def paired_difference(evidence: Evidence, other: Evidence) -> Figure:
    """How much better `evidence` is than `other` on the same rows: accuracy, or rmse of the other less its
    own. Paired interval, which is far narrower than that of two independent samples."""
    if evidence.rows != other.rows or not np.array_equal(evidence.labels, other.labels):
        raise refuse("the live version was judged on other rows")
    if evidence.task == "classification":
        mine, theirs = coded(evidence), coded(other)
        gain = (mine.labels == mine.predicted).astype(np.float64) - (theirs.labels == theirs.predicted)
        return intervals.mean(gain, low=-1.0, high=1.0)
    (labels, own), (_, others) = numbers(evidence), numbers(other)
    roots, influence = [], np.zeros(len(labels))
    for sign, predicted in ((-1, own), (1, others)):
        squares = (labels - predicted) ** 2
        root = math.sqrt(squares.mean())
        roots.append(root)
        if root > 0:
            influence += sign * (squares - squares.mean()) / (2 * root)
    return intervals.from_influence(roots[1] - roots[0], influence)


def _macro(code: Coded, *, label_weight: float, only: int | None = None) -> Figure:
    """Mean over classes of `right / (label_weight · labelled + (1 - label_weight) · predicted)`: recall
    (1), precision (0) and F1 (1/2) are of this one form. Classes nobody has or predicts are left out."""
    values: list[float] = []
    influence = np.zeros(len(code.labels))
    for position in range(len(code.classes)) if only is None else [only]:
        labelled, predicted = code.labels == position, code.predicted == position
        if not (labelled.any() or predicted.any()):
            continue
        weight = label_weight * labelled + (1 - label_weight) * predicted
        right = (labelled & predicted).astype(np.float64)
        value = float(right.sum() / weight.sum()) if weight.any() else 0.0
        values.append(value)
        if weight.any():
            influence += (right - value * weight) / weight.mean()
    if not influence.any():  # perfect, or wholly wrong: the rows are all the doubt there is
        return intervals.share(sum(values) / len(values) * len(influence), len(influence))
    return intervals.from_influence(sum(values) / len(values), influence / len(values), low=0.0, high=1.0)


def _positive_scores(evidence: Evidence, code: Coded) -> NDArray[np.floating]:
    if not code.is_binary:
        raise refuse(f"auc is for two classes, and here are {len(code.classes)}")
    if evidence.scores is None:
        raise refuse("the model gives no scores")
    scores = np.asarray(evidence.scores)
    return scores if scores.ndim == 1 else scores[:, 1]


def _probabilities(evidence: Evidence) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Probabilities [n, k] and labels as column numbers."""
    code = coded(evidence)
    if evidence.scores is None:
        raise refuse("the model gives no scores")
    scores = np.asarray(evidence.scores)
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    table = np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    if table.shape[1] != len(code.classes):
        raise refuse(
            f"there are scores of {table.shape[1]} classes, and labels and predictions of {len(code.classes)}"
        )
    if table.min() < 0 or table.max() > 1 + 1e-6:
        raise refuse("the scores are not probabilities")
    return table, code.labels


def _mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, ties at their middle."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: NDArray[np.float64] = last - (counts - 1) / 2
    return middle[inverse]


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


_PLAIN: Mapping[str, Callable[[Evidence], Figure]] = MappingProxyType(
    {
        "accuracy": accuracy,
        "auc": auc,
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "log_loss": log_loss,
        "brier": brier,
        "coverage": coverage,
        "r2": r2,
        "mae": mae,
        "rmse": rmse,
    }
)
_GAPS: Mapping[str, Callable[[Evidence, str], Figure]] = MappingProxyType(
    {"parity_gap": fairness.parity_gap, "equal_odds_gap": fairness.equal_odds_gap}
)
