"""Where Alembic enters: it runs inside the transaction that `catalog.upgrade` holds."""

from __future__ import annotations

from alembic import context

from kernos.catalog.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
