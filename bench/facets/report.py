"""Measure the summaries and print what was found, goals beside figures."""

import os
from collections.abc import Sequence
from pathlib import Path

from bench.facets import fleet, picture
from bench.facets.runner import TARGETS, Project
from bench.facets.shard import HotDay, hot_day, idle, probed, twenty
from bench.facets.till import BUSINESSES, ITEMS_OF_A_DAY, ITEMS_OF_A_SALE, LATE, LOCATIONS, NEW_SALES, Till
from bench.facets.ways import CYCLES, FEW, MODELS, WAYS, Comparison, compare, database
from bench.loads import median
from bench.measure import Cost, note
from cli.output import Output
from sharding.settings import Settings

PICTURE = Path(__file__).parents[2] / "docs" / "changed-facets-cost.svg"
SHORT = {
    "refresh": "full refresh",
    "scan": "3-day lookback, no index",
    "lookback": "3-day lookback",
    "facets": "changed_facets",
}


def measure(out: Output, settings: Settings, postmaster: int, sizes: Sequence[int], with_picture: bool) -> None:
    """Every size four ways; then, at the smallest, twenty models, nothing new, a hot day and the fleet."""
    out.say(
        f"{LOCATIONS} locations of {BUSINESSES} businesses, each with {ITEMS_OF_A_DAY} items a day: the larger the"
        " table, the longer its past.\n"
        f"A cycle is {NEW_SALES // LOCATIONS} sales of today at each ({NEW_SALES * ITEMS_OF_A_SALE:,} items) and {LATE}"
        f" late corrections: some {LOCATIONS + LATE} facets (location, date).\n"
        f"Medians of {CYCLES} cycles ({len(FEW)} of what reads everything). dbt runs in one process that has parsed"
        " the project before, as\nour workers do: its start-up (some 3 CPU-s) is not in these figures. Autovacuum"
        " waits between runs.\n"
    )
    found = []
    for size in sorted(sizes):
        with database(settings, f"items_{size}") as dsn:
            note(f"{size:,} items: generating")
            till = Till(dsn, size)
            till.generate()
            project = Project(settings.home / f"dbt_{size}", dsn, postmaster)
            found.append(compare(till, project))
            _print_ways(out, found[-1])
    _print_growth(out, found)
    with database(settings, "shard") as dsn:
        till = Till(dsn, min(sizes))
        till.generate()
        project = Project(settings.home / "dbt_shard", dsn, postmaster)
        project.copy_models("five", "fifteen", 3)
        project.operation("facets", "watch_sources")
        _shard(out, till, project)
    if with_picture:
        PICTURE.write_text(_picture(found))
        out.say(f"wrote {PICTURE.relative_to(PICTURE.parents[1])}")


def _print_ways(out: Output, found: Comparison) -> None:
    rows = [
        {
            "way": WAYS[way],
            **{model: round(it.sql_ms[model]) for model in MODELS},
            "SQL ms": round(sum(it.sql_ms.values())),
            **_seconds(it.cost),
            "wrong rows": sum(it.wrong.values()),
        }
        for way, it in found.ways.items()
    ]
    title = "SQL ms of a model, a cycle of all five, and rows that a full SELECT has otherwise"
    out.table(rows, f"{found.items:,} items, {_load()}: {title}")
    for way, it in found.ways.items():
        if way in TARGETS and any(it.wrong.values()):
            named = ", ".join(f"{model} {count:,}" for model, count in it.wrong.items())
            out.say(f"wrong after {CYCLES} cycles of {WAYS[way]}: {named}")
    out.say(f"changed_facets of sales_day in the last cycle: {found.said}")
    out.say(
        f"writing a cycle's changes: {1000 * found.write_seconds:.0f} ms;"
        f" with the triggers that feed changed_facets {1000 * found.watched_write_seconds:.0f} ms\n"
    )


def _print_growth(out: Output, found: Sequence[Comparison]) -> None:
    if len(found) < 2:
        return
    first, last = found[0], found[-1]
    rows = [
        {
            "way": WAYS[way],
            "CPU ×": round(last.ways[way].cost.cpu / first.ways[way].cost.cpu, 1),
            "SQL ms ×": round(sum(last.ways[way].sql_ms.values()) / sum(first.ways[way].sql_ms.values()), 1),
            f"CPU ÷ changed_facets at {_short(last.items)}": round(
                last.ways[way].cost.cpu / last.ways["facets"].cost.cpu, 1
            ),
        }
        for way in WAYS
    ]
    out.table(
        rows, f"from {_short(first.items)} to {_short(last.items)} items, {last.items / first.items:.0f} × as many"
    )


def _shard(out: Output, till: Till, project: Project) -> None:
    cycles = twenty(till, project)
    found = {
        "20 models, 300 changed facets": (cycles, "wall ≤ 3 s"),
        "20 models, nothing new: a run of dbt": (idle(project), ""),
        "20 models, nothing new: the probe": (probed(till, project), "wall ≤ 0.05 s"),
    }
    rows = [{"what": what, **_seconds(median(costs)), "goal": goal} for what, (costs, goal) in found.items()]
    out.table(rows, f"one shard, {till.items:,} items, {_load()}")
    _print_fleet(out, cycles)
    _print_hot(out, hot_day(till, project))


def _print_fleet(out: Output, cycles: Sequence[Cost]) -> None:
    rows = []
    for how, staggered in (("one shard after another", True), ("all shards at once", False)):
        day = fleet.simulate(cycles, staggered)
        rows.append(
            {
                "shards are due": how,
                "share of two cores": f"{100 * day.busy:.1f} %",
                "block → summary p50 s": round(day.p50),
                "p95 s": round(day.p95),
                "longest s": round(day.longest),
                "p95 wait for a core s": round(day.queued, 1),
            }
        )
    out.table(
        rows,
        f"simulated: {fleet.SHARDS} shards × 20 models every five minutes for a day, {fleet.CORES} cycles at a time",
    )
    out.say(
        "goal: ≤ 25 % of two cores, p95 ≤ 300 s. Clock and queue are simulated, cycles take what those above took;\n"
        "every shard has 300 changed facets in every cycle, and a block waits for the next cycle of its shard\n"
    )


def _print_hot(out: Output, day: HotDay) -> None:
    labels = {"five": "the five, from items", "hot": "four, hours feed the day"}
    rows = [
        {
            "models": labels[folder],
            "CPU s": round(before.cpu, 2),
            "hot: CPU s": round(day.now[folder].cpu, 2),
            "×": round(day.now[folder].cpu / before.cpu, 2),
            "in a hot hour: CPU s": round(day.in_hot_hour[folder].cpu, 2),
            "× ": round(day.in_hot_hour[folder].cpu / before.cpu, 2),
        }
        for folder, before in day.before.items()
    ]
    out.table(
        rows, f"a cycle of {NEW_SALES} sales on a day with {day.sales[0]:,}, and on a hot one with {day.sales[1]:,}"
    )
    out.say(
        "goal: at most 1.5 × where hours feed the day. The sales are of an hour that has just begun; in a hot hour:\n"
        "of one that has ten times as many, too"
    )


def _seconds(cost: Cost) -> dict[str, float]:
    return {
        "CPU s": round(cost.cpu, 2),
        "dbt": round(cost.client, 2),
        "Postgres": round(cost.postgres, 2),
        "wall s": round(cost.wall, 2 if cost.wall > 0.1 else 3),
    }


def _load() -> str:
    """How busy the machine is: beyond its cores, wall and SQL ms also tell of other programs; CPU does not."""
    return f"load {os.getloadavg()[1]:.1f}"


def _picture(found: Sequence[Comparison]) -> str:
    curves = {}
    for way, short in SHORT.items():
        wrong = sum(found[-1].ways[way].wrong.values())
        name = f"{short}, {wrong:,} wrong rows" if wrong else short
        curves[name] = [(comparison.items, comparison.ways[way].cost.cpu) for comparison in found]
    below = f"dbt and Postgres, five models, some 300 changed facets a cycle; wrong rows after {CYCLES} cycles"
    return picture.draw(curves, "CPU-seconds of a cycle", below)


def _short(items: int) -> str:
    return f"{items / 1e6:g} M" if items >= 1e6 else f"{items / 1e3:g} k"
