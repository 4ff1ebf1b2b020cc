"""Make a database what it has to be: create it, migrate it, give the BI role its rights. Safe to repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor as Cursor

from sharding.instances import instance_dsn
from sharding.migrate import MIGRATIONS, Locks, migrate_control, migrate_shard
from sharding.model import Instance, Shard, postgres_url
from sharding.settings import Settings

READER = "larder_reader"
CONTROL_DATABASE = "larder_control"


def create_database(dsn: str, name: str) -> bool:
    """Create a database over a connection to another one of the same server; False if it exists."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", (name,))
            if cursor.fetchone():
                return False
            try:
                cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            except (errors.DuplicateDatabase, errors.UniqueViolation):  # another process was quicker
                return False
            return True


def provision_control(instance: Instance, settings: Settings) -> str:
    """Create and migrate the control database on an instance; returns its DSN."""
    create_database(instance_dsn(instance, "postgres", settings.home), CONTROL_DATABASE)
    dsn = instance_dsn(instance, CONTROL_DATABASE, settings.home)
    migrate_control(dsn)
    return dsn


def provision_shard(shard: Shard, folder: Path = MIGRATIONS, locks: Locks | None = None) -> list[str]:
    """Create a shard's database and schemas at the newest version; returns the revisions applied now."""
    create_database(_maintenance(shard), shard.database)
    applied = migrate_shard(shard, folder, locks)
    _grant_reader(shard)
    return applied


def allow_reader_login(shard: Shard, password: str) -> str:
    """Let the BI role log in with a password; returns its DSN on this shard."""
    with _roles(shard) as cursor:
        statement = sql.SQL("alter role {} login password {}")
        cursor.execute(statement.format(sql.Identifier(READER), sql.Literal(password)))
    return postgres_url(READER, password, shard.host, shard.port, shard.database)


def _grant_reader(shard: Shard) -> None:
    """One role per instance, which reads the schema `bi` (also views made later) and nothing else."""
    names = {"role": sql.Identifier(READER), "bi": sql.Identifier(shard.schema("bi"))}
    with _roles(shard) as cursor:
        cursor.execute("select 1 from pg_roles where rolname = %s", (READER,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("create role {role} nologin").format(**names))
            cursor.execute(sql.SQL("alter role {role} set default_transaction_read_only = on").format(**names))
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        for statement in (
            "grant usage on schema {bi} to {role}",
            "grant select on all tables in schema {bi} to {role}",
            "alter default privileges in schema {bi} grant select on tables to {role}",
        ):
            cursor.execute(sql.SQL(statement).format(**names))


@contextmanager
def _roles(shard: Shard) -> Iterator[Cursor]:
    """A transaction that may alter roles. They belong to the whole server, and two sessions that alter one at once fail
    ("tuple concurrently updated"); an advisory lock belongs to a database, so all take it in the same one."""
    with closing(psycopg2.connect(_maintenance(shard))) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(19452)")
        yield cursor


def _maintenance(shard: Shard) -> str:
    return postgres_url(shard.username, shard.password, shard.host, shard.port, "postgres")
