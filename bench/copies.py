"""The peers of a move's copy: the fastest way to bring the rows over, and the plain one. Neither compares anything."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from psycopg2 import sql

from bench.town import BUSINESS, Town, on
from sharding.model import Shard
from sharding.moving.copying import CHUNK_ROWS, Chunk, as_they_lie, connect, plan_chunks
from sharding.moving.indexes import MEMORY
from sharding.moving.layout import MovedTable
from sharding.moving.pipe import transfer

_COPY = "copy of "


@dataclass(frozen=True)
class Bulk:
    """How a bulk phase is run. `wal`: max_wal_size of the new shard's server."""

    workers: int = 2
    chunk_rows: int = CHUNK_ROWS
    memory: str = MEMORY
    makers: int = 0
    synchronous: bool = False
    wal: str = "2GB"


USUAL = Bulk()


def parallel_copy(town: Town, from_: Shard, to: Shard, *, shared: bool, bulk: Bulk = USUAL) -> float:
    """Seconds of binary COPY of ranges of keys over two connections, nothing journaled and nothing captured, commits
    that do not wait. Into tables without an index, which are made afterwards, also two at a time; where others live
    (`shared`) into tables with their rows and indexes."""
    tables = town.tables()
    with on(to) as target, target.cursor() as cursor:
        for table in tables:
            like = sql.SQL("create table {} (like {} including {})").format(
                _copy_of(table), table.at(to), sql.SQL("all" if shared else "defaults")
            )
            cursor.execute(like)
            if shared:
                cursor.execute(
                    sql.SQL("insert into {} ({columns}) select {columns} from {}").format(
                        _copy_of(table), table.at(to), columns=table.column_list
                    )
                )
    town.settle()
    began = time.monotonic()
    with closing(connect(from_)) as source:
        chunks = [c for table in tables for c in plan_chunks(source, from_, BUSINESS, table, bulk.chunk_rows)]
    with ThreadPoolExecutor(bulk.workers) as pool:
        list(pool.map(lambda chunk: _copy(from_, to, chunk, bulk), chunks))
        if not shared:
            list(pool.map(lambda index: _index(to, bulk, *index), _indexes(to, tables)))
        list(pool.map(lambda table: _analyze(to, table), tables))
    taken = time.monotonic() - began
    _drop(to, tables)
    return taken


def _copy(from_: Shard, to: Shard, chunk: Chunk, bulk: Bulk) -> None:
    with on(from_) as source, on(to) as target, target.cursor() as cursor:
        cursor.execute(f"set local synchronous_commit = {'on' if bulk.synchronous else 'off'}")
        query = sql.SQL("select {} from {} where {}").format(
            chunk.table.column_list,
            chunk.table.at(from_),
            chunk.table.between(BUSINESS, chunk.low, chunk.high),
        )
        with source.cursor() as reader:
            as_they_lie(reader)
        transfer(source, cursor, query, sql.SQL("{} ({})").format(_copy_of(chunk.table), chunk.table.column_list))


def _indexes(to: Shard, tables: list[MovedTable]) -> list[tuple[str, str]]:
    with on(to) as conn, conn.cursor() as cursor:
        cursor.execute(
            "select schemaname || '.' || tablename, indexdef from pg_indexes"
            " where schemaname || '.' || tablename = any(%s)",
            ([table.name for table in tables],),
        )
        return cursor.fetchall()


def _index(to: Shard, bulk: Bulk, name: str, definition: str) -> None:
    what, _, using = definition.partition(" USING ")
    with on(to) as conn, conn.cursor() as cursor:
        cursor.execute(f"set local maintenance_work_mem = '{bulk.memory}'")
        cursor.execute(f"set local max_parallel_maintenance_workers = {bulk.makers}")
        cursor.execute(
            sql.SQL("create {} on {} using " + using).format(
                sql.SQL("unique index" if "UNIQUE" in what else "index"), _copy_of(name)
            )
        )


def _analyze(to: Shard, table: MovedTable) -> None:
    with on(to) as conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("analyze {}").format(_copy_of(table)))


def locked_copy(town: Town) -> float:
    """Seconds of the plain way: writers locked out, one table after the other over one connection, binary, into tables
    with all their indexes, one transaction each; without `analyze`."""
    town.settle()
    began = time.monotonic()
    for table in town.tables():
        with on(town.old) as source, on(town.new) as target, target.cursor() as cursor:
            copy = _copy_of(table)
            with source.cursor() as lock:
                lock.execute(sql.SQL("lock table {} in share mode").format(table.at(town.old)))
            cursor.execute(sql.SQL("create table {} (like {} including all)").format(copy, table.at(town.new)))
            query = sql.SQL("select {} from {} where {}").format(
                table.column_list, table.at(town.old), table.rows_of(BUSINESS)
            )
            transfer(source, cursor, query, sql.SQL("{} ({})").format(copy, table.column_list))
    taken = time.monotonic() - began
    _drop(town.new, town.tables())
    return taken


def _drop(shard: Shard, tables: list[MovedTable]) -> None:
    with on(shard) as conn, conn.cursor() as cursor:
        for table in tables:
            cursor.execute(sql.SQL("drop table {}").format(_copy_of(table)))


def _copy_of(table: MovedTable | str) -> sql.Identifier:
    return sql.Identifier("keys", _COPY + (table if isinstance(table, str) else table.name))
