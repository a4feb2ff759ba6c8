"""Brings a database to this release's schema. A new one is made at once; only an old one loads Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from kernos.base.errors import ConflictError, CorruptError
from kernos.catalog.schema import METADATA

HEAD = "0001"
"""The newest numbered migration."""

MIGRATIONS = Path(__file__).parent / "migrations"

_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own table, read and written here without loading it."""


def upgrade(connection: Connection) -> None:
    """Make the schema the newest one, in the caller's transaction: a crash leaves the old one whole.

    A database of a newer release is refused with ConflictError, and left as it is.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        METADATA.create_all(connection)
        _VERSION.create(connection)
        connection.execute(_VERSION.insert().values(version_num=HEAD))
        return
    if _VERSION.name not in tables:
        raise CorruptError("This database is not a Kernos catalog.", hint="Point Kernos at another home.")
    found = connection.scalar(select(_VERSION.c.version_num)) or ""
    if found > HEAD:
        raise ConflictError(
            f"The catalog has schema {found}, newer than this release's {HEAD}.",
            hint="Start the newer release of Kernos.",
        )
    if found < HEAD:
        migrate(connection)


def migrate(connection: Connection, target: str = "head") -> None:
    """Run the numbered migrations up to `target`, in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
