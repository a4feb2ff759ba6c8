from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from kernos.base.errors import ConflictError, CorruptError
from kernos.catalog.engine import WRITES, open_engine
from kernos.catalog.schema import METADATA
from kernos.catalog.upgrade import HEAD, MIGRATIONS, migrate, upgrade


def fresh(path: Path) -> Engine:
    return open_engine(f"sqlite:///{path}")


def in_transaction(engine: Engine) -> Connection:
    return engine.connect().execution_options(**WRITES)


def schema_of(path: Path) -> set[tuple[str, str, str]]:
    """Every table and index with its SQL, but for spaces and quotes."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        ).fetchall()
    connection.close()
    return {(kind, name, re.sub(r'[\s"]+', "", sql)) for kind, name, sql in rows if name != "alembic_version"}


def test_migrations_make_the_schema_to_the_letter(tmp_path: Path) -> None:
    by_migrations, at_once = fresh(tmp_path / "migrated.db"), fresh(tmp_path / "created.db")
    with in_transaction(by_migrations) as connection, connection.begin():
        migrate(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    with in_transaction(at_once) as connection, connection.begin():
        upgrade(connection)
    by_migrations.dispose()
    at_once.dispose()

    assert schema_of(tmp_path / "migrated.db") == schema_of(tmp_path / "created.db")


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_an_up_to_date_database_is_left_alone_without_loading_alembic(tmp_path: Path) -> None:
    program = f"""
import sys
from kernos.base.clock import SystemClock
from kernos.catalog.store import SqlStore
for _ in range(2):
    store = SqlStore("sqlite:///{tmp_path}/catalog.db", SystemClock())
    store.open()
    store.close()
assert not any(name.split(".")[0] in {{"alembic", "obstore", "numpy"}} for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_an_old_database_is_migrated(tmp_path: Path) -> None:
    engine = fresh(tmp_path / "catalog.db")
    with in_transaction(engine) as connection, connection.begin():
        connection.execute(
            text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )

    with in_transaction(engine) as connection, connection.begin():
        upgrade(connection)
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
    engine.dispose()


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path) -> None:
    engine = fresh(tmp_path / "catalog.db")
    with in_transaction(engine) as connection, connection.begin():
        connection.execute(text("CREATE TABLE runs (id INTEGER)"))
    before = schema_of(tmp_path / "catalog.db")

    with (
        in_transaction(engine) as connection,
        pytest.raises(Exception, match="already exists"),
        connection.begin(),
    ):
        migrate(connection)
    engine.dispose()

    assert schema_of(tmp_path / "catalog.db") == before


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    engine = fresh(tmp_path / "catalog.db")
    with in_transaction(engine) as connection, connection.begin():
        upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with (
        in_transaction(engine) as connection,
        pytest.raises(ConflictError, match="newer"),
        connection.begin(),
    ):
        upgrade(connection)
    engine.dispose()


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    engine = fresh(tmp_path / "catalog.db")
    with in_transaction(engine) as connection, connection.begin():
        connection.execute(text("CREATE TABLE photos (id INTEGER)"))

    with (
        in_transaction(engine) as connection,
        pytest.raises(CorruptError, match="not a Kernos"),
        connection.begin(),
    ):
        upgrade(connection)
    engine.dispose()
