"""A schema that a business may write, on an instance of its own, and the most that it may hold.

The database itself holds the quota (shard_migrations/shard/0006_access.sql): each statement that adds rows, and each
command that makes or changes objects, looks at the schema's size at its end and is undone where that is too much.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from sharding import bootstrap
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Business, Shard

NAME = "workspace"
TRIGGER = "larder_hold_workspaces"


def writable(settings: Mapping[str, str]) -> dict[str, str]:
    """A role's settings, but that it may write."""
    return {**settings, "default_transaction_read_only": "off"}


def require_own_instance(catalogue: Catalogue, owner: Business, instance: str | None = None) -> None:
    """Refuse a workspace where others live.

    Args:
        instance: default: the one where the business lives.

    Raises:
        LarderError: turn `you`: another business lives on the instance, or the instance is the control database's.
    """
    at = {shard.name: shard.instance for shard in catalogue.shards()}
    wanted = instance or at[owner.shard]
    others = [other.name for other in catalogue.businesses() if other.id != owner.id and at.get(other.shard) == wanted]
    if others:
        raise LarderError(
            f"{owner.name} shares {wanted} with {len(others)} other businesses: a schema to write in needs an instance"
            " of its own",
            "you",
            f"larder business isolate {owner.name} --help",
        )


def make(cursor: Cursor, shard: Shard, role: str, quota_bytes: int) -> None:
    """The schema, or a new quota for it."""
    names = {"schema": sql.Identifier(shard.schema(NAME)), "role": sql.Identifier(role)}
    cursor.execute(sql.SQL("create schema if not exists {schema}").format(**names))
    cursor.execute(sql.SQL("grant usage, create on schema {schema} to {role}").format(**names))
    cursor.execute(
        shard.render("""
        insert into {keys}.workspace (schema, role, quota_bytes) values (%s, %s, %s)
        on conflict (schema) do update set role = excluded.role, quota_bytes = excluded.quota_bytes
        """),
        (shard.schema(NAME), role, quota_bytes),
    )


def ensure_trigger(shard: Shard, home: Path) -> None:
    """Make the event trigger that looks at workspaces after each command. It stays when a workspace goes, and then does
    nothing. Only a superuser can make one, or whom the operator of a managed server lets: on an embedded server of this
    home the superuser does.

    Raises:
        LarderError: turn `config`: a superuser of a server elsewhere has to do it.
    """
    name = _trigger(shard)
    statements = (
        f"create event trigger {name} on ddl_command_end execute function {shard.schema('keys')}.hold_workspaces()",
        f"alter event trigger {name} enable always",
    )
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select exists (select from pg_event_trigger where evtname = %s)", (name,))
        if cursor.fetchone() == (True,):
            return
    dsn = shard.dsn
    if bootstrap.superuser_secret(shard.instance, home).exists():
        dsn = bootstrap.Server(shard.instance, shard.host, shard.port, home).dsn(shard.database)
    try:
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except psycopg2.errors.InsufficientPrivilege as error:
        said = "; ".join(statements)
        raise LarderError(
            f"{shard.username} may not make event triggers on {shard.instance}, and one holds the quota of a workspace."
            f" A superuser there has to say once: {said}",
            "config",
            f"psql -h {shard.host} -p {shard.port} -d {shard.database} -c {shlex.quote(said)}   # then repeat",
        ) from error


def hold_again(shard: Shard, home: Path) -> None:
    """`ensure_trigger` where there is a workspace: of a backup event triggers are no part. Raises as that does."""
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(shard.render("select exists (select from {keys}.workspace)"))
        [(held,)] = cursor.fetchall()
    if held:
        ensure_trigger(shard, home)


def drop(cursor: Cursor, shard: Shard, role: str) -> None:
    """The schema with all that is in it."""
    cursor.execute(shard.render("delete from {keys}.workspace where role = %s returning schema"), (role,))
    for (schema,) in cursor.fetchall():
        cursor.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))


def _trigger(shard: Shard) -> str:
    return f"{TRIGGER}_{shard.namespace}" if shard.namespace else TRIGGER
