"""How differently a model treats groups. Groups too small to judge are named; a missing column is refused."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernos.govern import intervals
from kernos.govern.evidence import Coded, Evidence, Figure, coded, is_missing, refuse

LEAST_GROUP_ROWS = 5
"""A share of fewer rows jumps by a quarter with one row."""
MISSING = "(missing)"
"""The group of rows that do not say."""


class GroupLine(msgspec.Struct, frozen=True):
    """One group in a fairness table. A share without rows is None."""

    column: str
    group: str
    rows: int
    selection_rate: float
    """Share predicted positive."""
    accuracy: float
    true_positive_rate: float | None
    false_positive_rate: float | None


def parity_gap(evidence: Evidence, column: str) -> Figure:
    """Largest difference between two groups in the share predicted positive (demographic parity);
    Newcombe's interval."""
    code, groups = _binary(evidence, column)
    shares = {name: (int(code.predicted[rows].sum()), int(rows.sum())) for name, rows in groups.items()}
    return _gap(shares, evidence.rows)


def equal_odds_gap(evidence: Evidence, column: str) -> Figure:
    """The larger one of the gaps in true-positive and in false-positive rate (equalised odds, worst case)."""
    code, groups = _binary(evidence, column)
    gaps = []
    for label, what in ((1, "positive"), (0, "negative")):
        of_label = {name: rows & (code.labels == label) for name, rows in groups.items()}
        shares = {name: (int(code.predicted[rows].sum()), int(rows.sum())) for name, rows in of_label.items()}
        gaps.append(_gap(shares, evidence.rows, f"{what} "))
    widest = max(gaps, key=lambda gap: gap.value)
    notes = "; ".join(gap.note for gap in gaps if gap.note)
    return msgspec.structs.replace(widest, note=notes)


def group_lines(evidence: Evidence) -> list[GroupLine]:
    """The fairness table: every group of every sensitive column, small ones too. Empty unless there are two
    classes."""
    if evidence.task != "classification" or not coded(evidence).is_binary:
        return []
    lines: list[GroupLine] = []
    for column in evidence.groups:
        code, groups = _binary(evidence, column)
        for name, rows in groups.items():
            labels, predicted = code.labels[rows], code.predicted[rows]
            rates = [
                float(predicted[labels == label].mean()) if (labels == label).any() else None
                for label in (1, 0)
            ]
            accuracy = float((labels == predicted).mean())
            lines.append(GroupLine(column, name, len(labels), float(predicted.mean()), accuracy, *rates))
    return lines


def _binary(evidence: Evidence, column: str) -> tuple[Coded, dict[str, NDArray[np.bool_]]]:
    code = coded(evidence)
    if not code.is_binary:
        raise refuse(f"gaps between groups are for two classes, and here are {len(code.classes)}")
    if column not in evidence.groups:
        raise refuse(f"the sensitive column {column!r} is missing")
    values = np.asarray(evidence.groups[column])
    if len(values) != evidence.rows:
        raise refuse(f"the sensitive column {column!r} has {len(values)} rows, not {evidence.rows}")
    missing = is_missing(values)
    named = [
        MISSING if is_gone else str(value) for value, is_gone in zip(values.tolist(), missing, strict=True)
    ]
    names = np.asarray(named, dtype=np.str_)
    return code, {str(name): names == name for name in np.unique(names)}


def _gap(shares: Mapping[str, tuple[int, int]], rows: int, what: str = "") -> Figure:
    """The widest difference among groups of enough rows."""
    judged = {name: counts for name, counts in shares.items() if counts[1] >= LEAST_GROUP_ROWS}
    small = [f"{name!r} has {shares[name][1]} {what}rows" for name in shares if name not in judged]
    note = f"too small to judge: {', '.join(small[:10])}" if small else ""
    if len(judged) < 2:
        raise refuse(
            f"fewer than two groups have {LEAST_GROUP_ROWS} {what}rows; {note or 'there is one group'}"
        )
    ordered = sorted(judged.values(), key=lambda counts: counts[0] / counts[1])
    (low_hits, low_rows), (high_hits, high_rows) = ordered[0], ordered[-1]
    low, high = intervals.newcombe(high_hits, high_rows, low_hits, low_rows)
    value = high_hits / high_rows - low_hits / low_rows
    return Figure(value, max(0.0, low), min(1.0, high), rows, note)
