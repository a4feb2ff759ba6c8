"""When a flow is built again without being asked: `on drift, at most daily` or `every 6h`."""

from __future__ import annotations

from kernos.base.units import parse_seconds
from kernos.spec.cursor import DURATION, Cursor
from kernos.spec.manifest import Trigger
from kernos.spec.place import nearest

_PERIODS = {"hourly": 3600.0, "daily": 86400.0, "weekly": 604800.0}
_LEAST_S = 1.0


def parse_trigger(text: str) -> Trigger:
    """The words as data. Empty: built only when asked."""
    if not text.strip():
        return Trigger()
    cursor = Cursor(text, "trigger", "on drift, at most daily")
    if cursor.take(r"every\b"):
        trigger = Trigger(text, "time", _duration(cursor))
    else:
        cursor.expect(r"on\b", "'on drift' or 'every'")
        cursor.expect(r"drift\b", "'drift'")
        cursor.expect(r",", "', at most …'")
        cursor.expect(r"at\b", "'at most'")
        cursor.expect(r"most\b", "'most'")
        trigger = Trigger(text, "drift", _rate(cursor))
    cursor.end()
    return trigger


def _rate(cursor: Cursor) -> float:
    word = cursor.expect(r"\w+", "hourly, daily, weekly or 'every 10m'")
    if word == "every":
        return _duration(cursor)
    if word not in _PERIODS:
        raise cursor.error(
            f"{word!r} is no rate", at=cursor.at - len(word), hint=nearest(word, [*_PERIODS, "every 10m"])
        )
    return _PERIODS[word]


def _duration(cursor: Cursor) -> float:
    start = cursor.at
    seconds = parse_seconds(cursor.expect(DURATION, "a duration such as 6h"))
    if seconds < _LEAST_S:
        raise cursor.error("the period is at least 1s", at=start)
    return seconds
