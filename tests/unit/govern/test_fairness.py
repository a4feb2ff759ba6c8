from __future__ import annotations

import numpy as np
import pytest

from kernos.base.errors import RefusedError
from kernos.govern import fairness
from kernos.govern.evidence import Array, Evidence


def two_groups() -> Evidence:
    """Of 50 a: 30 selected; of 50 b: 10 selected."""
    predicted = np.asarray([1] * 30 + [0] * 20 + [1] * 10 + [0] * 40)
    labels = np.asarray([1] * 25 + [0] * 25 + [1] * 25 + [0] * 25)
    return Evidence(labels, predicted, groups={"sex": np.asarray(["a"] * 50 + ["b"] * 50)})


def with_groups(values: Array) -> Evidence:
    evidence = two_groups()
    return Evidence(evidence.labels, evidence.predicted, groups={"sex": values})


def test_parity_gap_is_the_widest_difference_of_selection() -> None:
    figure = fairness.parity_gap(two_groups(), "sex")

    assert figure.value == pytest.approx(0.6 - 0.2)
    assert 0.2 < figure.low < 0.4 < figure.high < 0.6
    assert figure.rows == 100


def test_equal_odds_gap_is_the_larger_of_both_rates() -> None:
    # True positives: 25/25 and 10/25; false positives: 5/25 and 0/25.
    figure = fairness.equal_odds_gap(two_groups(), "sex")

    assert figure.value == pytest.approx(0.6)


def test_a_small_group_is_named_and_not_judged() -> None:
    names = np.asarray(["a"] * 50 + ["b"] * 47 + ["c"] * 3)

    figure = fairness.parity_gap(with_groups(names), "sex")

    assert "'c' has 3 rows" in figure.note


def test_rows_that_do_not_say_are_a_group_of_their_own() -> None:
    names = np.asarray(["a"] * 50 + [None] * 50, dtype=object)

    assert fairness.parity_gap(with_groups(names), "sex").value == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (Evidence(two_groups().labels, two_groups().predicted), "'sex' is missing"),
        (with_groups(np.asarray(["a"] * 100)), "fewer than two groups"),
        (with_groups(np.arange(100)), "fewer than two groups"),
        (with_groups(np.asarray(["a"] * 99)), "has 99 rows, not 100"),
        (Evidence(np.arange(30) % 3, np.arange(30) % 3, groups={"sex": np.arange(30) % 2}), "here are 3"),
    ],
)
def test_gaps_are_refused_without_groups_to_compare(evidence: Evidence, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        fairness.parity_gap(evidence, "sex")


def test_equal_odds_refuses_when_a_label_is_too_rare_to_compare() -> None:
    labels = np.asarray([1] * 3 + [0] * 97)
    evidence = Evidence(labels, two_groups().predicted, groups=two_groups().groups)

    with pytest.raises(RefusedError, match="positive rows"):
        fairness.equal_odds_gap(evidence, "sex")


def test_the_table_holds_every_group() -> None:
    lines = fairness.group_lines(two_groups())

    assert [(line.group, line.rows, line.selection_rate) for line in lines] == [
        ("a", 50, 0.6),
        ("b", 50, 0.2),
    ]
    assert lines[0].true_positive_rate == 1.0
    assert lines[1].false_positive_rate == 0.0


def test_a_rate_without_rows_is_not_made_up() -> None:
    names = np.asarray(["a"] * 25 + ["b"] * 75)

    line = fairness.group_lines(with_groups(names))[0]

    assert line.false_positive_rate is None


def test_two_classes_with_no_selection_at_all_have_no_gap() -> None:
    evidence = two_groups()
    lazy = Evidence(evidence.labels, np.zeros(100, dtype=int), groups=evidence.groups)

    figure = fairness.parity_gap(lazy, "sex")

    assert figure.value == 0
    assert figure.low == 0 < figure.high


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(np.arange(30) % 3, np.arange(30) % 3, groups={"sex": np.arange(30) % 2}),
        Evidence(np.arange(30.0), np.arange(30.0), groups={"sex": np.arange(30) % 2}, task="regression"),
    ],
)
def test_there_is_no_table_without_two_classes(evidence: Evidence) -> None:
    assert fairness.group_lines(evidence) == []
