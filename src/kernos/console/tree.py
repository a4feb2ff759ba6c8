"""Runs in the order of their family: a parent, then its children, each with its depth."""

from __future__ import annotations

from collections.abc import Sequence

from kernos.api.views import RunView


def families(runs: Sequence[RunView]) -> list[tuple[int, RunView]]:
    """(depth, Run): families by their newest root first, children oldest first. A Run whose parent is not here is a root."""
    here = {run.id for run in runs}
    children: dict[int, list[RunView]] = {}
    roots: list[RunView] = []
    for run in sorted(runs, key=lambda run: run.id):
        if run.parent is not None and run.parent in here and run.parent < run.id:
            children.setdefault(run.parent, []).append(run)
        else:
            roots.append(run)
    order: list[tuple[int, RunView]] = []
    stack = [(0, root) for root in roots]
    while stack:
        depth, run = stack.pop()
        order.append((depth, run))
        stack += [(depth + 1, child) for child in reversed(children.get(run.id, []))]
    return order
