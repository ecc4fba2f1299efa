"""Alembic's entry: always on a connection that the caller opened."""

from alembic import context

from edgemgr.model import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.METADATA,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
