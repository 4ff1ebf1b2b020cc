"""A schema that a business may write, on an instance of its own, and the most that it may hold.

The database itself holds the quota (shard_migrations/shard/0006_access.sql): each statement that adds rows, and each
command that makes or changes objects, looks at the schema's size at its end and is undone where that is too much.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

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
    """The schema, or a new quota for it; as an administrator who may make event triggers."""
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
    trigger = _trigger(shard)
    cursor.execute("select 1 from pg_event_trigger where evtname = %s", (trigger,))
    if cursor.fetchone() is None:
        cursor.execute(
            sql.SQL("create event trigger {} on ddl_command_end execute function {}.hold_workspaces()").format(
                sql.Identifier(trigger), sql.Identifier(shard.schema("keys"))
            )
        )
        cursor.execute(sql.SQL("alter event trigger {} enable always").format(sql.Identifier(trigger)))


def drop(cursor: Cursor, shard: Shard, role: str) -> None:
    """The schema with all that is in it."""
    cursor.execute(shard.render("delete from {keys}.workspace where role = %s returning schema"), (role,))
    for (schema,) in cursor.fetchall():
        cursor.execute(sql.SQL("drop event trigger if exists {}").format(sql.Identifier(_trigger(shard))))
        cursor.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))


def _trigger(shard: Shard) -> str:
    return f"{TRIGGER}_{shard.namespace}" if shard.namespace else TRIGGER
