"""Compares every row of a business on two shards, and the sums of its marts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.ids import id_range
from sharding.model import Shard
from sharding.moving.copying import Chunk, as_they_lie
from sharding.moving.drain import digest
from sharding.moving.layout import relation
from sharding.moving.witness import Witness, still_there
from sharding.moving.workers import Work, side_by_side


@dataclass(frozen=True)
class Verified:
    """How many rows were compared, and the chunks in which they differ."""

    rows: int
    differing: tuple[Chunk, ...]


def compare(
    source: Connection,
    targets: Sequence[Connection],
    from_: Shard,
    to: Shard,
    business: int,
    chunks: Sequence[Chunk],
    witnesses: Mapping[tuple[str, int], Witness] | None = None,
) -> Verified:
    """Compare all rows, chunk by chunk; both sides count and hash their own, each connection in a thread of its own.

    Args:
        source: must see one state.
        targets: must all see the same one.
        witnesses: what chunks (table, number) were on the old shard when they were read to be copied.
    """
    here, there = [(0, 0)] * len(chunks), [(0, 0)] * len(chunks)
    work = Work(range(len(chunks)))

    def rows_of(shard: Shard, chunk: Chunk) -> sql.Composed:
        wanted = chunk.table.between(business, chunk.low, chunk.high)
        return sql.SQL("{} as here where {}").format(chunk.table.at(shard), wanted)

    def hash_here() -> None:
        for number, chunk in enumerate(chunks):
            if work.failed.is_set():
                return
            rows, witness = rows_of(from_, chunk), (witnesses or {}).get((chunk.table.name, chunk.number))
            with source.cursor() as cursor:
                as_they_lie(cursor)
                if witness is not None and still_there(cursor, rows, witness):
                    here[number] = (witness.rows, witness.digest)
                else:
                    here[number] = digest(cursor, chunk.table, rows)

    def hash_there(conn: Connection) -> None:
        for number in work.taken():
            with conn.cursor() as cursor:
                as_they_lie(cursor)
                there[number] = digest(cursor, chunks[number].table, rows_of(to, chunks[number]))

    side_by_side([hash_here, *(partial(hash_there, conn) for conn in targets)], work.failed, f"compare {business}")
    differing = tuple(chunk for chunk, one, other in zip(chunks, here, there, strict=True) if one != other)
    return Verified(sum(count for count, _ in here), differing)


_MART_OWNERS = ("business_id", "location_id", "sale_id", "employee_id", "item_id", "campaign_id", "source_id")


def differing_marts(source: Connection, target: Connection, from_: Shard, to: Shard, business: int) -> dict[str, str]:
    """Mart → how the business's rows differ between two shards: counts, else sums or any other column.

    Marts of one shard alone are in it; those without a business (a calendar) are not compared.
    """
    here, there = _marts(source, from_), _marts(target, to)
    low, high = id_range(business)
    found: dict[str, str] = {}
    for mart in sorted(here.keys() | there.keys()):
        if mart not in here or mart not in there:
            found[mart] = f"is on {from_.name if mart in here else to.name} alone"
            continue
        columns = here[mart]
        owner = next((name for name in _MART_OWNERS if columns.get(name) == "bigint"), None)
        if owner is None:
            continue
        told = []
        for conn, shard in ((source, from_), (target, to)):
            with conn.cursor() as cursor:
                cursor.execute(
                    sql.SQL(
                        "select count(*), coalesce(sum(hashtextextended(row({})::text, 0)::numeric), 0)"
                        " from {}.{} where {} between %s and %s"
                    ).format(
                        sql.SQL(", ").join(map(sql.Identifier, sorted(columns))),
                        sql.Identifier(shard.schema("marts")),
                        sql.Identifier(mart),
                        sql.Identifier(owner),
                    ),
                    (low, high),
                )
                told += cursor.fetchall()
        if told[0] != told[1]:
            (rows, _), (others, _) = told
            found[mart] = f"{rows} rows and {others}" if rows != others else f"{rows} rows each, not the same ones"
    return found


def _marts(conn: Connection, shard: Shard) -> dict[str, dict[str, str]]:
    """Marts that follow changes: name → column → type. Others (forecasts, once a day) are made from them."""
    with conn.cursor() as cursor:
        cursor.execute("select to_regclass(%s)", (f"{shard.schema('meta')}.mark",))
        [(marks,)] = cursor.fetchall()
        if marks is None:
            return {}
        cursor.execute(sql.SQL("select model from {}").format(relation(shard, "meta.mark")))
        following = [model for (model,) in cursor.fetchall()]
        cursor.execute(
            """
            select c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod)
            from pg_class as c
            inner join pg_namespace as n on n.oid = c.relnamespace
            inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            where c.relkind = 'r' and n.nspname = %s and c.relname = any(%s)
            """,
            (shard.schema("marts"), following),
        )
        found: dict[str, dict[str, str]] = {}
        for table, column, type_ in cursor.fetchall():
            found.setdefault(table, {})[column] = type_
        return found
