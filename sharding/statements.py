"""What a server knows of the statements that were run on it (pg_stat_statements): how often, how long, by which role.

The extension lives in the database `postgres`, in a schema that Larder's inspector may use and nobody else: whoever can
read it sees how busy every reader of the server is. Of statements it keeps the text without constants, and of commands
that are no queries (`alter role … password`) nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from sharding.access.roles import altering_roles
from sharding.bootstrap import WATCH as SCHEMA
from sharding.errors import LarderError
from sharding.model import INSPECTOR, Shard

LIBRARY = "pg_stat_statements"
_TIMEOUT = "-c statement_timeout=10s -c default_transaction_read_only=on"
CONNECT_SECONDS = 5


@dataclass(frozen=True)
class Usage:
    """What a role asked of a database since the statistics began. Times in milliseconds."""

    database: str
    reader: str
    calls: int
    total_ms: float
    max_ms: float
    rows: int


@dataclass(frozen=True)
class Statement:
    """A statement of a role, without its constants."""

    database: str
    reader: str
    calls: int
    mean_ms: float
    max_ms: float
    total_ms: float
    text: str


def install(shard: Shard) -> bool:
    """Make the statistics of a shard's server readable for the inspector. False where the server does not keep them, or
    does not let its administrator make them readable. Safe to repeat."""
    try:
        with altering_roles(shard) as cursor:
            return _install(cursor)
    except psycopg2.errors.InsufficientPrivilege:
        return False


def _install(cursor: Cursor) -> bool:
    if not _is_loaded(cursor):
        return False
    cursor.execute("select 1 from pg_available_extensions where name = %s", (LIBRARY,))
    if cursor.fetchone() is None:
        return False
    schema, names = _schema(cursor), {"schema": sql.Identifier(SCHEMA), "inspector": sql.Identifier(INSPECTOR)}
    making = (
        "create schema if not exists {schema}",
        "create extension pg_stat_statements schema {schema}",
        "revoke all on schema {schema} from public",
        "revoke all on all tables in schema {schema} from public",
        "revoke all on all functions in schema {schema} from public",
    )
    granting = (
        "grant usage on schema {schema} to {inspector}",
        "grant select on all tables in schema {schema} to {inspector}",
        "grant execute on function {schema}.pg_stat_statements(boolean) to {inspector}",
    )
    if schema not in (None, SCHEMA):
        return True  # somebody else's, and readable as they made it
    for statement in (*(making if schema is None else ()), *granting):
        cursor.execute(sql.SQL(statement).format(**names))
    return True


def usage(shard: Shard, databases: Sequence[str]) -> list[Usage]:
    """What each role asked of some databases of a shard's server.

    Raises:
        LarderError: turn `config`: the server keeps no such statistics; the message says what to do.
        psycopg2.OperationalError: it does not answer.
    """
    query = """
        select d.datname, r.rolname, sum(s.calls)::bigint, sum(s.total_exec_time), max(s.max_exec_time),
            sum(s.rows)::bigint
        from {statements} as s
        inner join pg_database as d on d.oid = s.dbid
        inner join pg_roles as r on r.oid = s.userid
        where d.datname = any(%s)
        group by 1, 2
    """
    return [Usage(*row) for row in _ask(shard, query, (list(databases),))]


def slowest(shard: Shard, database: str, reader: str | None = None, limit: int = 10) -> list[Statement]:
    """The statements that take longest on average, of one role or of all.

    Raises:
        LarderError: turn `config`: the server keeps no such statistics.
    """
    query = """
        select d.datname, r.rolname, s.calls, s.mean_exec_time, s.max_exec_time, s.total_exec_time,
            left(regexp_replace(regexp_replace(s.query, '^\\s*/\\*.*?\\*/', ''), '\\s+', ' ', 'g'), 300)
        from {statements} as s
        inner join pg_database as d on d.oid = s.dbid
        inner join pg_roles as r on r.oid = s.userid
        where d.datname = %(database)s and r.rolname = coalesce(%(reader)s, r.rolname)
        order by s.mean_exec_time desc limit %(limit)s
    """
    return [Statement(*row) for row in _ask(shard, query, {"database": database, "reader": reader, "limit": limit})]


def _ask(shard: Shard, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with (
        closing(
            psycopg2.connect(shard.as_role(INSPECTOR).server_dsn, connect_timeout=CONNECT_SECONDS, options=_TIMEOUT)
        ) as conn,
        conn.cursor() as cur,
    ):
        schema = _schema(cur)
        if schema is None or not _is_loaded(cur):
            raise missing(shard)
        statements = sql.Identifier(schema, LIBRARY)
        try:
            cur.execute(sql.SQL(query).format(statements=statements), values)
        except psycopg2.errors.InsufficientPrivilege as error:
            cause = f"{INSPECTOR} may not read {schema}.{LIBRARY} on {shard.instance}: {str(error).strip()}"
            raise LarderError(cause, "config", "larder up") from error
        return cur.fetchall()


def missing(shard: Shard) -> LarderError:
    """That a server keeps no statistics of statements, and what helps."""
    return LarderError(
        f"{shard.instance} keeps no statistics of statements: {LIBRARY} is not among its shared_preload_libraries",
        "config",
        "larder down; larder up   # a server of your own: load it in postgresql.conf and restart, then larder up",
    )


def _is_loaded(cursor: Cursor) -> bool:
    cursor.execute("select current_setting('pg_stat_statements.max', true) is not null")
    return cursor.fetchone() == (True,)


def _schema(cursor: Cursor) -> str | None:
    cursor.execute(
        "select n.nspname from pg_extension as e inner join pg_namespace as n on n.oid = e.extnamespace"
        " where e.extname = %s",
        (LIBRARY,),
    )
    row = cursor.fetchone()
    return row[0] if row else None
