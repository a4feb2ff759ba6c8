"""How a service is rolled out, in words: `10% for 2m`, `errors > 1% or p99 > 50ms`."""

from __future__ import annotations

from kernos.base.units import parse_seconds, parse_share
from kernos.spec.cursor import DURATION, SHARE, Cursor
from kernos.spec.place import nearest


def parse_canary(text: str) -> tuple[float, float]:
    """`10% for 2m`: the canary's share of traffic (0 to 1) and for how many seconds. Empty: no canary, (0,
    0)."""
    if not text.strip():
        return 0.0, 0.0
    cursor = Cursor(text, "canary", "10% for 2m")
    share = parse_share(cursor.expect(SHARE, "a share"))
    if share <= 0:
        raise cursor.error("a canary without traffic proves nothing", at=0)
    cursor.expect(r"for\b", "'for'")
    start = cursor.at
    seconds = parse_seconds(cursor.expect(DURATION, "a duration"))
    if seconds <= 0:
        raise cursor.error("a canary needs time", at=start)
    cursor.end()
    return share, seconds


def parse_rollback(text: str) -> tuple[float, float]:
    """`errors > 1% or p99 > 50ms`: the most errors (share) and the longest p99 (ms). Empty: (1, 0), no
    bound."""
    errors, p99_ms = 1.0, 0.0
    if not text.strip():
        return errors, p99_ms
    cursor = Cursor(text, "rollback", "errors > 1% or p99 > 50ms")
    seen: set[str] = set()
    while True:
        name = cursor.expect(r"\w+", "errors or p99")
        start = cursor.at - len(name)
        if name not in {"errors", "p99"}:
            raise cursor.error(f"{name!r} is not watched", at=start, hint=nearest(name, ["errors", "p99"]))
        if name in seen:
            raise cursor.error(f"{name} is bounded twice", at=start)
        seen.add(name)
        cursor.expect(r">(?!=)", "'>'")
        if name == "errors":
            errors = parse_share(cursor.expect(SHARE, "a share such as 1%"))
        else:
            p99_ms = _p99_ms(cursor)
        if cursor.take(r"or\b") is None:
            cursor.end()
            return errors, p99_ms


def _p99_ms(cursor: Cursor) -> float:
    start = cursor.at
    milliseconds = parse_seconds(cursor.expect(DURATION, "a duration such as 50ms")) * 1000
    if milliseconds <= 0:
        raise cursor.error("no answer takes no time", at=start)
    return milliseconds
