"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("meta", sa.Text(), nullable=False),
        sa.Column("run", _BIG, nullable=True),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "versions",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("version", _BIG, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("run", _BIG, nullable=True),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("path", "version"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_versions_digest", "versions", ["digest"])
    op.create_table(
        "names",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", _BIG, nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("path", "name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "edges",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("run", _BIG, nullable=True),
        sa.PrimaryKeyConstraint("target", "source", "role"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_edges_source", "edges", ["source"])
    op.create_table(
        "runs",
        sa.Column("id", _BIG, nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("parent", _BIG, nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("klass", sa.Text(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("cpus", sa.Double(), nullable=False),
        sa.Column("memory_bytes", _BIG, nullable=False),
        sa.Column("wall_s", sa.Double(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("attempts", _BIG, nullable=False),
        sa.Column("retries", _BIG, nullable=False),
        sa.Column("queued_ms", _BIG, nullable=False),
        sa.Column("started_ms", _BIG, nullable=True),
        sa.Column("ended_ms", _BIG, nullable=True),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=True,
    )
    op.create_index(
        "ix_runs_key",
        "runs",
        ["key"],
        unique=True,
        sqlite_where=sa.text("key != ''"),
        postgresql_where=sa.text("key != ''"),
    )
    op.create_index("ix_runs_kind_app", "runs", ["kind", "app"])
    op.create_index("ix_runs_parent", "runs", ["parent"])
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "metrics",
        sa.Column("run", _BIG, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step", _BIG, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("run", "key", "step"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "params",
        sa.Column("run", _BIG, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cache",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("run", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "principals",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "deployments",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("live", _BIG, nullable=True),
        sa.Column("previous", _BIG, nullable=True),
        sa.Column("canary", _BIG, nullable=True),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since_ms", _BIG, nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "monitors",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("package", _BIG, nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("alarm", sa.Integer(), nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("app"),
        sqlite_with_rowid=True,
    )
    op.create_table(
        "events",
        sa.Column("seq", _BIG, nullable=False, autoincrement=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_with_rowid=True,
    )
    op.create_index("ix_events_subject", "events", ["subject"])
    op.create_table(
        "nodes",
        sa.Column("last", _BIG, nullable=False),
        sa.Column("level", _BIG, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("last", "level"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "heads",
        sa.Column("size", _BIG, nullable=False, autoincrement=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("at_ms", _BIG, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
        sqlite_with_rowid=True,
    )
