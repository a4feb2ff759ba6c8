from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.base.errors import InvalidError
from kernos.spec.gates import METRICS, NOT_WORSE, parse_rule

COLUMNS = st.text(
    st.characters(codec="utf-8", exclude_characters="()", exclude_categories=["C", "Z"]), min_size=1
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy >= 0.65", ("accuracy", "", ">=", 0.65)),
        ("  rmse<12 ", ("rmse", "", "<", 12.0)),
        ("r2 > -1e-3", ("r2", "", ">", -0.001)),
        ("parity_gap(sex) <= 0.30", ("parity_gap", "sex", "<=", 0.3)),
        ("equal_odds_gap( age group ) < .1", ("equal_odds_gap", "age group", "<", 0.1)),
    ],
)
def test_a_threshold_rule_has_metric_column_comparison_and_bound(
    text: str, parts: tuple[object, ...]
) -> None:
    rule = parse_rule(text, 7)

    assert rule.kind == "threshold"
    assert (rule.metric, rule.column, rule.comparison, rule.bound) == parts
    assert rule.line == 7


def test_not_worse_than_live_is_a_rule_of_its_own() -> None:
    assert parse_rule(" not  worse than live ").kind == "not_worse"
    assert parse_rule(NOT_WORSE).text == NOT_WORSE


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("accurcy >= 0.6", 0, "Did you mean accuracy?"),
        ("  accurcy >= 0.6", 2, "Did you mean accuracy?"),
        (">= 0.6", 0, "expected a metric"),
        ("", 0, "expected a metric"),
        ("accuracy", 8, "expected one of >=, <=, >, <"),
        ("accuracy = 0.6", 9, "expected one of"),
        ("accuracy >= high", 12, "expected a number"),
        ("accuracy >= 65", 12, "lies between 0 and 1"),
        ("rmse <= 1e999", 8, "too large"),
        ("accuracy >= 0.6 please", 16, "nothing more"),
        ("accuracy(sex) >= 0.6", 8, "takes no column"),
        ("parity_gap <= 0.1", 11, "compares the groups"),
        ("parity_gap() <= 0.1", 11, "expected a sensitive column"),
        ("parity_gap(sex <= 0.1", 21, "expected ')'"),
        ("not worse then live", 0, "Write 'not worse than live'."),
    ],
)
def test_a_mistake_is_pointed_at(text: str, column: int, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_rule(text)

    assert says in f"{caught.value.message}\n{caught.value.hint}"
    assert caught.value.hint.splitlines()[1].startswith(" " * column + "^")
    assert caught.value.details["column"] == column


@given(
    name=st.sampled_from(sorted(METRICS)),
    column=COLUMNS,
    comparison=st.sampled_from([">=", "<=", ">", "<"]),
    bound=st.floats(0, 1),
)
def test_a_rules_text_says_the_same_again(name: str, column: str, comparison: str, bound: float) -> None:
    left = f"{name}({column})" if METRICS[name].per_column else name

    rule = parse_rule(f"{left}{comparison}{bound}")

    assert parse_rule(rule.text) == rule
    assert (rule.metric, rule.comparison, rule.bound) == (name, comparison, bound)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_an_invalid_error(text: str) -> None:
    with contextlib.suppress(InvalidError):
        parse_rule(text)
