"""What row security costs a reader: one business's month out of a mart of many, with it and without."""

import statistics
import time
from contextlib import closing
from pathlib import Path

import psycopg2

from sharding import instances
from sharding.access.roles import ensure_roles
from sharding.ids import id_range, make_id
from sharding.model import Shard
from sharding.provision import provision_shard
from sharding.settings import Settings

BUSINESSES, DAYS, LOCATIONS = 50, 730, 20
QUERIES = {
    "a month of one location": "where location_id = {location} and business_date >= '2025-01-01'"
    " and business_date < '2025-02-01'",
    "a month of all its locations": "where {own} business_date >= '2025-01-01' and business_date < '2025-02-01'",
    "all of it": "where {own} true",
}


def measure_access(settings: Settings, runs: int) -> list[dict[str, str]]:
    """Median milliseconds of three queries on 730,000 rows of 50 businesses, by a role that sees one; and of the same
    with the range of ids as its condition, by one that sees all."""
    at = instances.start("bench_access", settings)
    try:
        password = Path(instances.secret_path(at.name, settings)).read_text().strip()
        shard = Shard("bench", at.name, "bench", "", at.host, at.port, at.username, password)
        provision_shard(shard)
        ensure_roles(shard)
        with closing(psycopg2.connect(shard.dsn)) as connection:
            connection.autocommit = True
            _fill(connection)
            return [_row(connection, name, text, runs) for name, text in QUERIES.items()]
    finally:
        instances.remove("bench_access", settings)


def _fill(connection: psycopg2.extensions.connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("create table marts.sum_day (location_id bigint, business_date date, net_sales numeric(19, 4))")
        cursor.execute(
            f"insert into marts.sum_day select keys.make_id(b, l), date '2024-01-01' + d, 1.25"
            f" from generate_series(1, {BUSINESSES}) as b, generate_series(1, {LOCATIONS}) as l,"
            f" generate_series(0, {DAYS - 1}) as d"
        )
        cursor.execute("create unique index on marts.sum_day (location_id, business_date)")
        cursor.execute("select keys.protect('marts.sum_day')")
        cursor.execute("create role t_bench in role larder_tenant role current_user")
        cursor.execute("grant select on marts.sum_day to larder_tenant, larder_inspector")
        cursor.execute("grant usage on schema marts to larder_tenant")
        cursor.execute("insert into keys.route (business, name, display_name) values (7, 'seven', 'Seven')")
        cursor.execute("insert into keys.tenant values ('t_bench', 7)")
        cursor.execute("vacuum analyze marts.sum_day")


def _row(connection: psycopg2.extensions.connection, name: str, text: str, runs: int) -> dict[str, str]:
    low, high = id_range(7)
    times: dict[str, float] = {}
    for role, own in (("larder", f"location_id between {low} and {high} and"), ("t_bench", "")):
        condition = text.format(location=make_id(7, 3), own=own)
        with connection.cursor() as cursor:
            cursor.execute(f"set role {role}" if role != "larder" else "reset role")
            taken = []
            for _ in range(runs * 20):
                began = time.perf_counter()
                cursor.execute(f"select business_date, sum(net_sales) from marts.sum_day {condition} group by 1")
                cursor.fetchall()
                taken.append((time.perf_counter() - began) * 1000)
            cursor.execute("reset role")
            times[role] = statistics.median(taken)
    return {
        "query": name,
        "without, ms": f"{times['larder']:.2f}",
        "row security, ms": f"{times['t_bench']:.2f}",
        "more, ms": f"{times['t_bench'] - times['larder']:.2f}",
    }
