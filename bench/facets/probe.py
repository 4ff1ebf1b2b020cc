"""The orchestration's probe on a shard of this benchmark, which has no keys and no raw data but two stand-ins."""

from contextlib import closing
from datetime import UTC, datetime

import psycopg2

from orchestration.mark import Look, look, set_day, set_mark

_STAND_INS = """
create schema if not exists stand_in;
create table if not exists stand_in.source (integration text);
create table if not exists stand_in.build_mark (
    scope text primary key, system_identifier bigint, code text, integrations text[], models text[], as_of timestamptz,
    built_at timestamptz default clock_timestamp()
)
"""
_CODE = "the bench's"
_NOW = datetime(2026, 6, 30, 20, tzinfo=UTC)


def _schema(bare: str) -> str:
    return "facets_meta" if bare == "meta" else "stand_in"


def mark(dsn: str) -> None:
    """Record, as a build does when it ends, what the project is that these models were built from."""
    with closing(psycopg2.connect(dsn)) as conn:
        with conn, conn.cursor() as cur:
            cur.execute(_STAND_INS)
        seen = look(conn, _schema, _CODE, _NOW)
        set_mark(conn, _schema, seen, _CODE)
        set_day(conn, _schema, _NOW)


def probe(dsn: str) -> Look:
    """What a cycle asks first, the connection included."""
    with closing(psycopg2.connect(dsn)) as conn:
        return look(conn, _schema, _CODE, _NOW)
