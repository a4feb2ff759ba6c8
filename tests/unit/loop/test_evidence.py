"""Evidence is what the ONNX file answers on the rows; a trial's score is higher where it is better."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier

from kernos.govern.metrics import measure
from kernos.loop.evidence import evidence, score
from kernos.runtime.convert import to_onnx

FEATURES = ["bmi", "bp", "s5"]


def test_evidence_lays_answers_beside_labels_and_groups(diabetes: pl.DataFrame) -> None:
    X, y = diabetes.select(FEATURES), diabetes["progressed"]
    model = LogisticRegression(max_iter=1000).fit(X, y)
    converted = to_onnx(model, X.head())

    found = evidence(converted.onnx, converted.signature, diabetes, "progressed", ["sex"], 0.9)

    assert np.array_equal(found.labels, y.to_numpy())
    assert np.mean(found.predicted == model.predict(X)) > 0.99
    assert np.array_equal(found.groups["sex"], diabetes["sex"].to_numpy())
    assert (found.coverage, found.task, list(found.classes)) == (0.9, "classification", [0, 1])
    assert measure(found, "accuracy").value == pytest.approx(model.score(X, y), abs=0.01)


def test_a_regression_is_judged_as_one(diabetes: pl.DataFrame) -> None:
    X, y = diabetes.select(FEATURES), diabetes["s1"]
    converted = to_onnx(LinearRegression().fit(X, y), X.head())

    found = evidence(converted.onnx, converted.signature, diabetes, "s1", [], 1.0)

    assert found.task == "regression"
    assert measure(found, "r2").value == pytest.approx(LinearRegression().fit(X, y).score(X, y), abs=1e-3)


@pytest.mark.parametrize("metric", ["accuracy", "auc", "log_loss", "brier"])
def test_the_better_classifier_scores_higher(diabetes: pl.DataFrame, metric: str) -> None:
    X, y = diabetes.select(FEATURES), diabetes["progressed"]
    good = LogisticRegression(max_iter=1000).fit(X, y)
    bad = LogisticRegression(max_iter=1000).fit(X, y.shuffle(seed=1))

    scores = [score(model, diabetes, FEATURES, "progressed", metric) for model in (good, bad)]

    assert scores[0] > scores[1]


def test_many_classes_and_no_probabilities_are_scored(diabetes: pl.DataFrame) -> None:
    rows = diabetes.with_columns((pl.col("age") // 25).cast(pl.String).alias("decade"))
    many = LogisticRegression(max_iter=3000).fit(rows.select(FEATURES), rows["decade"])
    plain = RidgeClassifier().fit(rows.select(FEATURES), rows["decade"])

    for model in (many, plain):
        expected = model.score(rows.select(FEATURES), rows["decade"])
        assert score(model, rows, FEATURES, "decade", "accuracy") == pytest.approx(expected)


def test_a_smaller_error_scores_higher(diabetes: pl.DataFrame) -> None:
    X, y = diabetes.select(FEATURES), diabetes["s1"]
    good, bad = LinearRegression().fit(X, y), LinearRegression().fit(X, y.shuffle(seed=1))

    assert score(good, diabetes, FEATURES, "s1", "rmse") > score(bad, diabetes, FEATURES, "s1", "rmse")
    assert score(good, diabetes, FEATURES, "s1", "rmse") < 0
