"""Compares both shards when a business already trades on the new one: all rows but those changed since the flip."""

from __future__ import annotations

import json
from collections.abc import Sequence

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.model import Shard
from sharding.moving.drain import digest, noted_keys, one_snapshot
from sharding.moving.layout import MovedTable


def compare_since(
    source: Connection, target: Connection, from_: Shard, to: Shard, business: int, tables: Sequence[MovedTable]
) -> tuple[int, tuple[str, ...]]:
    """How many rows were compared, and the tables in which they differ.

    The old shard holds what it had at the flip. The new one has noted for the way back what changed since; each of
    those rows was compared inside the flip if it had changed before, and is the new shard's own business after it.
    """
    rows, differing = 0, list[str]()
    with one_snapshot(target):
        changed = noted_keys(target, to, business)
        for table in tables:
            here, there = (
                _unchanged(conn, shard, business, table, changed.get(table.name, []))
                for conn, shard in ((source, from_), (target, to))
            )
            rows += there[0]
            if here != there:
                differing.append(table.name)
    source.rollback()
    return rows, tuple(differing)


def _unchanged(
    conn: Connection, shard: Shard, business: int, table: MovedTable, changed: Sequence[Sequence[str]]
) -> tuple[int, int]:
    noted = sql.SQL(
        "(select array(select jsonb_array_elements_text(value)) as key from jsonb_array_elements({}::jsonb)) as noted"
    ).format(sql.Literal(json.dumps(changed)))
    with conn.cursor() as cursor:
        return digest(
            cursor,
            table,
            sql.SQL("{} as here where {} and not exists (select from {} where {})").format(
                table.at(shard), table.rows_of(business), noted, table.same_key("here", "noted.key")
            ),
        )
