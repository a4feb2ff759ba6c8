"""Gates, judged. A rule passes on the point value, and the verdict shows the interval; whatever cannot be
judged fails."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from kernos.base.errors import RefusedError
from kernos.govern.evidence import Evidence, Figure, check
from kernos.govern.metrics import measure, paired_difference, rmse
from kernos.spec.gates import parse_rule
from kernos.spec.manifest import Rule

Check = Callable[[Evidence], Any]

LEAST_COVERAGE = "coverage >= 0.5"
"""Always judged: steps that drop most held-out rows would choose their own exam."""
MOST_WORSE = 0.02
"""How much lower than the live one's a candidate's accuracy may be; for rmse, which share of it higher."""

_ROUNDING = 1e-12
"""0.8 - 0.5 is not 0.3 in binary; no gate turns on that."""
_COMPARE: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        ">=": lambda value, bound: value >= bound - _ROUNDING,
        "<=": lambda value, bound: value <= bound + _ROUNDING,
        ">": operator.gt,
        "<": operator.lt,
    }
)


class Verdict(msgspec.Struct, frozen=True):
    rule: str
    passed: bool
    value: float | None
    low: float | None
    high: float | None
    rows: int
    note: str


def judge(
    rules: Sequence[Rule],
    evidence: Evidence,
    live: Evidence | None,
    checks: Mapping[str, Check] = MappingProxyType({}),
) -> list[Verdict]:
    """A verdict a rule, in order, then that on coverage. `live`: what the live version says of the same rows.

    `checks` are the functions behind rules of kind `callable`, by the rule's text; one that is not there
    fails.
    """
    built_in = parse_rule(LEAST_COVERAGE)
    asked = [*rules, *([] if any(rule.text == built_in.text for rule in rules) else [built_in])]
    return [_verdict(rule, evidence, live, checks) for rule in asked]


def _verdict(rule: Rule, evidence: Evidence, live: Evidence | None, checks: Mapping[str, Check]) -> Verdict:
    try:
        match rule.kind:
            case "threshold":
                return _threshold(rule, evidence)
            case "not_worse":
                return _not_worse(rule, evidence, live)
            case "callable":
                return _callable(rule, evidence, checks.get(rule.text))
    except RefusedError as error:
        return Verdict(rule.text, False, None, None, None, evidence.rows, error.message)


def _threshold(rule: Rule, evidence: Evidence) -> Verdict:
    figure = measure(evidence, rule.metric, rule.column)
    passed = np.isfinite(figure.value) and _COMPARE[rule.comparison](figure.value, rule.bound)
    return _of_figure(rule, bool(passed), figure, figure.note)


def _not_worse(rule: Rule, evidence: Evidence, live: Evidence | None) -> Verdict:
    measure(evidence, "accuracy" if evidence.task == "classification" else "rmse")
    if live is None:
        return Verdict(rule.text, True, None, None, None, evidence.rows, "first version")
    figure = paired_difference(evidence, live)
    allowed = MOST_WORSE if evidence.task == "classification" else MOST_WORSE * rmse(live).value
    what = "accuracy" if evidence.task == "classification" else "-rmse"
    if figure.value < -allowed - _ROUNDING:
        return _of_figure(
            rule, False, figure, f"{what} is lower by {-figure.value:.4g}, more than {allowed:.4g}"
        )
    if figure.high < 0:
        return _of_figure(rule, False, figure, f"{what} is lower beyond doubt: the interval lies below 0")
    return _of_figure(rule, True, figure, f"difference in {what} to the live version")


def _callable(rule: Rule, evidence: Evidence, function: Check | None) -> Verdict:
    check(evidence)
    if function is None:
        return Verdict(rule.text, False, None, None, None, evidence.rows, "its function is not at hand")
    try:
        answer = function(evidence)
    except Exception as error:  # the user's code: whatever it raises, the gate stays shut
        note = f"its function raised {type(error).__name__}: {error}"
        return Verdict(rule.text, False, None, None, None, evidence.rows, note[:500])
    is_answer = isinstance(answer, bool | np.bool_)
    note = "" if is_answer else f"its function returned a {type(answer).__name__}, not True or False"
    return Verdict(rule.text, is_answer and bool(answer), None, None, None, evidence.rows, note)


def _of_figure(rule: Rule, passed: bool, figure: Figure, note: str) -> Verdict:
    return Verdict(rule.text, passed, figure.value, figure.low, figure.high, figure.rows, note)
