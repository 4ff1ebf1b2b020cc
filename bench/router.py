"""What a pin costs beside psycopg2 bare: each way reads one row of a business in a transaction of its own."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2.pool import ThreadedConnectionPool

from bench.measure import on_one_core
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import ROUTER, Shard
from sharding.provision import provision_control, provision_shard
from sharding.router import Router
from sharding.settings import Settings

BUSINESS = 300_000
QUERY = f"select name from keys.route where business = {BUSINESS}"
GATE = f"select keys.write_gate({BUSINESS})"
ROUND = 200
UNPOOLED, FEW = "psycopg2, a connection each", 10


def measure_router(home: Path, rounds: int) -> dict[str, list[float]]:
    """Way → milliseconds of one transaction on one core, the mean of each round; the ways take turns."""
    settings = Settings(home=home, control_dsn=None)
    try:
        catalogue = Catalogue(provision_control(instances.start("control", settings), settings), settings.home)
        catalogue.add_instance(instances.start("pg", settings))
        provision_shard(catalogue.add_shard("shard_1", "pg", "shard_1"))
        catalogue.add_business("cafe", "Café", "shard_1", business=BUSINESS)
        pid = instances.status("pg", settings).pid
        assert pid is not None
        with on_one_core(pid):
            ways = _ways(catalogue, catalogue.shard("shard_1").as_role(ROUTER), settings)
            return _rounds(ways, rounds)
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)


def _rounds(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            times, began = FEW if name == UNPOOLED else ROUND, time.perf_counter()
            for _ in range(times):
                way()
            if number:  # the first round warms up
                found[name].append((time.perf_counter() - began) / times * 1000)
    return found


def _ways(catalogue: Catalogue, shard: Shard, settings: Settings) -> dict[str, Callable[[], None]]:
    pool = ThreadedConnectionPool(1, 4, shard.dsn)
    router = Router(catalogue, settings)

    def bare() -> None:
        connection = pool.getconn()
        with connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            cursor.fetchall()
        pool.putconn(connection)

    def bare_write() -> None:
        connection = pool.getconn()
        with connection, connection.cursor() as cursor:
            cursor.execute(GATE)
            cursor.execute(QUERY)
            cursor.fetchall()
        pool.putconn(connection)

    def unpooled() -> None:
        with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            cursor.fetchall()

    def pinned() -> None:
        with router.pinned("cafe") as connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            cursor.fetchall()

    def pinned_write() -> None:
        with router.pinned("cafe", primary=True) as connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            cursor.fetchall()

    def five_in_one() -> None:
        with router.pinned("cafe") as connection, connection.cursor() as cursor:
            for _ in range(5):
                cursor.execute(QUERY)
                cursor.fetchall()

    def bare_five() -> None:
        connection = pool.getconn()
        with connection, connection.cursor() as cursor:
            for _ in range(5):
                cursor.execute(QUERY)
                cursor.fetchall()
        pool.putconn(connection)

    return {
        "psycopg2, its pool": bare,
        "pinned(), read": pinned,
        "psycopg2, its pool, write gate": bare_write,
        "pinned(primary=True)": pinned_write,
        "psycopg2, its pool, five queries": bare_five,
        "pinned(), five queries": five_in_one,
        UNPOOLED: unpooled,
    }


def rows(found: dict[str, list[float]]) -> Sequence[dict[str, object]]:
    """As a table; the pin's cost is the median of the differences of each round."""

    def row(way: str, beside: str = "", goal: str = "") -> dict[str, object]:
        more = [ours - bare for ours, bare in zip(found[way], found[beside], strict=True)] if beside else []
        return {
            "way": way,
            "ms": round(statistics.median(found[way]), 3),
            "more than bare: ms": round(statistics.median(more), 3) if more else "",
            "goal": goal,
        }

    return [
        row("psycopg2, its pool"),
        row("pinned(), read", "psycopg2, its pool", "≤ 0.1 more"),
        row("psycopg2, its pool, write gate"),
        row("pinned(primary=True)", "psycopg2, its pool, write gate", "≤ 0.1 more"),
        row("psycopg2, its pool, five queries"),
        row("pinned(), five queries", "psycopg2, its pool, five queries"),
        row(UNPOOLED, "psycopg2, its pool"),
    ]
