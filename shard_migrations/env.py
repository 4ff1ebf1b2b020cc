"""Alembic's entry: runs on the connection that sharding/migrate.py hands over, never on one of its own."""

from alembic import context

options = context.config.attributes
context.configure(
    connection=options["connection"],
    version_table="schema_version",
    version_table_schema=options["version_schema"],
    transaction_per_migration=True,
    on_version_apply=options["on_version_apply"],
)
with context.begin_transaction():
    context.run_migrations()
