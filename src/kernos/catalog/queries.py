"""Conditions from plain values: what a reader may ask of a table, checked before the database sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement

from kernos.base.errors import LimitError
from kernos.catalog.schema import RecordTable

_MEMBERS = 10_000
"""Members of one IN: SQLite binds at most 32,766 values a statement."""


def column(table: RecordTable[Any], name: str) -> Column[Any]:
    """A column that can be compared. ValueError for an unknown one, and for JSON."""
    if name not in table.scalars:
        known = ", ".join(sorted(table.scalars))
        raise ValueError(f"{table.name} has no column {name!r} to compare; it has {known}")
    found: Column[Any] = table.table.c[name]
    return found


def conditions(table: RecordTable[Any], where: Mapping[str, object]) -> list[ColumnElement[bool]]:
    """One condition a column: equal to the value, or to any member where the value is a collection."""
    return [_condition(column(table, name), value) for name, value in where.items()]


def by_key(table: RecordTable[Any], key: Sequence[object]) -> dict[str, object]:
    """The parameters of `table.by_key`. ValueError where the number of values is not the key's."""
    if len(key) != len(table.key):
        raise ValueError(f"the key of {table.name} is {', '.join(table.key)}: not {len(key)} values")
    return {f"k{number}": value for number, value in enumerate(key)}


def ordering(table: RecordTable[Any], first: str, *, descending: bool) -> list[ColumnElement[Any]]:
    """By column `first`, if one is named, then by primary key: the same order every time."""
    columns = [column(table, name) for name in ((first,) if first else ()) + table.key]
    return [each.desc() if descending else each.asc() for each in columns]


def _condition(of: Column[Any], value: object) -> ColumnElement[bool]:
    if not isinstance(value, list | tuple | set | frozenset):
        return of == value
    if len(value) > _MEMBERS:
        raise LimitError(f"{len(value)} values of {of.name} at once.", hint=f"Ask for {_MEMBERS} at a time.")
    return of.in_(list(value))
