"""Moves of a business between two servers: how fast its rows go over, and how long its writes wait."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.moving.copying import connect
from sharding.moving.journal import moves, steps
from sharding.moving.layout import MovedTable, moved_tables
from sharding.moving.mover import Mover
from sharding.moving.pipe import transfer
from sharding.provision import provision_control, provision_shard
from sharding.router import Router
from sharding.settings import Settings

BUSINESS, NEIGHBOUR = 7, 8
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
class Moves:
    """Seconds of each way to bring the rows over, and what a flip cost the writers."""

    rows: int
    megabytes: float
    ours_copy: float
    best_copy: float
    ours_to_flip: float
    locked_copy: float
    pauses_ms: tuple[float, ...]
    tries: int
    longest_write_ms: float
    writes: int


def measure_moves(home: Path, rows: int, flips: int) -> Moves:
    """Copy `rows` sales (three rows each) in three ways, then let a small business change shards under writes."""
    settings = Settings(home=home, control_dsn=None)
    try:
        town = _Town(settings, rows)
        best, locked = town.parallel_copy(), town.locked_copy()
        began = time.monotonic()
        moved = town.mover(BUSINESS).move("new")
        to_flip = time.monotonic() - began
        [copied] = [detail for _, step, detail in steps(town.catalogue, moved.id) if step == "copied"]
        pauses, tries, longest, writes = town.flips(flips)
        return Moves(
            copied["rows"],
            town.megabytes,
            copied["seconds"],
            best,
            to_flip,
            locked,
            tuple(pauses),
            tries,
            longest,
            writes,
        )
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

    def parallel_copy(self) -> float:
        """The peer: binary COPY, two tables at a time, into tables without an index, which are made afterwards."""
        began = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._copy_without_indexes, self.tables()))
        taken = time.monotonic() - began
        self._drop()
        return taken

    def _copy_without_indexes(self, table: MovedTable) -> None:
        with _on(self.old) as source, _on(self.new) as target, target.cursor() as cursor:
            copy = sql.Identifier("copy_of_" + table.name.replace(".", "_"))
            cursor.execute(sql.SQL("create table {} (like {} including defaults)").format(copy, table.at(self.new)))
            self._transfer(source, cursor, table, copy)
            cursor.execute("select indexdef from pg_indexes where schemaname || '.' || tablename = %s", (table.name,))
            for place, (definition,) in enumerate(cursor.fetchall()):
                _, _, using = definition.partition(" USING ")
                cursor.execute(
                    sql.SQL("create index {} on {} using " + using).format(
                        sql.Identifier(f"{copy.string}_{place}"), copy
                    )
                )
            cursor.execute(sql.SQL("analyze {}").format(copy))

    def locked_copy(self) -> float:
        """The plain way: writers locked out, one table after the other into live indexes."""
        began = time.monotonic()
        for table in self.tables():
            with _on(self.old) as source, _on(self.new) as target, target.cursor() as cursor:
                copy = sql.Identifier("copy_of_" + table.name.replace(".", "_"))
                with source.cursor() as lock:
                    lock.execute(sql.SQL("lock table {} in share mode").format(table.at(self.old)))
                cursor.execute(sql.SQL("create table {} (like {} including all)").format(copy, table.at(self.new)))
                self._transfer(source, cursor, table, copy)
        taken = time.monotonic() - began
        self._drop()
        return taken

    def _transfer(self, source: Connection, cursor: object, table: MovedTable, copy: sql.Identifier) -> None:
        query = sql.SQL("select {} from {} where {}").format(
            table.column_list, table.at(self.old), table.rows_of(BUSINESS)
        )
        transfer(source, cursor, query, sql.SQL("{} ({})").format(copy, table.column_list))  # type: ignore[arg-type]

    def _drop(self) -> None:
        with _on(self.new) as conn, conn.cursor() as cursor:
            for table in self.tables():
                name = sql.Identifier("copy_of_" + table.name.replace(".", "_"))
                cursor.execute(sql.SQL("drop table {}").format(name))

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
        _row("two binary COPYs side by side, indexes afterwards: s", measured.best_copy, ""),
        _row("ratio", measured.best_copy / measured.ours_copy, "≥ 0.9"),
        _row("plan to flip, everything compared twice: s", measured.ours_to_flip, "< locked COPY"),
        _row("one COPY at a time under lock, live indexes: s", measured.locked_copy, ""),
        _row(f"writes wait, p50 of {len(pauses)} flips: ms", statistics.median(pauses), "≤ 5"),
        _row("writes wait, p99: ms", p99, "≤ 25"),
        _row("writes wait, longest: ms", pauses[-1], "≤ 250"),
        _row("tries of a flip, most", measured.tries, ""),
        _row(f"a write as its writer sees it, longest of {measured.writes:,}: ms", measured.longest_write_ms, ""),
    ]


def _row(what: str, value: float, goal: str) -> dict[str, object]:
    return {"what": what, "measured": round(value, 2), "goal": goal}
