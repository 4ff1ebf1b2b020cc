"""Blocks that are being written."""

from shard_migrations.sql import run_sql_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql_beside(__file__)
