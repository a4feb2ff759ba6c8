"""Amounts, times and names as a reader of the console sees them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from kernos.api.views import RunView
from kernos.base.units import show_seconds

NOTHING = "–"

_DIGEST = re.compile(r"(sha256:|)([0-9a-f]{10})[0-9a-f]{54}\Z")
_LINE_LIMIT = 120
"""Characters of a document shown in a table's cell; the command line prints all of it."""


def ago(at_ms: int | None, now_ms: int) -> str:
    """`now`, `12 s ago`, `3 min ago`, `5.2 h ago`; a time ahead of the clock is `now`."""
    if at_ms is None:
        return NOTHING
    seconds = (now_ms - at_ms) / 1000
    if seconds < 1:
        return "now"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{show_seconds(seconds)} ago"


def took(run: RunView) -> str:
    """How long a Run ran, or has run so far; a dash before it started."""
    return NOTHING if run.started_ms is None else show_seconds(run.wall_s)


def share(value: float | None) -> str:
    """0.1: `10 %`."""
    return NOTHING if value is None else f"{value * 100:.3g} %"


def count(value: int | float | None) -> str:
    """12345: `12,345`."""
    return NOTHING if value is None else f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A measured number in about three digits: `0.734`, `−0.045`, `12.3`, `1,204`, `3.1e-08`."""
    if value is None:
        return NOTHING
    size = abs(value)
    if value == 0 or size >= 1000:
        return f"{value:,.0f}"
    if size < 0.0001:
        return f"{value:.1e}"
    text = f"{value:.3f}" if 0.1 <= size < 1 else f"{value:.3g}"
    return text.replace("-", "−")


def short(digest: str) -> str:
    """`sha256:9f3c2a71bb…` of a digest, `9f3c2a71bb…` of a bare one; other names as they are."""
    match = _DIGEST.match(digest)
    return f"{match[1]}{match[2]}…" if match else digest


def plural(amount: int, one: str, many: str = "") -> str:
    """`1 Run`, `3 Runs`."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def plain(value: Any) -> str:
    """One JSON value in one line: digests shortened, long documents cut."""
    if isinstance(value, str):
        return short(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NOTHING}[value]
    if isinstance(value, float):
        return figure(value)
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LINE_LIMIT else f"{text[:_LINE_LIMIT]}…"


def best(found: Mapping[str, Any]) -> str:
    """What a search found, in one line: `C 0.058, value 0.769`. Which trial it was stands with the trials."""
    flat = {**found.get("params", {}), **{name: value for name, value in found.items() if name != "params"}}
    return ", ".join(
        f"{name} {plain(value)}"
        for name, value in flat.items()
        if name != "index" and value not in ("", None)
    )
