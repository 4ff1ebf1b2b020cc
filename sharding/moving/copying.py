"""Copies a business's rows to another shard: in chunks, each in one transaction, journaled where it arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.model import MOVER, Shard
from sharding.moving import witness
from sharding.moving.layout import MovedTable, relation
from sharding.moving.pipe import transfer
from sharding.moving.witness import Witness
from sharding.moving.workers import Work, side_by_side

CHUNK_ROWS = 100_000
CHUNK_BYTES = 64 * 2**20
"""A chunk has no more of either: it is what a kill makes lose, and what a repair copies anew."""
_CHUNK_MEMORY = "256MB"  # what a chunk's documents take written out, which would else go over the disk to be hashed
_EXACTLY = 100_000  # rows of a table up to which chunks are cut by counting instead of by a sample
_SAMPLES = 200  # rows looked at for each edge between chunks


@dataclass(frozen=True)
class Chunk:
    """Rows of one table with keys in [low, high); None is open, so that no row falls between or beyond chunks.

    `rows`: about how many there were when it was planned. Where there were none, those that came since were noted.
    """

    table: MovedTable
    number: int
    low: tuple[str, ...] | None
    high: tuple[str, ...] | None
    rows: int | None = None


def plan_chunks(source: Connection, shard: Shard, business: int, table: MovedTable, rows: int) -> list[Chunk]:
    """Cut a table's rows of the business into chunks of about `rows` rows, fewer where they are wide; at least one.

    Large tables are cut at the keys of a sample, which reads some of their pages only.
    """
    with source, source.cursor() as cursor:
        count = _count(cursor, shard, business, table)
        if not count:
            return [Chunk(table, 0, None, None, 0)]
        pieces = _pieces(cursor, shard, table, count, rows)
        keys = [] if pieces < 2 else _sampled(cursor, shard, business, table, count, pieces)
    bounds = list(dict.fromkeys(keys[len(keys) * n // pieces] for n in range(1, pieces))) if keys else []
    edges: list[tuple[str, ...] | None] = [None, *bounds, None]
    return [
        Chunk(table, number, edges[number], edges[number + 1], count // (len(edges) - 1))
        for number in range(len(edges) - 1)
    ]


def _count(cursor: Cursor, shard: Shard, business: int, table: MovedTable) -> int:
    """The table's rows of the business; of many, about how many, as the planner takes it."""
    rows = sql.SQL("from {} where {}").format(table.at(shard), table.rows_of(business))
    cursor.execute(
        sql.SQL("select count(*) from (select {} limit {}) as counted").format(rows, sql.Literal(_EXACTLY + 1))
    )
    [(count,)] = cursor.fetchall()
    if count <= _EXACTLY:
        return int(count)
    cursor.execute(sql.SQL("explain (format json) select {}").format(rows))
    [(plan,)] = cursor.fetchall()
    return max(int(count), int(plan[0]["Plan"]["Plan Rows"]))


def _pieces(cursor: Cursor, shard: Shard, table: MovedTable, count: int, rows: int) -> int:
    cursor.execute(
        sql.SQL(
            "select coalesce(pg_table_size(oid) / nullif(greatest(reltuples, 0), 0), 0) from pg_class"
            " where oid = {}::regclass"
        ).format(sql.Literal(table.at(shard).as_string(cursor)))
    )
    [(width,)] = cursor.fetchall()
    return max(-(-count // rows), int(count * width) // CHUNK_BYTES + 1)


def _sampled(
    cursor: Cursor, shard: Shard, business: int, table: MovedTable, count: int, pieces: int
) -> list[tuple[str, ...]]:
    """Keys of some rows of the business in the key's order, enough to cut them into `pieces`; of few rows all."""
    if count > _EXACTLY:
        percent = min(100.0, 100.0 * _SAMPLES * pieces / count)
        found = _keys(cursor, shard, business, table, sql.SQL("tablesample system ({})").format(sql.Literal(percent)))
        if len(found) > 10 * pieces:
            return found
    return _keys(cursor, shard, business, table, sql.SQL(""))


def _keys(
    cursor: Cursor, shard: Shard, business: int, table: MovedTable, sample: sql.Composable
) -> list[tuple[str, ...]]:
    keys = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name, _ in table.key)
    cursor.execute(
        sql.SQL("select array[{}] from {} {} where {} order by {}").format(
            keys, table.at(shard), sample, table.rows_of(business), table.key_list
        )
    )
    return [tuple(key) for (key,) in cursor.fetchall()]


def clear(target: Connection, shard: Shard, business: int, table: MovedTable) -> None:
    """Delete what an earlier, forgotten copy of a table left."""
    with target, target.cursor() as cursor:
        as_replica(cursor)
        cursor.execute(sql.SQL("delete from {} where {}").format(table.at(shard), table.rows_of(business)))


def journal_chunks(target: Connection, shard: Shard, business: int, chunks: Sequence[Chunk]) -> None:
    """Write down what is to be copied, once for each table; where there is nothing, it is copied already."""
    with target, target.cursor() as cursor:
        for chunk in chunks:
            cursor.execute(
                sql.SQL(
                    "insert into {} (business, relation, chunk, low, high, copied_rows) values (%s, %s, %s, %s, %s, %s)"
                    " on conflict do nothing"
                ).format(relation(shard, "keys.move_chunk")),
                (
                    business,
                    chunk.table.name,
                    chunk.number,
                    list(chunk.low) if chunk.low else None,
                    list(chunk.high) if chunk.high else None,
                    0 if chunk.rows == 0 else None,
                ),
            )


def journaled(
    target: Connection, shard: Shard, business: int, tables: Sequence[MovedTable]
) -> list[tuple[Chunk, bool]]:
    """The chunks of a move, and whether each was copied."""
    by_name = {table.name: table for table in tables}
    with target, target.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select relation, chunk, low, high, copied_rows is not null from {} where business = %s order by 1, 2"
            ).format(relation(shard, "keys.move_chunk")),
            (business,),
        )
        return [
            (Chunk(by_name[name], number, tuple(low) if low else None, tuple(high) if high else None), copied)
            for name, number, low, high, copied in cursor.fetchall()
        ]


def copy_chunk(
    source: Connection,
    target: Connection,
    from_: Shard,
    to: Shard,
    business: int,
    chunk: Chunk,
    *,
    anew: bool = True,
    breath: Callable[[], None] | None = None,
) -> tuple[int, Witness | None]:
    """Copy a chunk in one transaction of the target; returns how many rows, and what they were where that is worth it.

    The source is read in whatever transaction `source` is in; it is left open.

    Args:
        anew: in place of what is there. A chunk that was never copied has nothing there: its rows and its mark in the
            journal come in one transaction.
        breath: called now and then while it is copied.
    """
    table = chunk.table
    wanted = table.between(business, chunk.low, chunk.high)
    with target, target.cursor() as cursor:
        as_replica(cursor)
        if anew:
            cursor.execute(sql.SQL("delete from {} where {}").format(table.at(to), wanted))
        else:  # a crash may take back the last chunks, with their marks: `flush` comes before all are said to be copied
            cursor.execute("set local synchronous_commit = off")
        watched = not anew and witness.is_worth_it(table)
        if watched:
            query = witness.reading(table, from_, wanted)
        else:
            query = sql.SQL("select {} from {} where {}").format(table.column_list, table.at(from_), wanted)
        with source.cursor() as reader:
            as_they_lie(reader)
            if watched:
                reader.execute(f"set local work_mem = '{_CHUNK_MEMORY}'")
        copied = transfer(source, cursor, query, sql.SQL("{} ({})").format(table.at(to), table.column_list), breath)
        cursor.execute(
            sql.SQL("update {} set copied_rows = %s where business = %s and relation = %s and chunk = %s").format(
                relation(to, "keys.move_chunk")
            ),
            (copied, business, table.name, chunk.number),
        )
    if not watched:
        return copied, None
    with source.cursor() as reader:
        return copied, witness.noted(reader)


def as_they_lie(cursor: Cursor) -> None:
    """For this transaction: rows of a range of keys are read in the order in which they lie, and not in the key's. A
    vendor's keys have nothing to do with that order, and each row would be a page looked for."""
    cursor.execute("set local enable_indexscan = off")


def flush(target: Connection) -> None:
    """Make sure that a crash takes back nothing that was committed so far."""
    with target, target.cursor() as cursor:
        cursor.execute("set local synchronous_commit = on")
        cursor.execute("select pg_logical_emit_message(true, 'larder', 'moved')")


def copy_all(
    from_: Shard,
    to: Shard,
    business: int,
    chunks: Sequence[Chunk],
    workers: int,
    done: Callable[[Chunk, int, Witness | None], None],
    open_: Callable[[Shard], Connection] | None = None,
    breath: Callable[[], None] | None = None,
) -> None:
    """Copy chunks side by side, each worker with its own two connections, and make sure that they stay. The first
    failure stops all and is raised.

    Args:
        open_: makes the connections of the workers; default: `connect`.
        breath: called now and then by each worker.
    """
    connection_to = open_ or connect
    work = Work(chunks)

    def worker() -> None:
        with closing(connection_to(from_)) as source, closing(connection_to(to)) as target:
            for chunk in work.taken():
                with source:
                    copied = copy_chunk(source, target, from_, to, business, chunk, anew=False, breath=breath)
                done(chunk, *copied)
            if not work.failed.is_set():
                flush(target)

    side_by_side([worker] * workers, work.failed, f"move {business}")


def connect(shard: Shard, name: str = "larder move") -> Connection:
    """A connection of the mover. Times are read and written with their offset, in UTC. What it commits is kept by a
    crash, whatever the server's setting; a server that falls silent is taken for lost after some seconds."""
    return psycopg2.connect(
        shard.as_role(MOVER).dsn,
        application_name=name,
        options="-c timezone=UTC -c jit=off -c synchronous_commit=on",
        connect_timeout=10,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=15_000,
    )


def as_replica(cursor: Cursor) -> None:
    """For this transaction: no triggers and foreign keys. Rows come with what their triggers made of them."""
    cursor.execute("set local session_replication_role = replica")
