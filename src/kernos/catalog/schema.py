"""The tables, derived once from the record types: a field is a column, and its type says how it is stored.

| field | column | stored as |
|---|---|---|
| int, bool | INTEGER | 64 bits; a bool as 0 or 1 |
| float | REAL | finite; -0.0 as 0.0, as SQLite does |
| str, Literal | TEXT | |
| dict, list | TEXT | canonical JSON (sorted keys); NaN and infinities become null |

What is stored is what is read back, to the byte: the digests that tie rows to the journal depend on it.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec
import msgspec.inspect
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import Insert, insert

from kernos.base.digests import canonical
from kernos.base.errors import CorruptError, InvalidError
from kernos.catalog.records import (
    ArtifactRecord,
    CacheRecord,
    DeploymentRecord,
    EdgeRecord,
    EventRecord,
    HeadRecord,
    MetricRecord,
    MonitorRecord,
    NameRecord,
    NodeRecord,
    ParamRecord,
    PrincipalRecord,
    Record,
    RunRecord,
    VersionRecord,
)

R = TypeVar("R", bound=Record)
Stored = int | float | str | None
METADATA = MetaData()
_INTEGER = BigInteger().with_variant(Integer(), "sqlite")
"""In SQLite only a column declared INTEGER is the row's own id."""


@dataclass(frozen=True, slots=True)
class RecordTable(Generic[R]):
    """How one record type is a table."""

    kind: type[R]
    name: str
    table: Table
    key: tuple[str, ...]
    key_positions: tuple[int, ...]
    encoders: tuple[Callable[[Any], Stored], ...]
    decoders: tuple[tuple[int, Callable[[Any], Any]], ...]
    """(column number, function) of the columns that are not read as they are stored."""
    scalars: frozenset[str]
    """Columns that a query may compare: all but JSON."""
    by_key: Select[Any]
    """The row whose key columns are the parameters `k0`, `k1`, …"""
    upsert: Insert
    """Insert, or replace the row with the same key."""

    def encode(self, record: R) -> tuple[Stored, ...]:
        """The record as stored. InvalidError where a number does not fit; TypeError for a wrong type."""
        values = []
        columns = self.table.columns
        for encoder, value, column in zip(
            self.encoders, msgspec.structs.astuple(record), columns, strict=True
        ):
            try:
                values.append(encoder(value))
            except ArithmeticError as error:
                message = f"{self.name}.{column.name} cannot hold {value!r}."
                raise InvalidError(message, hint="Leave such a value out, or bound it.") from error
            except TypeError as error:
                raise TypeError(f"{self.name}.{column.name}: {error}") from error
        return tuple(values)

    def decode(self, stored: Sequence[Any]) -> R:
        values = list(stored)
        try:
            for index, decoder in self.decoders:
                values[index] = decoder(values[index])
        except (msgspec.DecodeError, TypeError) as error:
            message = f"A row of {self.name} cannot be read: {error}."
            raise CorruptError(message, hint="`kernos audit verify` says what was changed.") from error
        return self.kind(*values)

    def key_text(self, stored: Sequence[Stored]) -> str:
        """The row's primary key as one string: the value itself, or a JSON list of several."""
        values = [stored[position] for position in self.key_positions]
        return str(values[0]) if len(values) == 1 else canonical(values).decode()


def row_digest(stored: Sequence[Stored]) -> str:
    """SHA-256 (hex) over the canonical JSON list of a row's values as stored."""
    return hashlib.sha256(canonical(stored)).hexdigest()


def table_of(kind: type[R]) -> RecordTable[R]:
    return cast(RecordTable[R], TABLES[kind])


def _integer(value: Any) -> int:
    number = int(operator.index(value))
    if not -(2**63) <= number < 2**63:
        raise OverflowError("more than 64 bits")
    return number


def _real(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise OverflowError("not finite")
    return number + 0.0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not text")
    return str(value)


def _json(value: Any) -> str:
    return canonical(value).decode()


def _boolean(value: Any) -> int:
    return int(bool(value))


def _optional(encoder: Callable[[Any], Stored]) -> Callable[[Any], Stored]:
    return lambda value: None if value is None else encoder(value)


def _column(
    field: msgspec.inspect.Field, key: tuple[str, ...]
) -> tuple[Column[Any], Callable[[Any], Stored], str]:
    """The column of a field, its encoder, and what it is: integer, real, text, boolean or json."""
    kind, nullable = field.type, False
    if isinstance(kind, msgspec.inspect.UnionType):
        nullable = kind.includes_none
        (kind,) = (member for member in kind.types if not isinstance(member, msgspec.inspect.NoneType))
    what, type_, encoder = _STORAGE[type(kind)]
    column: Column[Any] = Column(
        field.name, type_, primary_key=field.name in key, autoincrement=False, nullable=nullable
    )
    return column, _optional(encoder) if nullable else encoder, what


_STORAGE: Mapping[type, tuple[str, Any, Callable[[Any], Stored]]] = {
    msgspec.inspect.IntType: ("integer", _INTEGER, _integer),
    msgspec.inspect.BoolType: ("boolean", Integer(), _boolean),
    msgspec.inspect.FloatType: ("real", Double(), _real),
    msgspec.inspect.StrType: ("text", Text(), _text),
    msgspec.inspect.LiteralType: ("text", Text(), _text),
    msgspec.inspect.DictType: ("json", Text(), _json),
    msgspec.inspect.ListType: ("json", Text(), _json),
}


def _derive(name: str, kind: type[R], *key: str) -> RecordTable[R]:
    info = cast(msgspec.inspect.StructType, msgspec.inspect.type_info(kind))
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    columns, encoders, decoders, scalars = [], [], [], []
    for index, field in enumerate(info.fields):
        column, encoder, what = _column(field, key)
        columns.append(column)
        encoders.append(encoder)
        if what == "json":
            decoders.append((index, msgspec.json.Decoder(fields[field.name].type).decode))
        else:
            scalars.append(field.name)
        if what == "boolean":
            decoders.append((index, bool))
    # A key of several columns is the table itself: no second B-tree beside the rows.
    table = Table(name, METADATA, *columns, sqlite_with_rowid=len(key) == 1)
    return RecordTable(
        kind=kind,
        name=name,
        table=table,
        key=key,
        key_positions=tuple(index for index, column in enumerate(columns) if column.primary_key),
        encoders=tuple(encoders),
        decoders=tuple(decoders),
        scalars=frozenset(scalars),
        by_key=select(table).where(*(table.c[part] == bindparam(f"k{n}") for n, part in enumerate(key))),
        upsert=_upsert(table, key),
    )


def _upsert(table: Table, key: tuple[str, ...]) -> Insert:
    statement = insert(table)
    rest = {
        column.name: statement.excluded[column.name] for column in table.columns if column.name not in key
    }
    return statement.on_conflict_do_update(index_elements=list(key), set_=rest)


def _index(table: RecordTable[Any], *columns: str) -> None:
    Index(f"ix_{table.name}_{'_'.join(columns)}", *(table.table.c[name] for name in columns))


TABLES: Mapping[type[Record], RecordTable[Any]] = {
    table.kind: table
    for table in (
        _derive("artifacts", ArtifactRecord, "digest"),
        _derive("versions", VersionRecord, "path", "version"),
        _derive("names", NameRecord, "path", "name"),
        _derive("edges", EdgeRecord, "target", "source", "role"),
        _derive("runs", RunRecord, "id"),
        _derive("metrics", MetricRecord, "run", "key", "step"),
        _derive("params", ParamRecord, "run", "key"),
        _derive("cache", CacheRecord, "key"),
        _derive("principals", PrincipalRecord, "name"),
        _derive("deployments", DeploymentRecord, "app"),
        _derive("monitors", MonitorRecord, "app"),
        _derive("events", EventRecord, "seq"),
        _derive("nodes", NodeRecord, "last", "level"),
        _derive("heads", HeadRecord, "size"),
    )
}

JOURNAL: frozenset[type[Record]] = frozenset({EventRecord, NodeRecord, HeadRecord})
"""Kinds that make up the journal; every other kind is state, and each change of it is tied to an Event."""

_index(table_of(VersionRecord), "digest")
_index(table_of(EdgeRecord), "source")
_index(table_of(RunRecord), "state")
_index(table_of(RunRecord), "parent")
_index(table_of(RunRecord), "kind", "app")
_index(table_of(EventRecord), "subject")
Index(
    "ix_runs_key",
    table_of(RunRecord).table.c.key,
    unique=True,
    sqlite_where=text("key != ''"),
    postgresql_where=text("key != ''"),
)
