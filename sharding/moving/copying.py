"""Copies a business's rows to another shard: in chunks, each in one transaction, journaled where it arrives."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.model import Shard
from sharding.moving.layout import MovedTable, relation

CHUNK_ROWS = 50_000
_PIECES = 64  # of at most some 100 kB, between reading and writing
_PATIENCE = 600.0


@dataclass(frozen=True)
class Chunk:
    """Rows of one table with keys in [low, high); None is open, so that no row falls between or beyond chunks."""

    table: MovedTable
    number: int
    low: tuple[str, ...] | None
    high: tuple[str, ...] | None


def plan_chunks(source: Connection, shard: Shard, business: int, table: MovedTable, rows: int) -> list[Chunk]:
    """Cut a table's rows of the business into chunks of about `rows` rows; at least one."""
    keys = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name, _ in table.key)
    with source, source.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select array[{keys}] from (select {names}, row_number() over (order by {names}) as place from {table}"
                " where {mine}) as numbered where place > 1 and (place - 1) %% %s = 0 order by {names}"
            ).format(keys=keys, names=table.key_list, table=table.at(shard), mine=table.rows_of(business)),
            (rows,),
        )
        bounds = [tuple(row[0]) for row in cursor.fetchall()]
    edges: list[tuple[str, ...] | None] = [None, *bounds, None]
    return [Chunk(table, number, *edges[number : number + 2]) for number in range(len(edges) - 1)]


def journal_chunks(target: Connection, shard: Shard, business: int, chunks: Sequence[Chunk]) -> None:
    """Write down what is to be copied, once for each table."""
    with target, target.cursor() as cursor:
        for chunk in chunks:
            cursor.execute(
                sql.SQL(
                    "insert into {} (business, relation, chunk, low, high) values (%s, %s, %s, %s, %s)"
                    " on conflict do nothing"
                ).format(relation(shard, "keys.move_chunk")),
                (
                    business,
                    chunk.table.name,
                    chunk.number,
                    list(chunk.low) if chunk.low else None,
                    list(chunk.high) if chunk.high else None,
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


def copy_chunk(source: Connection, target: Connection, from_: Shard, to: Shard, business: int, chunk: Chunk) -> int:
    """Copy a chunk in one transaction of the target, in place of what is there; returns its rows.

    The source is read in whatever transaction `source` is in; it is left open.
    """
    table = chunk.table
    wanted = table.between(business, chunk.low, chunk.high)
    with target, target.cursor() as cursor:
        as_replica(cursor)
        cursor.execute(sql.SQL("delete from {} where {}").format(table.at(to), wanted))
        copied = transfer(
            source,
            cursor,
            sql.SQL("select {} from {} where {}").format(table.column_list, table.at(from_), wanted),
            sql.SQL("{} ({})").format(table.at(to), table.column_list),
        )
        cursor.execute(
            sql.SQL("update {} set copied_rows = %s where business = %s and relation = %s and chunk = %s").format(
                relation(to, "keys.move_chunk")
            ),
            (copied, business, table.name, chunk.number),
        )
    return copied


def copy_all(
    from_: Shard,
    to: Shard,
    business: int,
    chunks: Sequence[Chunk],
    workers: int,
    done: Callable[[Chunk, int], None],
    open_: Callable[[Shard], Connection] | None = None,
) -> None:
    """Copy chunks side by side, each worker with its own two connections. The first failure stops all and is raised."""
    open_ = open_ or connect
    waiting: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    for chunk in chunks:
        waiting.put(chunk)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with closing(open_(from_)) as source, closing(open_(to)) as target:
                while not failures:
                    try:
                        chunk = waiting.get_nowait()
                    except queue.Empty:
                        return
                    with source:
                        rows = copy_chunk(source, target, from_, to, business, chunk)
                    done(chunk, rows)
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=work, name=f"move {business}", daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def connect(shard: Shard, name: str = "larder move") -> Connection:
    """A connection of the mover. Times are read and written with their offset, in UTC. What it commits is kept by a
    crash, whatever the server's setting; a server that falls silent is taken for lost after some seconds."""
    return psycopg2.connect(
        shard.dsn,
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


def transfer(source: Connection, into: Cursor, query: sql.Composable, target: sql.Composable) -> int:
    """Binary COPY of a query's rows into a table of another server; returns how many there were.

    The target's COPY ends only after the source has said that it gave all: one that was cut off at a row's end would
    else be taken for complete.
    """
    pipe = _Pipe()

    def read() -> None:
        try:
            with source.cursor() as cursor:
                cursor.copy_expert(sql.SQL("copy ({}) to stdout (format binary)").format(query), pipe)
            pipe.end(None)
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
            pipe.end(error)

    reader = threading.Thread(target=read, name="move reader", daemon=True)
    reader.start()
    try:
        into.copy_expert(sql.SQL("copy {} from stdin (format binary)").format(target), pipe)
    except psycopg2.Error as error:
        if pipe.failure is not None:
            raise pipe.failure from error  # the cause; COPY only says that it could not read
        raise
    finally:
        pipe.closed_by_reader = True
        reader.join(_PATIENCE)
    return int(into.rowcount)


class _Pipe(io.RawIOBase):
    """Bytes from one thread to another, with an error instead of an early end."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_PIECES)
        self._rest = b""
        self._ended = False
        self.failure: BaseException | None = None
        self.closed_by_reader = False

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        piece = bytes(data)
        while not self.closed_by_reader:
            try:
                self._pieces.put(piece, timeout=1)
                return len(piece)
            except queue.Full:
                continue
        raise BrokenPipeError("the other side has stopped")

    def end(self, failure: BaseException | None) -> None:
        """The writer's end: complete, or failed."""
        self.failure = failure
        while not self.closed_by_reader:
            try:
                self._pieces.put(None, timeout=1)
                return
            except queue.Full:
                continue

    def read(self, size: int = -1) -> bytes:
        while not self._rest and not self._ended:
            piece = self._pieces.get()
            if piece is None:
                self._ended = True
                if self.failure is not None:
                    raise self.failure
            else:
                self._rest = piece
        if size < 0:
            size = len(self._rest)
        given, self._rest = self._rest[:size], self._rest[size:]
        return given
