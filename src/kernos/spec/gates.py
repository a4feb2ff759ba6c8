"""Gate rules: `METRIC(column)? COMPARISON NUMBER`, or `not worse than live`. Nothing else is a gate
string."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

from kernos.spec.cursor import NUMBER, Cursor
from kernos.spec.manifest import Comparison, Rule
from kernos.spec.place import nearest

NOT_WORSE = "not worse than live"


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that a gate may ask for."""

    task: Literal["classification", "regression", "any"]
    is_share: bool = True
    """Whether its value always lies between 0 and 1."""
    per_column: bool = False
    """Whether it compares the groups of a sensitive column."""


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric("classification"),
        "auc": Metric("classification"),
        "f1": Metric("classification"),
        "precision": Metric("classification"),
        "recall": Metric("classification"),
        "log_loss": Metric("classification", is_share=False),
        "brier": Metric("classification", is_share=False),
        "parity_gap": Metric("classification", per_column=True),
        "equal_odds_gap": Metric("classification", per_column=True),
        "coverage": Metric("any"),
        "r2": Metric("regression", is_share=False),
        "mae": Metric("regression", is_share=False),
        "rmse": Metric("regression", is_share=False),
    }
)


def parse_rule(text: str, line: int = 0) -> Rule:
    """One gate as data. InvalidError points at the character that does not fit."""
    if " ".join(text.split()) == NOT_WORSE:
        return Rule(NOT_WORSE, "not_worse", line=line)
    cursor = Cursor(text, "gate", "accuracy >= 0.65")
    name = _metric(cursor)
    column = _column(cursor, name)
    comparison = cursor.expect(r">=|<=|>(?!=)|<(?!=)", "one of >=, <=, >, <")
    bound = _bound(cursor, name)
    cursor.end()
    left = f"{name}({column})" if column else name
    return Rule(
        f"{left} {comparison} {repr(bound).removesuffix('.0')}",
        "threshold",
        metric=name,
        column=column,
        comparison=cast(Comparison, comparison),
        bound=bound,
        line=line,
    )


def _metric(cursor: Cursor) -> str:
    start = len(cursor.text) - len(cursor.text.lstrip())
    name = cursor.expect(r"[A-Za-z_]\w*", "a metric")
    if name == "not":
        raise cursor.error(f"only {NOT_WORSE!r} begins with 'not'", at=start, hint=f"Write {NOT_WORSE!r}.")
    if name not in METRICS:
        raise cursor.error(f"there is no metric {name!r}", at=start, hint=nearest(name, METRICS))
    return name


def _column(cursor: Cursor, name: str) -> str:
    if not METRICS[name].per_column:
        if cursor.take(r"(?=\()"):
            raise cursor.error(f"{name} takes no column", hint=f"Write it like '{name} >= 0.5'.")
        return ""
    example = f"Write it like '{name}(sex) <= 0.1'."
    if cursor.take(r"\(") is None:
        raise cursor.error(f"{name} compares the groups of a column", hint=example)
    column = cursor.expect(r"[^()]*", "a column").strip()
    if not column:
        raise cursor.error("expected a sensitive column", hint=example)
    cursor.expect(r"\)", "')'")
    return column


def _bound(cursor: Cursor, name: str) -> float:
    number = cursor.expect(NUMBER, "a number")
    start, bound = cursor.at - len(number), float(number)
    if not math.isfinite(bound):
        raise cursor.error("the number is too large", at=start)
    if METRICS[name].is_share and not 0 <= bound <= 1:
        raise cursor.error(f"{name} lies between 0 and 1", at=start, hint="Write 65 % as 0.65.")
    return bound
