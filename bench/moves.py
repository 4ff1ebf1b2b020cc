"""Moves of a business between two servers: how fast its rows go over, and how long its writes wait."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.moving.copying import CHUNK_ROWS, Chunk, connect, plan_chunks
from sharding.moving.indexes import MEMORY
from sharding.moving.journal import moves, steps
from sharding.moving.layout import MovedTable, moved_tables
from sharding.moving.mover import Mover
from sharding.moving.pipe import transfer
from sharding.provision import provision_control, provision_shard
from sharding.router import Router
from sharding.settings import Settings

BUSINESS, NEIGHBOUR = 7, 8
_COPY = "copy of "
SALES = """
with drawn as (select keys.reserve({business}, {n} * 2) as first),
numbered as (select n, first + n as version, first + {n} + n as sale from drawn, generate_series(0, {n} - 1) as n),
versions as (
    insert into raw_till.orders (version_id, source_id, natural_key, operation, modified_at, observed_at, block_id,
        generation, ordinal, hash, payload)
    select version, {source}, '{prefix}' || n, 'U', now(), now(), gen_random_uuid(), 1, n, gen_random_uuid(),
        jsonb_build_object('id', n, 'total', n * 0.25, 'lines', jsonb_build_array(repeat('tea ', 60), md5(n::text)))
    from numbered
),
heads as (
    insert into raw.head (source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id,
        ordinal, generation, last_seen_at)
    select {source}, 'orders', '{prefix}' || n, version, gen_random_uuid(), now(), now(), gen_random_uuid(), n, 1, now()
    from numbered
)
insert into keys.sale (id, parent_id, source_id, natural_key)
select sale, {source}, {source}, '{prefix}' || n from numbered
"""


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
TRIED = (
    USUAL,
    replace(USUAL, synchronous=True),
    *(replace(USUAL, workers=workers) for workers in (1, 3, 4)),
    *(replace(USUAL, chunk_rows=rows) for rows in (20_000, 50_000, 1_000_000)),
    *(replace(USUAL, memory=memory) for memory in ("16MB", "64MB", "1GB")),
    replace(USUAL, makers=2),
    *(replace(USUAL, wal=wal) for wal in ("512MB", "8GB")),
    USUAL,
)
"""One thing at a time is changed; the usual comes first and last, so that the machine's own mood is seen."""


@dataclass(frozen=True)
class Moves:
    """Seconds of each way to bring the rows over, and what a flip cost the writers."""

    rows: int
    megabytes: float
    ours_copy: float
    best_copy: float
    ours_to_flip: float
    locked_copy: float
    ours_shared: float
    best_shared: float
    pauses_ms: tuple[float, ...]
    tries: int
    longest_write_ms: float
    writes: int


def measure_moves(home: Path, rows: int, flips: int) -> Moves:
    """Copy `rows` sales (three rows each) in three ways, then let a small business change shards under writes.

    The first way leads to a shard of the business's own; the one back, as a second move, to one where others live.
    """
    settings = Settings(home=home, control_dsn=None)
    try:
        town = _Town(settings, rows)
        best, locked = town.parallel_copy(town.old, town.new, shared=False), town.locked_copy()
        moved = town.mover(BUSINESS).move("new")
        [flipped] = [at for at, step, _ in steps(town.catalogue, moved.id) if step == "flipped"]
        to_flip = (flipped - moved.started_at).total_seconds()
        town.mover(BUSINESS).finish()
        town.tidy_up(town.old)
        best_shared = town.parallel_copy(town.new, town.old, shared=True)
        back = town.mover(BUSINESS).move("old")
        pauses, tries, longest, writes = town.flips(flips)
        return Moves(
            town.copied(moved.id)["rows"],
            town.megabytes,
            town.copied(moved.id)["seconds"],
            best,
            to_flip,
            locked,
            town.copied(back.id)["seconds"],
            best_shared,
            tuple(pauses),
            tries,
            longest,
            writes,
        )
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)


def search(home: Path, rows: int) -> list[dict[str, object]]:
    """Copy the same rows with each setting of `TRIED`, into tables that are dropped again, as a table."""
    settings = Settings(home=home, control_dsn=None)
    try:
        town = _Town(settings, rows)
        found = []
        for bulk in TRIED:
            with closing(psycopg2.connect(town.new.dsn)) as conn, conn.cursor() as cursor:
                conn.autocommit = True
                cursor.execute("alter system set max_wal_size = %s", (bulk.wal,))
                cursor.execute("select pg_reload_conf()")
                cursor.execute("checkpoint")
            seconds = town.parallel_copy(town.old, town.new, shared=False, bulk=bulk)
            found.append({**asdict(bulk), "seconds": round(seconds, 2)})
        return found
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)


class _Town:
    def __init__(self, settings: Settings, rows: int) -> None:
        control = instances.start("control", settings)
        self.catalogue = Catalogue(provision_control(control, settings), settings.home)
        for name in ("old", "new"):
            self.catalogue.add_instance(instances.start(name, settings))
            provision_shard(self.catalogue.add_shard(name, name, name))
        self.old, self.new = self.catalogue.shard("old"), self.catalogue.shard("new")
        self.sources = {}
        for business, name, count in ((BUSINESS, "chain", rows), (NEIGHBOUR, "cafe", 2_000)):
            self.catalogue.add_business(name, name, "old", business=business)
            self.sources[business] = self.catalogue.add_source(name, "till", "till", {}).id
            with _on(self.old) as conn, conn.cursor() as cursor:
                cursor.execute("select raw.ensure_stream('till', 'orders', array[]::text[])")
                cursor.execute(self.sales(business, count, "s"))
        with _on(self.old) as conn, conn.cursor() as cursor:
            cursor.execute("select pg_total_relation_size('raw_till.orders') / 1e6")
            [(megabytes,)] = cursor.fetchall()
        self.megabytes = float(megabytes)
        with _on(self.new) as conn, conn.cursor() as cursor:
            cursor.execute("select raw.ensure_stream('till', 'orders', array[]::text[])")

    def sales(self, business: int, count: int, prefix: str) -> str:
        return SALES.format(business=business, source=self.sources[business], n=count, prefix=prefix)

    def mover(self, business: int) -> Mover:
        return Mover(self.catalogue, business, lambda shard: None)

    def tables(self) -> list[MovedTable]:
        with _on(self.old) as conn:
            return [t for t in moved_tables(conn, self.old) if t.name in ("raw_till.orders", "raw.head", "keys.sale")]

    def copied(self, move_id: int) -> Mapping[str, Any]:
        """What the journal of a move says of its copy."""
        [found] = [detail for _, step, detail in steps(self.catalogue, move_id) if step == "copied"]
        return found

    def tidy_up(self, shard: Shard) -> None:
        """Vacuum what was deleted."""
        with closing(connect(shard)) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            for table in self.tables():
                cursor.execute(sql.SQL("vacuum analyze {}").format(table.at(shard)))

    def parallel_copy(self, from_: Shard, to: Shard, *, shared: bool, bulk: Bulk = USUAL) -> float:
        """The peer: binary COPY of ranges of keys over two connections, nothing journaled and nothing captured, commits
        that do not wait. Into tables without an index, which are made afterwards, also two at a time; where others
        live (`shared`) into tables with their rows and indexes."""
        tables = self.tables()
        with _on(to) as target, target.cursor() as cursor:
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
        began = time.monotonic()
        with closing(connect(from_)) as source:
            chunks = [c for table in tables for c in plan_chunks(source, from_, BUSINESS, table, bulk.chunk_rows)]
        with ThreadPoolExecutor(bulk.workers) as pool:
            list(pool.map(lambda chunk: self._copy(from_, to, chunk, bulk), chunks))
            if not shared:
                list(pool.map(lambda index: self._index(to, bulk, *index), self._indexes(to)))
            list(pool.map(lambda table: self._analyze(to, table), tables))
        taken = time.monotonic() - began
        self._drop(to)
        return taken

    def _copy(self, from_: Shard, to: Shard, chunk: Chunk, bulk: Bulk) -> None:
        with _on(from_) as source, _on(to) as target, target.cursor() as cursor:
            cursor.execute(f"set local synchronous_commit = {'on' if bulk.synchronous else 'off'}")
            query = sql.SQL("select {} from {} where {}").format(
                chunk.table.column_list,
                chunk.table.at(from_),
                chunk.table.between(BUSINESS, chunk.low, chunk.high),
            )
            transfer(source, cursor, query, sql.SQL("{} ({})").format(_copy_of(chunk.table), chunk.table.column_list))

    def _indexes(self, to: Shard) -> list[tuple[str, str]]:
        with _on(to) as conn, conn.cursor() as cursor:
            cursor.execute(
                "select schemaname || '.' || tablename, indexdef from pg_indexes"
                " where schemaname || '.' || tablename = any(%s)",
                ([table.name for table in self.tables()],),
            )
            return cursor.fetchall()

    def _index(self, to: Shard, bulk: Bulk, name: str, definition: str) -> None:
        what, _, using = definition.partition(" USING ")
        with _on(to) as conn, conn.cursor() as cursor:
            cursor.execute(f"set local maintenance_work_mem = '{bulk.memory}'")
            cursor.execute(f"set local max_parallel_maintenance_workers = {bulk.makers}")
            cursor.execute(
                sql.SQL("create {} on {} using " + using).format(
                    sql.SQL("unique index" if "UNIQUE" in what else "index"), _copy_of(name)
                )
            )

    def _analyze(self, to: Shard, table: MovedTable) -> None:
        with _on(to) as conn, conn.cursor() as cursor:
            cursor.execute(sql.SQL("analyze {}").format(_copy_of(table)))

    def locked_copy(self) -> float:
        """The plain way: writers locked out, one table after the other into live indexes."""
        began = time.monotonic()
        for table in self.tables():
            with _on(self.old) as source, _on(self.new) as target, target.cursor() as cursor:
                copy = _copy_of(table)
                with source.cursor() as lock:
                    lock.execute(sql.SQL("lock table {} in share mode").format(table.at(self.old)))
                cursor.execute(sql.SQL("create table {} (like {} including all)").format(copy, table.at(self.new)))
                self._transfer(source, cursor, table, copy)
        taken = time.monotonic() - began
        self._drop(self.new)
        return taken

    def _transfer(self, source: Connection, cursor: object, table: MovedTable, copy: sql.Identifier) -> None:
        query = sql.SQL("select {} from {} where {}").format(
            table.column_list, table.at(self.old), table.rows_of(BUSINESS)
        )
        transfer(source, cursor, query, sql.SQL("{} ({})").format(copy, table.column_list))  # type: ignore[arg-type]

    def _drop(self, shard: Shard) -> None:
        with _on(shard) as conn, conn.cursor() as cursor:
            for table in self.tables():
                cursor.execute(sql.SQL("drop table {}").format(_copy_of(table)))

    def flips(self, count: int) -> tuple[list[float], int, float, int]:
        """The small business goes and comes back while two writers write some 200 rows a second of it."""
        stop, waits, failures = threading.Event(), list[float](), list[BaseException]()
        writers = [threading.Thread(target=self._write, args=(name, stop, waits, failures)) for name in "xy"]
        for writer in writers:
            writer.start()
        found: list[tuple[float, int]] = []
        try:
            for _ in range(count // 2):
                for act, step in ((lambda m: m.move("new"), "flipped"), (lambda m: m.roll_back(), "returned")):
                    found.append(self._flip(act, step))
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        if failures:
            raise failures[0]
        return [ms for ms, _ in found], max(tries for _, tries in found), max(waits) * 1000, len(waits)

    def _flip(self, act: Callable[[Mover], object], step: str) -> tuple[float, int]:
        act(self.mover(NEIGHBOUR))
        newest = moves(self.catalogue, NEIGHBOUR)[0]
        [detail] = [detail for _, name, detail in steps(self.catalogue, newest.id) if name == step]
        return float(detail["milliseconds"]), int(detail["tries"])

    def _write(self, name: str, stop: threading.Event, waits: list[float], failures: list[BaseException]) -> None:
        router, number = Router(self.catalogue), 0
        while not stop.is_set():
            number += 1
            statement = self.sales(NEIGHBOUR, 10, f"{name}{number}-")

            def sell(conn: Connection, statement: str = statement) -> None:
                with conn.cursor() as cursor:
                    cursor.execute("select keys.write_gate(%s)", (NEIGHBOUR,))
                    cursor.execute(statement)

            began = time.monotonic()
            try:
                router.run(NEIGHBOUR, sell)
            except Exception as error:  # noqa: BLE001  # raised where the writers are waited for
                failures.append(error)
                return
            waits.append(time.monotonic() - began)
            stop.wait(0.1)


def _copy_of(table: MovedTable | str) -> sql.Identifier:
    return sql.Identifier("keys", _COPY + (table if isinstance(table, str) else table.name))


@contextmanager
def _on(shard: Shard) -> Iterator[Connection]:
    with closing(connect(shard)) as conn, conn:
        yield conn


def rows(measured: Moves) -> Sequence[dict[str, object]]:
    """As a table."""
    pauses = sorted(measured.pauses_ms)
    p99 = pauses[min(len(pauses) - 1, int(len(pauses) * 0.99))]
    return [
        _row("copy, as the move does it: s", measured.ours_copy, ""),
        _row("binary COPY of ranges side by side, indexes afterwards: s", measured.best_copy, ""),
        _row("ratio", measured.best_copy / measured.ours_copy, "≥ 0.9"),
        _row("copy to where others live: s", measured.ours_shared, ""),
        _row("two binary COPYs into live indexes: s", measured.best_shared, ""),
        _row("ratio where others live", measured.best_shared / measured.ours_shared, "≥ 0.9"),
        _row("plan to flip, every row compared: s", measured.ours_to_flip, "< locked COPY"),
        _row("one COPY at a time under lock, live indexes: s", measured.locked_copy, ""),
        _row(f"writes wait, p50 of {len(pauses)} flips: ms", statistics.median(pauses), "≤ 5"),
        _row("writes wait, p99: ms", p99, "≤ 25"),
        _row("writes wait, longest: ms", pauses[-1], "≤ 250"),
        _row("tries of a flip, most", measured.tries, ""),
        _row(f"a write as its writer sees it, longest of {measured.writes:,}: ms", measured.longest_write_ms, ""),
    ]


def _row(what: str, value: float, goal: str) -> dict[str, object]:
    return {"what": what, "measured": round(value, 2), "goal": goal}
