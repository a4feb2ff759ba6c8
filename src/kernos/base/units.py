"""Amounts as people write them: `10m`, `1GiB`, `10%`."""

from __future__ import annotations

import re

from kernos.base.errors import InvalidError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z%]+)\Z")


def parse_seconds(text: str) -> float:
    """`250ms`, `10s`, `2m`, `1h`, `1d`, `1w`: seconds."""
    amount, unit = _split(text, "duration", "10m", _SECONDS)
    return amount * _SECONDS[unit]


def parse_bytes(text: str) -> int:
    """`512MiB`, `1GiB`, `10MB`: bytes."""
    amount, unit = _split(text, "size", "1GiB", _BYTES)
    return round(amount * _BYTES[unit])


def parse_share(text: str) -> float:
    """`10%`: 0.1."""
    amount, _ = _split(text, "share", "10%", {"%": 1})
    if amount > 100:
        raise InvalidError(f"{text!r} is more than all.", hint="Write a share between 0% and 100%.")
    return amount / 100


def show_seconds(seconds: float) -> str:
    """A duration for a person: `412 ms`, `3.1 s`, `12 min`, `5.2 h`, `3.0 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def show_bytes(count: float) -> str:
    """A size for a person: `812 B`, `41.2 KiB`, `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _split(text: str, what: str, example: str, units: dict[str, float] | dict[str, int]) -> tuple[float, str]:
    match = _AMOUNT.match(text.strip())
    if not match or match[2] not in units:
        known = ", ".join(units)
        raise InvalidError(f"{text!r} is not a {what}.", hint=f"Write it like {example}; units: {known}.")
    return float(match[1]), match[2]
