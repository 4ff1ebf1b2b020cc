"""Whether a shard is sound after a migration: what the others wait for before it is done to them."""

from __future__ import annotations

from contextlib import closing

import psycopg2
from psycopg2 import sql

from sharding.errors import LarderError
from sharding.model import Shard


def require_healthy(shard: Shard) -> None:
    """Every index is valid, every view can be read, and a business of the shard can be written; nothing is changed.

    Raises:
        LarderError: turn `us`: what is not so.
    """
    with closing(psycopg2.connect(shard.dsn, application_name="larder migrate")) as connection:
        try:
            reason = _first_fault(connection, shard)
        except psycopg2.Error as error:
            reason = " ".join(str(error).split())
        finally:
            connection.rollback()
    if reason:
        raise LarderError(f"{shard.name} is not healthy after its migration: {reason}", "us", "larder doctor")


def _first_fault(connection: psycopg2.extensions.connection, shard: Shard) -> str:
    schemas = list(shard.schemas.values())
    with connection.cursor() as cursor:
        cursor.execute(
            "select c.oid::regclass::text from pg_index as i inner join pg_class as c on c.oid = i.indexrelid"
            " where not i.indisvalid and c.relnamespace::regnamespace::text = any(%s)",
            (schemas,),
        )
        if row := cursor.fetchone():
            return f"index {row[0]} is not valid"
        cursor.execute(
            "select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace"
            " where c.relkind = 'v' and (n.nspname = any(%s) or n.nspname like %s)",
            (schemas, f"{shard.schema('raw')}\\_%"),
        )
        for schema, view in cursor.fetchall():
            cursor.execute(sql.SQL("select from {}.{} limit 0").format(sql.Identifier(schema), sql.Identifier(view)))
        cursor.execute(shard.render("select business from {keys}.route where state = 'active' order by 1 limit 1"))
        for (business,) in cursor.fetchall():
            cursor.execute(shard.render("select {keys}.write_gate(%(b)s), {keys}.reserve(%(b)s, 1)"), {"b": business})
    return ""
