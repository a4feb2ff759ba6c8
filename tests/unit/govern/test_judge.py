from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernos.govern.evidence import Evidence
from kernos.govern.judge import LEAST_COVERAGE, Verdict, judge
from kernos.spec.gates import parse_rule
from kernos.spec.manifest import Rule

LABELS = np.asarray([0, 1] * 100)


def right(share: float, *, rows: int = 200, start: int = 0, **more: Any) -> Evidence:
    """Evidence of a model that is right in `share` of the rows; its mistakes begin at row `start`."""
    predicted = LABELS[:rows].copy()
    wrong = (np.arange(round(rows * (1 - share))) + start) % rows
    predicted[wrong] = 1 - predicted[wrong]
    return Evidence(LABELS[:rows], predicted, **more)


def first(rule: str, evidence: Evidence, live: Evidence | None = None) -> Verdict:
    return judge([parse_rule(rule)], evidence, live)[0]


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ("accuracy >= 0.8", True),
        ("accuracy > 0.8", False),
        ("accuracy <= 0.8", True),
        ("accuracy < 0.8", False),
        ("accuracy >= 0.801", False),
    ],
)
def test_a_threshold_is_judged_on_the_point_value(rule: str, passed: bool) -> None:
    verdict = first(rule, right(0.8))

    assert verdict.passed is passed
    assert verdict.value == 0.8
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < 0.8 < verdict.high
    assert verdict.rows == 200


def test_binary_rounding_turns_no_gate() -> None:
    groups = {"g": np.asarray(["a"] * 100 + ["b"] * 100)}
    predicted = np.asarray([1] * 80 + [0] * 20 + [1] * 50 + [0] * 50)

    assert first("parity_gap(g) <= 0.3", Evidence(LABELS, predicted, groups=groups)).passed


@pytest.mark.parametrize(
    ("rule", "evidence", "note"),
    [
        ("parity_gap(sex) <= 1", right(0.9), "'sex' is missing"),
        ("accuracy >= 0", Evidence(np.ones(50), np.ones(50)), "one class"),
        ("accuracy >= 0", right(0.9, scores=np.full(200, np.nan)), "not finite"),
        ("accuracy >= 0", right(1.0, rows=9), "too few"),
        ("coverage >= 0", right(1.0, rows=9), "too few"),
        ("not worse than live", right(1.0, rows=9), "too few"),
        ("not worse than live", Evidence(np.ones(50), np.ones(50)), "one class"),
        ("auc >= 0", right(0.9), "no scores"),
        ("r2 >= 0", right(0.9), "regression"),
    ],
)
def test_what_cannot_be_judged_fails(rule: str, evidence: Evidence, note: str) -> None:
    verdict = first(rule, evidence)

    assert not verdict.passed
    assert verdict.value is None
    assert note in verdict.note


def test_coverage_is_always_judged() -> None:
    verdicts = judge([parse_rule("accuracy >= 0.5")], right(0.9, coverage=0.4), None)

    assert [(verdict.rule, verdict.passed) for verdict in verdicts] == [
        ("accuracy >= 0.5", True),
        (LEAST_COVERAGE, False),
    ]


def test_an_own_coverage_rule_does_not_replace_the_built_in_one() -> None:
    rules = [parse_rule("coverage >= 0.1"), parse_rule(LEAST_COVERAGE)]

    assert [verdict.passed for verdict in judge(rules, right(0.9, coverage=0.4), None)] == [True, False]


def test_the_first_version_has_nothing_to_be_worse_than() -> None:
    verdict = first("not worse than live", right(0.6))

    assert verdict.passed
    assert verdict.note == "first version"


@pytest.mark.parametrize(
    ("candidate", "live", "passed"),
    [
        (right(0.9), right(0.9, start=50), True),
        (right(0.95), right(0.9), True),
        (right(0.88, start=3), right(0.9), True),
        (right(0.87, start=90), right(0.9), False),
        (right(0.5), right(0.9), False),
    ],
)
def test_not_worse_allows_two_points_of_accuracy(candidate: Evidence, live: Evidence, passed: bool) -> None:
    assert first("not worse than live", candidate, live).passed is passed


def test_not_worse_refuses_a_small_loss_that_is_certain() -> None:
    labels = np.tile(LABELS, 10)
    predicted = labels.copy()
    predicted[:30] = 1 - predicted[:30]

    verdict = first("not worse than live", Evidence(labels, predicted), Evidence(labels, labels))

    assert not verdict.passed
    assert "beyond doubt" in verdict.note


def test_not_worse_fails_when_live_was_judged_on_other_rows() -> None:
    verdict = first("not worse than live", right(0.9), right(0.9, rows=100))

    assert not verdict.passed
    assert "other rows" in verdict.note


@pytest.mark.parametrize(("noise", "passed"), [(0.9, True), (1.0, True), (1.2, False)])
def test_not_worse_of_a_regression_is_relative_to_lives_rmse(noise: float, passed: bool) -> None:
    random = np.random.default_rng(0)
    labels, error = random.normal(1e6, 1e5, 500), random.normal(0, 1e4, 500)
    live = Evidence(labels, labels + error, task="regression")
    candidate = Evidence(labels, labels + noise * error, task="regression")

    assert first("not worse than live", candidate, live).passed is passed


RULE = Rule("fair()", "callable", metric="fair")


@pytest.mark.parametrize(
    ("function", "passed", "note"),
    [
        (lambda evidence: bool((evidence.labels == evidence.predicted).mean() > 0.8), True, ""),
        (lambda evidence: np.bool_(True), True, ""),
        (lambda evidence: False, False, ""),
        (lambda evidence: 1, False, "returned a int"),
        (lambda evidence: None, False, "returned a NoneType"),
        (lambda evidence: 1 / 0, False, "ZeroDivisionError"),
    ],
)
def test_a_function_passes_only_by_saying_true(function: Any, passed: bool, note: str) -> None:
    verdict = judge([RULE], right(0.9), None, {"fair()": function})[0]

    assert verdict.passed is passed
    assert note in verdict.note


def test_a_function_that_is_not_at_hand_fails() -> None:
    assert not judge([RULE], right(0.9), None)[0].passed
