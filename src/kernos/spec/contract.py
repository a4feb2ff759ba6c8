"""Data contracts, a column a line: `TYPE['?'] [LOW..HIGH | in A,B,C | ~ REGEX] [unique]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from kernos.spec.cursor import NUMBER, Cursor
from kernos.spec.manifest import Column
from kernos.spec.place import nearest

Type = Literal["int", "float", "str", "bool", "datetime"]
TYPES: tuple[str, ...] = get_args(Type)

# Patterns run on a linear-time engine (Rust's regex, inside polars), which has neither of these.
_BEYOND_LINEAR = re.compile(r"\(\?<?[=!]|\(\?P=|\(\?\(|(?<!\\)(?:\\\\)*\\[1-9]|\(\?>|[*+?}]\+")


@dataclass(frozen=True, slots=True)
class _Limits:
    low: float | None = None
    high: float | None = None
    members: list[Any] | None = None
    pattern: str = ""


def parse_column(name: str, text: str) -> Column:
    """What `text` asks of column `name`. Either end of a range may be left open; both ends belong to it."""
    cursor = Cursor(text, f"contract of column {name!r}:", "int? 0..120")
    kind = cursor.expect(r"\w+", "a type")
    if kind not in TYPES:
        raise cursor.error(f"there is no type {kind!r}", at=cursor.at - len(kind), hint=nearest(kind, TYPES))
    nullable = cursor.take(r"\?") is not None
    limits, unique = _limits(cursor, kind)
    cursor.end()
    return Column(
        name,
        cast(Type, kind),
        nullable=nullable,
        low=limits.low,
        high=limits.high,
        members=limits.members,
        pattern=limits.pattern,
        unique=unique,
    )


def _limits(cursor: Cursor, kind: str) -> tuple[_Limits, bool]:
    if cursor.take(r"in\b"):
        start = cursor.at
        rest, unique = _without_unique(cursor.rest())
        return _Limits(members=_members(cursor, kind, rest, start)), unique
    if cursor.take(r"~"):
        start = cursor.at
        rest, unique = _without_unique(cursor.rest())
        return _Limits(pattern=_pattern(cursor, kind, rest, start)), unique
    limits = _range(cursor, kind)
    return limits, cursor.take(r"unique\b") is not None


def _without_unique(rest: str) -> tuple[str, bool]:
    if rest == "unique":
        return "", True
    shorter = re.sub(r"\s+unique\Z", "", rest)
    return shorter, shorter != rest


def _members(cursor: Cursor, kind: str, rest: str, start: int) -> list[Any]:
    if kind not in {"int", "float", "str"}:
        raise cursor.error(f"a {kind} column takes no list of values", at=start)
    words = [word.strip() for word in rest.split(",")]
    if not all(words):
        raise cursor.error("a value is missing", at=start, hint="Write it like 'str in A, B, C'.")
    convert = {"int": int, "float": float, "str": str}[kind]
    try:
        members = [convert(word) for word in words]
    except ValueError:
        raise cursor.error(f"the values are not all of type {kind}", at=start) from None
    if len(set(members)) < len(members) or any(member != member for member in members):
        raise cursor.error("the values are not different from each other", at=start)
    return members


def _pattern(cursor: Cursor, kind: str, pattern: str, start: int) -> str:
    if kind != "str" or not pattern:
        raise cursor.error(
            "a pattern follows '~' and is for str columns", at=start, hint="Write it like 'str ~ [A-Z]+'."
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise cursor.error(f"the pattern is broken ({error.msg})", at=start) from None
    if _BEYOND_LINEAR.search(pattern):
        raise cursor.error(
            "look-around and back-references are not known here", at=start, hint="Use a plain pattern."
        )
    return pattern


def _range(cursor: Cursor, kind: str) -> _Limits:
    match = cursor.take(rf"({NUMBER})?\.\.({NUMBER})?")
    if match is None:
        return _Limits()
    start = match.start()
    if kind not in {"int", "float"}:
        raise cursor.error(f"a {kind} column takes no range", at=start)
    low, high = (None if end is None else float(end) for end in match.groups())
    if low is None and high is None:
        raise cursor.error("a range needs an end", at=start)
    if low is not None and high is not None and low > high:
        raise cursor.error(f"{low:g} is more than {high:g}", at=start)
    if kind == "int" and any(end is not None and not end.is_integer() for end in (low, high)):
        raise cursor.error("the ends of an int range are whole numbers", at=start)
    return _Limits(low=low, high=high)
