from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from kernos.base.errors import RefusedError
from kernos.govern import metrics
from kernos.govern.evidence import Evidence
from kernos.spec.gates import METRICS

ROWS = 400


def binary(seed: int = 0, rows: int = ROWS, noise: float = 1.0) -> Evidence:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    scores = 1 / (1 + np.exp(-(labels * 2.0 - 1 + random.normal(0, noise, rows))))
    return Evidence(labels, (scores > 0.5).astype(int), scores.round(2))


def three_classes(seed: int = 0) -> Evidence:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, ROWS)
    raw = np.eye(3)[labels] + 2 * random.random((ROWS, 3))
    scores = raw / raw.sum(axis=1, keepdims=True)
    return Evidence(labels, scores.argmax(axis=1), scores)


def regression(seed: int = 0, noise: float = 1.0) -> Evidence:
    random = np.random.default_rng(seed)
    labels = random.normal(10, 3, ROWS)
    return Evidence(labels, labels + random.normal(0, noise, ROWS), task="regression")


ORACLES: dict[str, Any] = {
    "accuracy": lambda e: sk.accuracy_score(e.labels, e.predicted),
    "auc": lambda e: sk.roc_auc_score(e.labels, e.scores),
    "f1": lambda e: sk.f1_score(e.labels, e.predicted),
    "precision": lambda e: sk.precision_score(e.labels, e.predicted),
    "recall": lambda e: sk.recall_score(e.labels, e.predicted),
    "log_loss": lambda e: sk.log_loss(e.labels, e.scores),
    "brier": lambda e: sk.brier_score_loss(e.labels, e.scores),
}
MACRO_ORACLES: dict[str, Any] = {
    "accuracy": lambda e: sk.accuracy_score(e.labels, e.predicted),
    "f1": lambda e: sk.f1_score(e.labels, e.predicted, average="macro"),
    "precision": lambda e: sk.precision_score(e.labels, e.predicted, average="macro"),
    "recall": lambda e: sk.recall_score(e.labels, e.predicted, average="macro"),
    "log_loss": lambda e: sk.log_loss(e.labels, e.scores),
    "brier": lambda e: sk.brier_score_loss(e.labels, e.scores, scale_by_half=False),
}
REGRESSION_ORACLES: dict[str, Any] = {
    "r2": lambda e: sk.r2_score(e.labels, e.predicted),
    "mae": lambda e: sk.mean_absolute_error(e.labels, e.predicted),
    "rmse": lambda e: sk.root_mean_squared_error(e.labels, e.predicted),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ORACLES)
def test_two_class_metrics_are_scikit_learns(name: str, seed: int) -> None:
    evidence = binary(seed)

    figure = metrics.measure(evidence, name)

    assert figure.value == pytest.approx(ORACLES[name](evidence), abs=1e-9)
    assert figure.low <= figure.value <= figure.high


@pytest.mark.parametrize("name", MACRO_ORACLES)
def test_metrics_of_more_classes_are_scikit_learns_macro_means(name: str) -> None:
    evidence = three_classes()

    figure = metrics.measure(evidence, name)

    assert figure.value == pytest.approx(MACRO_ORACLES[name](evidence), abs=1e-9)
    assert figure.low < figure.value < figure.high


@pytest.mark.parametrize("name", REGRESSION_ORACLES)
def test_regression_metrics_are_scikit_learns(name: str) -> None:
    evidence = regression()

    figure = metrics.measure(evidence, name)

    assert figure.value == pytest.approx(REGRESSION_ORACLES[name](evidence))
    assert figure.low < figure.value < figure.high


@pytest.mark.parametrize("name", ["accuracy", "auc", "f1", "precision", "recall", "log_loss", "brier"])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    truth = metrics.measure(binary(99, rows=200_000), name).value

    held = [
        figure.low <= truth <= figure.high
        for figure in (metrics.measure(binary(seed, rows=250), name) for seed in range(400))
    ]

    assert 0.915 <= np.mean(held) <= 0.985


@pytest.mark.parametrize("name", ["r2", "mae", "rmse"])
def test_intervals_of_regressions_hold_the_truth_as_often_as_they_say(name: str) -> None:
    truth = {"r2": 1 - 1 / 9, "mae": np.sqrt(2 / np.pi), "rmse": 1.0}[name]

    held = [
        figure.low <= truth <= figure.high
        for figure in (metrics.measure(regression(seed), name) for seed in range(400))
    ]

    assert 0.915 <= np.mean(held) <= 0.985


def test_delongs_variance_is_that_of_its_definition() -> None:
    evidence = binary(3, rows=60)
    assert evidence.scores is not None
    above, below = evidence.scores[evidence.labels == 1], evidence.scores[evidence.labels == 0]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    variance = wins.mean(axis=1).var(ddof=1) / len(above) + wins.mean(axis=0).var(ddof=1) / len(below)

    figure = metrics.auc(evidence)

    assert figure.value == pytest.approx(wins.mean())
    assert figure.value - figure.low == pytest.approx(1.959963984540054 * np.sqrt(variance))


def test_a_perfect_ranking_still_has_an_interval() -> None:
    labels = np.repeat([0, 1], 20)

    figure = metrics.auc(Evidence(labels, labels, labels.astype(float)))

    assert (figure.value, figure.high) == (1.0, 1.0)
    assert 0.8 < figure.low < 0.9


def test_one_row_of_a_class_gives_no_variance_and_is_survived() -> None:
    labels = np.asarray([1] + [0] * 19)

    figure = metrics.auc(Evidence(labels, labels, np.linspace(1, 0, 20)))

    assert figure.value == 1.0


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
def test_a_perfect_model_still_has_an_interval(name: str) -> None:
    labels = np.arange(60) % 3

    figure = metrics.measure(Evidence(labels, labels), name)

    assert (figure.value, figure.high) == (1.0, 1.0)
    assert 0.9 < figure.low < 1.0


def test_precision_without_positive_predictions_is_0_of_0() -> None:
    figure = metrics.precision(Evidence(np.asarray([0, 1] * 10), np.zeros(20, dtype=int)))

    assert (figure.value, figure.low, figure.high, figure.rows) == (0.0, 0.0, 1.0, 0)


def test_macro_metrics_survive_classes_that_nobody_predicts() -> None:
    evidence = three_classes()
    lazy = Evidence(evidence.labels, np.minimum(evidence.predicted, 1), classes=[0, 1, 2, 3])

    figure = metrics.precision(lazy)

    assert figure.value == pytest.approx(
        sk.precision_score(lazy.labels, lazy.predicted, average="macro", zero_division=0)
    )


def test_scores_may_be_a_table_of_two_columns() -> None:
    evidence = binary()
    assert evidence.scores is not None
    table = Evidence(
        evidence.labels, evidence.predicted, np.column_stack([1 - evidence.scores, evidence.scores])
    )

    for name in ("auc", "log_loss", "brier"):
        assert metrics.measure(table, name).value == pytest.approx(metrics.measure(evidence, name).value)


@pytest.mark.parametrize("name", ["auc", "log_loss", "brier"])
def test_metrics_of_scores_refuse_a_model_without_scores(name: str) -> None:
    evidence = binary()

    with pytest.raises(RefusedError, match="no scores"):
        metrics.measure(Evidence(evidence.labels, evidence.predicted), name)


def test_auc_refuses_three_classes() -> None:
    with pytest.raises(RefusedError, match="two classes"):
        metrics.auc(three_classes())


def test_scores_that_are_no_probabilities_are_refused() -> None:
    evidence = binary()

    with pytest.raises(RefusedError, match="not probabilities"):
        metrics.log_loss(Evidence(evidence.labels, evidence.predicted, evidence.labels * 3))


def test_scores_of_another_number_of_classes_are_refused() -> None:
    evidence = three_classes()

    with pytest.raises(RefusedError, match="3 classes"):
        metrics.brier(Evidence(evidence.labels % 2, evidence.predicted % 2, evidence.scores))


def test_r2_refuses_equal_labels() -> None:
    with pytest.raises(RefusedError, match="all equal"):
        metrics.r2(Evidence(np.ones(20), np.arange(20.0), task="regression"))


def test_coverage_counts_the_rows_that_were_held_out() -> None:
    labels = np.asarray([0, 1] * 30)

    figure = metrics.coverage(Evidence(labels, labels, coverage=0.6))

    assert (figure.value, figure.rows) == (0.6, 60)
    assert figure.low < 0.6 < figure.high


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_a_coverage_that_is_no_share_is_refused(share: float) -> None:
    labels = np.asarray([0, 1] * 30)

    with pytest.raises(RefusedError, match="no share"):
        metrics.coverage(Evidence(labels, labels, coverage=share))


def test_figures_are_those_the_evidence_carries() -> None:
    assert list(metrics.figures(regression())) == ["coverage", "r2", "mae", "rmse"]
    assert "auc" in metrics.figures(binary())
    assert "auc" not in metrics.figures(three_classes())


def test_every_metric_of_the_grammar_can_be_measured() -> None:
    for name, metric in METRICS.items():
        evidence = regression() if metric.task == "regression" else binary()
        groups = {"g": np.arange(ROWS) % 2}
        evidence = Evidence(evidence.labels, evidence.predicted, evidence.scores, groups, task=evidence.task)

        assert np.isfinite(metrics.measure(evidence, name, "g" if metric.per_column else "").value)


def test_a_paired_interval_is_narrower_than_two_single_ones() -> None:
    one, other = binary(), binary()
    nearly = other.predicted.copy()
    nearly[:4] = 1 - nearly[:4]

    figure = metrics.paired_difference(Evidence(one.labels, nearly), other)

    assert abs(figure.value) <= 0.01
    assert figure.high - figure.low < 0.03 < metrics.accuracy(one).high - metrics.accuracy(one).low


def test_a_paired_difference_of_regressions_is_in_rmse() -> None:
    good, bad = regression(noise=1.0), regression(noise=2.0)

    figure = metrics.paired_difference(good, bad)

    expected = REGRESSION_ORACLES["rmse"](bad) - REGRESSION_ORACLES["rmse"](good)
    assert figure.value == pytest.approx(expected)
    assert 0 < figure.low < figure.value < figure.high


def test_a_perfect_regression_is_compared_without_dividing_by_zero() -> None:
    bad = regression()
    perfect = Evidence(bad.labels, bad.labels, task="regression")

    assert metrics.paired_difference(perfect, bad).low > 0


def test_pairs_of_other_rows_are_refused() -> None:
    with pytest.raises(RefusedError, match="other rows"):
        metrics.paired_difference(binary(0), binary(1))
