from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernos.base.errors import RefusedError
from kernos.govern.evidence import Evidence, check, coded, is_missing, numbers

LABELS = np.asarray([0, 1] * 10)


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (Evidence(LABELS[:9], LABELS[:9]), "9 rows are too few"),
        (Evidence(LABELS, LABELS[:19]), "different lengths"),
        (Evidence(LABELS, LABELS, np.zeros(19)), "different lengths"),
        (Evidence(LABELS, LABELS, np.full(20, np.nan)), "not finite"),
        (Evidence(LABELS, np.full(20, np.nan)), "20 predictions are missing"),
        (Evidence(np.asarray(["a", None] * 10, dtype=object), LABELS), "10 labels are missing"),
    ],
)
def test_doubtful_evidence_is_refused(evidence: Evidence, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        check(evidence)


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        (np.asarray([0, 1] * 10), np.asarray([0.0, 1.0] * 10)),
        (np.asarray([False, True] * 10), np.asarray([0, 1] * 10)),
        (np.asarray(["0", "1"] * 10), np.asarray([0, 1] * 10)),
        (np.asarray(["a", "b"] * 10, dtype=object), np.asarray(["a", "b"] * 10)),
    ],
)
def test_labels_and_predictions_of_different_types_are_compared_by_value(labels: Any, predicted: Any) -> None:
    code = coded(Evidence(labels, predicted))

    assert code.labels.tolist() == code.predicted.tolist() == [0, 1] * 10


def test_the_order_of_classes_is_the_models_when_it_is_given() -> None:
    code = coded(Evidence(LABELS, LABELS, classes=[1, 0]))

    assert code.labels.tolist() == [1, 0] * 10
    assert code.classes == [1, 0]


def test_labels_of_one_class_are_refused() -> None:
    with pytest.raises(RefusedError, match="one class"):
        coded(Evidence(np.zeros(20), LABELS))


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(LABELS, LABELS),
        Evidence(np.asarray(["a"] * 20), LABELS, task="regression"),
        Evidence(np.full(20, np.inf), LABELS, task="regression"),
    ],
)
def test_a_regressions_evidence_is_finite_numbers(evidence: Evidence) -> None:
    with pytest.raises(RefusedError):
        numbers(evidence)


def test_a_classification_metric_refuses_a_regression() -> None:
    with pytest.raises(RefusedError, match="classification"):
        coded(Evidence(LABELS, LABELS, task="regression"))


def test_missing_values_are_none_and_nan() -> None:
    assert is_missing(np.asarray([None, float("nan"), "a"], dtype=object)).tolist() == [True, True, False]
