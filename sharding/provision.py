"""Make a database what it has to be: create it, migrate it, give every role its rights. Safe to repeat."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql

from sharding import statements
from sharding.access.roles import (
    READER,
    altering_roles,
    close_database,
    ensure_roles,
    open_database,
    set_password,
)
from sharding.instances import instance_dsn
from sharding.migrate import MIGRATIONS, Locks, arrange_rights, migrate_control, migrate_shard
from sharding.model import Instance, Shard, postgres_url
from sharding.settings import Settings

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
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        close_database(cursor, CONTROL_DATABASE)
    return dsn


def provision_shard(shard: Shard, folder: Path = MIGRATIONS, locks: Locks | None = None) -> list[str]:
    """Create a shard's database and schemas at the newest version; returns the revisions applied now."""
    ensure_roles(shard)
    create_database(shard.server_dsn, shard.database)
    with altering_roles(shard) as cursor:
        open_database(cursor, shard.database)
    statements.install(shard)
    applied = migrate_shard(shard, folder, locks)
    if not applied:
        arrange_rights(shard, locks)
    return applied


def allow_reader_login(shard: Shard, password: str) -> str:
    """Let the BI role, which sees every business of the shard, log in with a password; returns its DSN there."""
    with altering_roles(shard) as cursor:
        set_password(cursor, READER, password)
    return postgres_url(READER, password, shard.host, shard.port, shard.database)
