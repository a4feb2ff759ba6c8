from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kernos.base.errors import ConflictError, CorruptError, InvalidError, KernosError, UnavailableError
from kernos.catalog.engine import WRITES, open_engine, storage_error, use_write_ahead_log


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://host/db"])
def test_what_cannot_hold_a_catalog_is_refused(url: str) -> None:
    with pytest.raises(InvalidError, match="cannot live"):
        open_engine(url)


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        open_engine(f"sqlite:///{tmp_path}/absent/catalog.db")


def test_the_file_is_private_and_every_connection_is_durable(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/catalog.db")
    use_write_ahead_log(engine)

    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert connection.scalar(text("PRAGMA busy_timeout")) == 5000
    assert stat.S_IMODE((tmp_path / "catalog.db").stat().st_mode) == 0o600
    engine.dispose()


def test_a_writing_connection_takes_the_lock_when_it_begins(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/catalog.db?timeout=0.01")
    use_write_ahead_log(engine)

    with engine.connect().execution_options(**WRITES) as first, first.begin():
        with engine.connect() as reader, reader.begin():
            assert reader.scalar(text("SELECT count(*) FROM sqlite_master")) == 0
        with engine.connect().execution_options(**WRITES) as second, pytest.raises(OperationalError):
            second.begin()
    engine.dispose()


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        (sqlite3.SQLITE_FULL, UnavailableError, "full"),
        (sqlite3.SQLITE_IOERR | 4 << 8, UnavailableError, "disk failed"),
        (sqlite3.SQLITE_READONLY, UnavailableError, "read-only"),
        (sqlite3.SQLITE_BUSY, UnavailableError, "Another process"),
        (sqlite3.SQLITE_LOCKED, UnavailableError, "locked"),
        (sqlite3.SQLITE_CANTOPEN, UnavailableError, "opened"),
        (sqlite3.SQLITE_CORRUPT, CorruptError, "damaged"),
        (sqlite3.SQLITE_NOTADB, CorruptError, "damaged"),
        (sqlite3.SQLITE_NOMEM, UnavailableError, "failed"),
    ],
)
def test_each_failure_says_what_it_means_and_what_to_do(
    code: int, kind: type[KernosError], word: str
) -> None:
    for error in (failure(code), OperationalError("COMMIT", {}, failure(code))):
        meant = storage_error(error)

        assert type(meant) is kind
        assert word in meant.message
        assert "what SQLite says" in meant.message
        assert meant.hint


def test_a_taken_key_is_a_conflict_and_a_full_pool_is_not() -> None:
    assert (
        type(storage_error(IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE")))) is ConflictError
    )
    assert type(storage_error(PoolTimeoutError())) is UnavailableError
