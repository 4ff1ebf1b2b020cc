"""Moves of a business between two servers: how fast its rows go over, and how long its writes wait."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from bench.copies import USUAL, locked_copy, parallel_copy
from bench.town import BUSINESS, FACTS, NEIGHBOUR, SALES, Town
from sharding import instances
from sharding.model import Shard
from sharding.moving.copying import connect
from sharding.moving.journal import moves, steps
from sharding.moving.mover import Mover
from sharding.router import Router
from sharding.settings import Settings

_SOLD = 5  # sales in a write beside the flips
_BUILD = """
create temporary table built as
select source_id, payload ->> 'total' as total, count(*) as sales, max(payload ->> 'ticket_name') as ticket
from raw_till.orders group by 1, 2 order by 3
"""
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
class Flips:
    """How long writes waited in each flip, how many tries one took at most, and what writers saw."""

    pauses_ms: tuple[float, ...]
    tries: int
    longest_write_ms: float
    writes: int

    def at(self, part: float) -> float:
        """The pause which that part of the flips did not exceed."""
        return sorted(self.pauses_ms)[min(len(self.pauses_ms) - 1, int(len(self.pauses_ms) * part))]


@dataclass(frozen=True)
class Moves:
    """Seconds of each way to bring the rows over, and what a flip cost the writers."""

    rows: int
    facts: int
    megabytes: float
    ours_copy: float
    best_copy: float
    ours_compare: float
    ours_to_flip: float
    locked_copy: float
    ours_shared: float
    best_shared: float
    quiet: Flips
    beside_builds: Flips


def measure_moves(home: Path, rows: int, flips: int, say: Callable[[str], None]) -> Moves:
    """Bring a business with `rows` sales over in three ways, then let a small one change shards under writes.

    The first way leads to a shard of the business's own; the one back, as a second move, to one where others live.
    Each figure is told to `say` when it is taken: the whole takes an hour, and what a stop would lose is said by then.
    """
    settings = Settings(home=home, control_dsn=None)
    try:
        town = Town(settings, rows)
        parallel_copy(town, town.old, town.new, shared=False)  # whoever is first pays for the server's first log files
        best = parallel_copy(town, town.old, town.new, shared=False)
        say(f"binary COPY of ranges side by side {best:.1f} s")
        locked = locked_copy(town)
        say(f"locked, one COPY {locked:.1f} s")
        town.settle()
        moved = town.mover(BUSINESS).move("new")
        [flipped] = [at for at, step, _ in steps(town.catalogue, moved.id) if step == "flipped"]
        copied, compared = town.told(moved.id, "copied"), town.told(moved.id, "verified")
        to_flip = (flipped - moved.started_at).total_seconds()
        again = parallel_copy(town, town.old, town.new, shared=False)
        say(f"binary COPY of ranges side by side once more {again:.1f} s")
        best = (best + again) / 2  # one before and one after: a disk that has been written to for minutes slows down
        say(f"move: copy {copied['seconds']} s, compared {compared['seconds']} s, plan to flip {to_flip:.1f} s")
        town.mover(BUSINESS).finish()
        town.tidy_up(town.old)
        best_shared = parallel_copy(town, town.new, town.old, shared=True)
        say(f"two binary COPYs into live indexes {best_shared:.1f} s")
        town.settle()
        back = town.mover(BUSINESS).move("old")
        shared = town.told(back.id, "copied")["seconds"]
        say(f"move to where others live: copy {shared} s")
        town.mover(BUSINESS).finish()
        town.settle()
        quiet = _flips(town, flips)
        say(f"writes wait in {flips} flips, ms: {sorted(quiet.pauses_ms)}")
        with _building(town.old), _building(town.new):
            beside_builds = _flips(town, flips)
        return Moves(
            rows=copied["rows"],
            facts=rows * FACTS,
            megabytes=town.megabytes,
            ours_copy=copied["seconds"],
            best_copy=best,
            ours_compare=compared["seconds"],
            ours_to_flip=to_flip,
            locked_copy=locked,
            ours_shared=shared,
            best_shared=best_shared,
            quiet=quiet,
            beside_builds=beside_builds,
        )
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)


def search(home: Path, rows: int) -> list[dict[str, object]]:
    """Copy the same rows with each setting of `TRIED`, into tables that are dropped again, as a table."""
    settings = Settings(home=home, control_dsn=None)
    try:
        town = Town(settings, rows)
        found = []
        for bulk in TRIED:
            new = instances.as_instance(instances.record_of("new", settings))
            superuser = instances.superuser_dsn(new, "postgres", settings)
            with closing(psycopg2.connect(superuser)) as conn, conn.cursor() as cursor:
                conn.autocommit = True
                cursor.execute("alter system set max_wal_size = %s", (bulk.wal,))
                cursor.execute("select pg_reload_conf()")
            seconds = parallel_copy(town, town.old, town.new, shared=False, bulk=bulk)
            found.append({**asdict(bulk), "seconds": round(seconds, 2)})
        return found
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)


def _flips(town: Town, count: int) -> Flips:
    """The small business goes and comes back while two writers write some 500 rows a second of it."""
    stop, waits, failures = threading.Event(), list[float](), list[BaseException]()
    writers = [
        threading.Thread(target=_write, args=(town, f"{name}{time.time_ns()}", stop, waits, failures)) for name in "xy"
    ]
    for writer in writers:
        writer.start()
    found: list[tuple[float, int]] = []
    try:
        for _ in range(count // 2):
            for act, step in ((lambda m: m.move("new"), "flipped"), (lambda m: m.roll_back(), "returned")):
                found.append(_flip(town, act, step))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    if failures:
        raise failures[0]
    return Flips(tuple(ms for ms, _ in found), max(tries for _, tries in found), max(waits) * 1000, len(waits))


def _flip(town: Town, act: Callable[[Mover], object], step: str) -> tuple[float, int]:
    act(town.mover(NEIGHBOUR))
    detail = town.told(moves(town.catalogue, NEIGHBOUR)[0].id, step)
    return float(detail["milliseconds"]), int(detail["tries"])


def _write(town: Town, name: str, stop: threading.Event, waits: list[float], failures: list[BaseException]) -> None:
    router, number = Router(town.catalogue), 0
    while not stop.is_set():
        number += 1
        values = town.sales(NEIGHBOUR, _SOLD, f"{name}-{number}-")

        def sell(conn: Connection, values: dict[str, object] = values) -> None:
            with conn.cursor() as cursor:
                cursor.execute("select keys.write_gate(%s)", (NEIGHBOUR,))
                cursor.execute(SALES, values)

        began = time.monotonic()
        try:
            router.run(NEIGHBOUR, sell)
        except Exception as error:  # noqa: BLE001  # raised where the writers are waited for
            failures.append(error)
            return
        waits.append(time.monotonic() - began)
        stop.wait(0.1)


@contextmanager
def _building(shard: Shard) -> Iterator[None]:
    """One large table after the other is made of a shard's records meanwhile, as models are."""
    stop, failures = threading.Event(), list[BaseException]()

    def build() -> None:
        with closing(connect(shard)) as conn:
            try:
                while not stop.is_set():
                    with conn, conn.cursor() as cursor:
                        cursor.execute(_BUILD)
                        cursor.execute("drop table built")
            except psycopg2.Error as error:
                if not stop.is_set():
                    failures.append(error)

    builder = threading.Thread(target=build)
    builder.start()
    try:
        yield
    finally:
        stop.set()
        builder.join()
    if failures:
        raise failures[0]


def rows(measured: Moves) -> Sequence[dict[str, object]]:
    """As a table."""
    return [
        _row("copy, as the move does it: s", measured.ours_copy, ""),
        _row("binary COPY of ranges side by side, indexes afterwards: s", measured.best_copy, ""),
        _row("ratio", measured.best_copy / measured.ours_copy, "≥ 0.9"),
        _row("copy to where others live: s", measured.ours_shared, ""),
        _row("two binary COPYs into live indexes: s", measured.best_shared, ""),
        _row("ratio where others live", measured.best_shared / measured.ours_shared, "≥ 0.9"),
        _row("plan to flip, every row compared: s", measured.ours_to_flip, "< locked COPY"),
        _row("of it every row compared: s", measured.ours_compare, ""),
        _row(
            "the same tables locked, one binary COPY into live indexes, nothing compared: s", measured.locked_copy, ""
        ),
        *_rows_of("", measured.quiet, "≤ 5", "≤ 25"),
        *_rows_of(" beside builds", measured.beside_builds, "", "≤ 150"),
    ]


def _rows_of(when: str, flips: Flips, middle: str, most: str) -> list[dict[str, object]]:
    return [
        _row(f"writes wait{when}, p50 of {len(flips.pauses_ms)} flips: ms", statistics.median(flips.pauses_ms), middle),
        *(_row(f"writes wait{when}, p{part}: ms", flips.at(part / 100), "") for part in (75, 90)),
        _row(f"writes wait{when}, p99: ms", flips.at(0.99), most),
        _row(f"writes wait{when}, longest: ms", max(flips.pauses_ms), "≤ 250"),
        _row(f"tries of a flip{when}, most", flips.tries, ""),
        _row(f"a write{when} as its writer sees it, longest of {flips.writes:,}: ms", flips.longest_write_ms, ""),
    ]


def _row(what: str, value: float, goal: str) -> dict[str, object]:
    return {"what": what, "measured": round(value, 2), "goal": goal}
