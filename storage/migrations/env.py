"""Alembic's entry: runs the revisions on the connection that storage/database.py hands over, all in one go."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], target_metadata=None, transaction_per_migration=False
)
with context.begin_transaction():
    context.run_migrations()
