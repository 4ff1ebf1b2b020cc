"""What of a database is a shard, and what a backup says of it: who lived there, which blocks were loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.backup.dump import Part
from sharding.model import SCHEMAS, Shard
from sharding.moving.layout import relation

_WORKSPACE = "workspace"


def part_of(shard: Shard, beside: Sequence[Shard]) -> Part:
    """The schemas that are the shard's. `beside`: the other shards of its database.

    A shard without a namespace has the database but for what is theirs, with what analysts made there. Landing tables
    hold nothing that is not in a block.
    """
    if shard.namespace:
        names = (*SCHEMAS, "raw_*", "custom", _WORKSPACE)
        return Part(only=tuple(f"{shard.namespace}_{name}" for name in names))
    theirs = tuple(f"{other.namespace}_*" for other in beside)
    return Part(without=("raw_landing_*", *theirs))


def shares(shard: Shard, shards: Sequence[Shard]) -> list[Shard]:
    """The other shards of a shard's database."""
    place = (shard.host, shard.port, shard.database)
    return [other for other in shards if other.name != shard.name and (other.host, other.port, other.database) == place]


def known_of(conn: Connection, shard: Shard) -> dict[str, Any]:
    """What the shard says of itself at the connection's snapshot.

    `ledger.newest`: the newest block that is loaded; what came later, or was still waiting, is loaded again after a
    restore. `marks`: up to which snapshot each model had seen its parents.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select count(*), count(distinct block_id), max(block_id::text), max(loaded_at)::text,"
                " coalesce(sum(records), 0)::bigint from {}"
            ).format(relation(shard, "raw.loaded_blocks"))
        )
        [(loads, blocks, newest, at, records)] = cursor.fetchall()
        cursor.execute(
            sql.SQL("select business, name, state, epoch from {} order by 1").format(relation(shard, "keys.route"))
        )
        routes = [dict(zip(("business", "name", "state", "epoch"), row, strict=True)) for row in cursor.fetchall()]
        cursor.execute(sql.SQL("select role::text from {} order by 1").format(relation(shard, "keys.tenant")))
        tenants = [role for (role,) in cursor.fetchall()]
        cursor.execute("select to_regclass(%s) is not null", (f"{shard.schema('meta')}.mark",))
        marks: dict[str, str] = {}
        if cursor.fetchone() == (True,):
            cursor.execute(sql.SQL("select model, seen::text from {}").format(relation(shard, "meta.mark")))
            marks = dict(cursor.fetchall())
    ledger = {"blocks": blocks, "loads": loads, "records": records, "newest": newest, "loaded_at": at}
    return {"ledger": ledger, "routes": routes, "tenants": tenants, "marks": marks}
