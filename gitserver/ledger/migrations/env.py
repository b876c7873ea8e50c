"""Alembic's entry: it runs on the connection that Ledger.open hands over, never on one of its own."""

from alembic import context

from gitserver.ledger.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
