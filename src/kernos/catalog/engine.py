"""The database behind the catalog: SQLite in WAL mode, every commit synced, every failure a typed error."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kernos.base.errors import ConflictError, CorruptError, InvalidError, KernosError, UnavailableError

STORAGE_ERRORS = (SQLAlchemyError, sqlite3.Error)
"""What the database raises: wrapped by SQLAlchemy, and bare where a connection is being made."""

WRITES = {"kernos_writes": True}
"""Execution options of a connection whose transactions take the write lock when they begin."""

_CONNECTIONS = 4
_MORE_CONNECTIONS = 28
"""Readers beyond the ones kept open: as many as the API has threads, and a few."""

_PRAGMAS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA cache_size=-1024",  # KiB a connection; the page cache of the system holds the rest
    "PRAGMA temp_store=MEMORY",
)


def open_engine(url: str) -> Engine:
    """An engine on `sqlite:////absolute/path`; the file is made, private to its owner, where there is none.

    `?timeout=` sets how many seconds a writer waits for another process (5 without it).
    """
    database = make_url(url)
    if database.get_backend_name() != "sqlite" or not database.database or database.database == ":memory:":
        raise InvalidError(
            f"The catalog cannot live at {url}.", hint="Write it like sqlite:////path/catalog.db."
        )
    try:
        os.close(os.open(database.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UnavailableError(
            f"The catalog {database.database} cannot be opened: {error.strerror}.",
            hint="Check that the folder exists, and who may write there.",
        ) from error
    engine = create_engine(database, pool_size=_CONNECTIONS, max_overflow=_MORE_CONNECTIONS, pool_timeout=10)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def use_write_ahead_log(engine: Engine) -> None:
    """Kept in the file from then on: readers never wait for the writer, nor it for them."""
    with closing(engine.raw_connection()) as raw, closing(raw.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")


def storage_error(error: Exception) -> KernosError:
    """What a failure of the database (one of STORAGE_ERRORS) means to a caller."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.IntegrityError):
        return ConflictError(
            f"Another row has this key already: {cause}.", hint="Read the state, then retry."
        )
    if isinstance(error, PoolTimeoutError):
        return UnavailableError("Too many readers hold the catalog.", hint="Try again.")
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte: what went wrong, without where
    kind, message, hint = _MEANING.get(code, _UNKNOWN)
    return kind(f"{message} ({cause}).", hint=hint)


_UNKNOWN = (UnavailableError, "The catalog failed: nothing was written", "Try again; see the kernel's log.")
_DAMAGED = (
    CorruptError,
    "The catalog's file is damaged",
    "Restore the home from a backup; `kernos audit verify` says what holds.",
)
_MEANING: dict[int, tuple[type[KernosError], str, str]] = {
    sqlite3.SQLITE_FULL: (
        UnavailableError,
        "The disk is full: the catalog wrote nothing",
        "Free space on the disk of the Kernos home, then try again.",
    ),
    sqlite3.SQLITE_IOERR: (
        UnavailableError,
        "The disk failed: the catalog wrote nothing",
        "Check the disk of the Kernos home (dmesg), then try again.",
    ),
    sqlite3.SQLITE_READONLY: (
        UnavailableError,
        "The catalog is read-only: nothing was written",
        "Check the mount and the permissions of the Kernos home, then try again.",
    ),
    sqlite3.SQLITE_BUSY: (
        UnavailableError,
        "Another process holds the catalog: nothing was written",
        "One kernel may use a home: stop the other one, then try again.",
    ),
    sqlite3.SQLITE_LOCKED: (UnavailableError, "The catalog is locked: nothing was written", "Try again."),
    sqlite3.SQLITE_CANTOPEN: (
        UnavailableError,
        "The catalog's file cannot be opened",
        "Check that the Kernos home exists and who may write there.",
    ),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_ERROR: _DAMAGED,
}


def _on_connect(raw: sqlite3.Connection, _record: Any) -> None:
    raw.isolation_level = None  # the driver begins nothing on its own: `_on_begin` does
    for pragma in _PRAGMAS:
        raw.execute(pragma)


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("kernos_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
