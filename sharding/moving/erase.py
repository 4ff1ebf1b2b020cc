"""Takes a business's rows off a shard that no longer, or not yet, owns it; models there follow."""

from __future__ import annotations

from collections.abc import Callable

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.layout import MovedTable, moved_tables, relation

_BATCH = 20_000


def erase(conn: Connection, shard: Shard, business: int, build: Callable[[Shard], None]) -> int:
    """Delete the rows, some thousands a transaction, and the route at last. Returns how many rows.

    Records go first and `build` lets the models follow, while keys and links still tell what belonged together.

    Raises:
        LarderError: turn `us`: the business is active here.
    """
    route = relation(shard, "keys.route")
    with conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("select state from {} where business = %s").format(route), (business,))
        row = cursor.fetchone()
    if row is None:
        return 0
    if row[0] in ("active", "paused"):
        raise LarderError(f"business {business} lives on {shard.name}", "us", "larder business list")
    tables = moved_tables(conn, shard)
    head = next(table for table in tables if table.name == "raw.head")
    with conn, conn.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "insert into {} (integration, stream, source_id, natural_key, operation, version_id)"
                " select source.integration, here.stream, here.source_id, here.natural_key, 'D', here.version_id"
                " from {} as here inner join {} as source on source.id = here.source_id"
                " where {}"
            ).format(
                relation(shard, "raw.feed"),
                head.at(shard),
                relation(shard, "keys.source"),
                sql.SQL("here.") + head.rows_of(business),
            )
        )
        cursor.execute(sql.SQL("delete from {} where {}").format(head.at(shard), head.rows_of(business)))
        deleted = cursor.rowcount
    records = [table for table in tables if table.name.startswith("raw") and table.name != "raw.link"]
    deleted += sum(_delete(conn, shard, business, table) for table in records)
    build(shard)
    rest = [table for table in reversed(tables) if table not in records]
    deleted += sum(_delete(conn, shard, business, table) for table in rest)
    build(shard)
    with conn, conn.cursor() as cursor:
        for name in ("keys.move_chunk", "keys.move_change", "keys.move_entry", "keys.counter", "keys.route"):
            cursor.execute(sql.SQL("delete from {} where business = %s").format(relation(shard, name)), (business,))
    return deleted


def _delete(conn: Connection, shard: Shard, business: int, table: MovedTable) -> int:
    deleted = 0
    while True:
        with conn, conn.cursor() as cursor:
            cursor.execute(
                sql.SQL("delete from {0} where ctid = any (array(select ctid from {0} where {1} limit %s))").format(
                    table.at(shard), table.rows_of(business)
                ),
                (_BATCH,),
            )
            deleted += cursor.rowcount
            if cursor.rowcount < _BATCH:
                return deleted
