"""The same five models four ways: ten cycles of a till's changes, and what is wrong after them."""

import statistics
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

import psycopg2

from bench.facets.runner import TARGETS, Project, Run
from bench.facets.till import Till, rows, settle
from bench.loads import median
from bench.measure import Cost, note
from sharding import instances
from sharding.model import Instance
from sharding.settings import Settings

CYCLES = 10
MODELS = ("sales_day", "sales_hour", "item_day", "sales_week", "labour_day")
# What reads everything costs the same in every cycle, so three are enough. What a full refresh makes last is right.
_READS_EVERYTHING = {"refresh", "scan"}
FEW = (1, CYCLES // 2, CYCLES)
WAYS = {
    "refresh": "table (full refresh)",
    "scan": "delete+insert, 3-day lookback, no index",
    "lookback": "delete+insert, 3-day lookback",
    "facets": "changed_facets",
}
_TARGET_OF = {"scan": "lookback"}  # the others have a target of their own name


@dataclass(frozen=True)
class WayCost:
    """Medians of a way's cycles, and how many rows of each model differ from a full SELECT in the end."""

    sql_ms: dict[str, float]
    cost: Cost
    wrong: dict[str, int]


@dataclass(frozen=True)
class Comparison:
    """The ways at one size; seconds that writing a cycle's changes took before and after the triggers of the feeds."""

    items: int
    ways: dict[str, WayCost]
    write_seconds: float
    watched_write_seconds: float
    said: str  # by changed_facets of sales_day in the last cycle


@contextmanager
def database(settings: Settings, name: str) -> Iterator[str]:
    """A new database on the benchmark's server; its URL. Nothing but what is measured runs there."""
    at: Instance = instances.as_instance(instances.record_of("bench", settings))
    with closing(psycopg2.connect(instances.superuser_dsn(at, "postgres", settings))) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute("alter system set autovacuum = off")  # `settle` does its work, where nothing is measured
            cur.execute("select pg_reload_conf()")
            cur.execute(f"create database {name}")
            try:
                yield instances.superuser_dsn(at, name, settings)
            finally:
                cur.execute(f"drop database {name} with (force)")


def compare(till: Till, project: Project) -> Comparison:
    """Ten cycles; after each, every way brings its five models up to date."""
    write_seconds = statistics.median(till.cycle() for _ in range(3))
    project.operation("facets", "watch_sources")
    for target in TARGETS:
        note(f"{till.items:,} items: first build, {WAYS[target]}")
        project.run(target, "five")
    settle(till.dsn)
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    written = []
    for cycle in range(1, CYCLES + 1):
        note(f"{till.items:,} items: cycle {cycle} of {CYCLES}")
        written.append(till.cycle())
        for way in ("lookback", "scan", "facets", "refresh"):
            if way not in _READS_EVERYTHING or cycle in FEW:
                with till.without_indexes() if way == "scan" else nullcontext():
                    runs[way].append(project.run(_TARGET_OF.get(way, way), "five"))
    wrong = {target: {model: wrong_rows(till.dsn, model, target) for model in MODELS} for target in TARGETS}
    costs = {way: _way_cost(made, wrong[_TARGET_OF.get(way, way)]) for way, made in runs.items()}
    return Comparison(
        till.items, costs, write_seconds, statistics.median(written), runs["facets"][-1].messages["sales_day"]
    )


def wrong_rows(dsn: str, model: str, schema: str) -> int:
    """Rows of a model that a full SELECT has otherwise, or that are missing or left over."""
    missing, surplus = (
        rows(dsn, f"select count(*) from (select * from {a}.{model} except all select * from {b}.{model}) as differs")
        for a, b in (("refresh", schema), (schema, "refresh"))
    )
    return int(max(missing[0][0], surplus[0][0]))


def _way_cost(runs: list[Run], wrong: dict[str, int]) -> WayCost:
    sql_ms = {model: statistics.median(run.sql_ms[model] for run in runs) for model in MODELS}
    return WayCost(sql_ms, median([run.cost for run in runs]), wrong)
