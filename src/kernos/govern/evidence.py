"""What a gate judges: held-out labels and what the model said of the same rows. Doubtful evidence is
refused, not used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernos.base.errors import RefusedError

Array = NDArray[Any]

LEAST_ROWS = 10
"""With fewer rows no interval says anything."""


class Figure(msgspec.Struct, frozen=True):
    """A metric's value with its 95 % interval and the rows behind it."""

    value: float
    low: float
    high: float
    rows: int
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """A row each, in one order: `labels` [n], `predicted` [n], `scores` P(class 1) [n] or [n, k], `groups`
    column -> [n]."""

    labels: Array
    predicted: Array
    scores: Array | None = None
    groups: Mapping[str, Array] = field(default_factory=dict)
    coverage: float = 1.0
    """Share of the held-out rows that the App's steps kept."""
    task: Literal["classification", "regression"] = "classification"
    classes: Sequence[Any] = ()
    """In the order of the scores' columns; found in the data, sorted, where not given. Of two, the last is
    positive."""

    @property
    def rows(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Labels and predictions as indexes into `classes`."""

    labels: NDArray[np.intp]
    predicted: NDArray[np.intp]
    classes: list[Any]

    @property
    def is_binary(self) -> bool:
        return len(self.classes) == 2


def refuse(why: str) -> RefusedError:
    return RefusedError(why, hint="Correct the data or the steps; without evidence no gate passes.")


def check(evidence: Evidence) -> None:
    """RefusedError for evidence no metric can be read from: too few rows, unequal lengths, missing values."""
    rows = evidence.rows
    if len(evidence.predicted) != rows or (evidence.scores is not None and len(evidence.scores) != rows):
        raise refuse("labels, predictions and scores have different lengths")
    if rows < LEAST_ROWS:
        raise refuse(f"{rows} rows are too few to judge; {LEAST_ROWS} are the least")
    for what, values in (("labels", evidence.labels), ("predictions", evidence.predicted)):
        if is_missing(values).any():
            raise refuse(f"{int(is_missing(values).sum())} {what} are missing")
    if evidence.scores is not None and not np.isfinite(evidence.scores).all():
        raise refuse("some scores are not finite numbers")


def coded(evidence: Evidence) -> Coded:
    """The evidence of a classification, with labels and predictions made comparable: numbers with numbers,
    else as text."""
    check(evidence)
    if evidence.task != "classification":
        raise refuse("this metric is for classification")
    parts = [np.asarray(evidence.labels), np.asarray(evidence.predicted), np.asarray(list(evidence.classes))]
    filled = [part for part in parts if part.size]
    if not all(part.dtype.kind in "biuf" for part in filled):
        parts = [np.asarray([str(value) for value in part.tolist()], dtype=np.str_) for part in parts]
    known = list(dict.fromkeys(parts[2].tolist()))
    classes = known + [value for value in np.unique(np.concatenate(parts[:2])).tolist() if value not in known]
    index = {value: position for position, value in enumerate(classes)}
    labels, predicted = (
        np.asarray([index[value] for value in part.tolist()], dtype=np.intp) for part in parts[:2]
    )
    if len(np.unique(labels)) < 2:
        raise refuse("the held-out labels are of one class only")
    return Coded(labels, predicted, classes)


def numbers(evidence: Evidence) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels and predictions of a regression."""
    check(evidence)
    if evidence.task != "regression":
        raise refuse("this metric is for regression")
    if not all(np.asarray(values).dtype.kind in "biuf" for values in (evidence.labels, evidence.predicted)):
        raise refuse("labels and predictions are not numbers")
    labels, predicted = evidence.labels.astype(np.float64), evidence.predicted.astype(np.float64)
    if not (np.isfinite(labels).all() and np.isfinite(predicted).all()):
        raise refuse("some labels or predictions are not finite")
    return labels, predicted


def is_missing(values: Array) -> NDArray[np.bool_]:
    """None and NaN, row by row."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return np.asarray(np.isnan(array), dtype=np.bool_)
    if array.dtype.kind == "O":
        return np.asarray([value is None or value != value for value in array.tolist()], dtype=np.bool_)
    return np.zeros(len(array), dtype=np.bool_)
