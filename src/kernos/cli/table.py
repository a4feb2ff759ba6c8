"""The look of every answer: no borders, numbers to the right, times as people say them, long values cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from kernos.base.units import show_seconds

_STYLES = {
    "running": "cyan",
    "done": "green",
    "cached": "green",
    "live": "green",
    "failed": "red",
    "rolled_back": "red",
    "stopped": "yellow",
    "canary": "yellow",
    "queued": "dim",
    "waiting": "dim",
    "idle": "dim",
}


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; the columns named in `right` hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    return made


def fields(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column()
    for name, value in rows:
        if value != "":
            made.add_row(name, value)
    return made


def state(word: str) -> Text:
    return Text(word, _STYLES.get(word, ""))


def ago(at_ms: int | None, now_ms: int) -> str:
    """`3.1 s ago`; empty for a moment that has not come."""
    return "" if at_ms is None else f"{show_seconds(max(0, now_ms - at_ms) / 1000)} ago"


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) < 1e15 and value == int(value) else f"{value:.4g}"


def document(value: Any) -> RenderableType:
    """Any JSON value for a person: fields a line, lists of like things as a table."""
    if isinstance(value, dict):
        rows: list[tuple[str, RenderableType]] = []
        for name, item in value.items():
            nested = isinstance(item, dict | list) and bool(item)
            rows.append((str(name), document(item) if nested else brief(item)))
        return fields(rows)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        names = list(dict.fromkeys(name for item in value for name in item))
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
        for name in names:
            made.add_column(name)
        for item in value:
            made.add_row(*(brief(item.get(name, "")) for name in names))
        return made
    return brief(value)


def brief(value: Any) -> str:
    """A value on one line, cut where it would fill a screen."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        shown = ", ".join(brief(item) for item in value[:8])
        return shown if len(value) <= 8 else f"{shown}, … ({len(value)})"
    if isinstance(value, dict):
        shown = ", ".join(f"{key}={brief(item)}" for key, item in list(value.items())[:8])
        return shown if len(value) <= 8 else f"{shown}, … ({len(value)})"
    text = "" if value is None else str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
