"""`python -m bench`: what the way of the data costs on this machine, as a table. Nothing is asserted."""

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.access import measure_access
from bench.fairness import measure_fairness
from bench.fairness import rows as rows_of_fairness
from bench.ids import measure_ids
from bench.ids import rows as rows_of_ids
from bench.integrations import PAGE, discovery, parses, reading
from bench.loads import BUSINESS, make_blocks, measure, median, server
from bench.measure import Cost, note
from bench.migrations import BUILD_SECONDS, measure_migrations
from bench.migrations import rows as rows_of_migrations
from bench.moves import measure_moves, search
from bench.moves import rows as rows_of_moves
from bench.reimport import measure_reimport
from bench.reimport import rows as rows_of_reimport
from bench.router import ROUND, measure_router
from bench.router import rows as rows_of_router
from bench.shards import measure_shards
from bench.shards import rows as rows_of_shards
from bench.way import measure_way
from cli.output import Output
from ingestion.blocks import BlockStore
from sharding.settings import Settings

PARTS = (
    "loads",
    "way",
    "integrations",
    "shards",
    "migrations",
    "ids",
    "router",
    "moves",
    "facets",
    "models",
    "reimport",
    "reproduce",
    "fairness",
    "access",
)
MANY = 400  # integrations
FLIPS = 40
IDS = 200_000
ROUNDS = 15
WAYS = {
    "bare_copy": "bare COPY of payload rows",
    "ours": "block → raw, published",
    "dlt_default": "dlt's default: nested",
}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--orders", type=int, default=50_000, help="generated orders (default: %(default)s)")
    options.add_argument("--runs", type=int, default=3, help="runs of which the median is shown (default: %(default)s)")
    options.add_argument("--only", choices=PARTS, help="one part of it")
    sizes = "sale items that summaries are measured on, such as 1M,10M,20M (default: 1M,10M)"
    options.add_argument("--items", type=_sizes, default=[1_000_000, 10_000_000], help=sizes)
    options.add_argument("--moved", type=int, default=500_000, help="sales that move (default: %(default)s)")
    searched = "instead of moving: the copy with one setting after the other changed"
    options.add_argument("--search", action="store_true", help=searched)
    options.add_argument("--picture", action="store_true", help="also write docs/changed-facets-cost.svg")
    given = options.parse_args()
    out = Output()
    out.say(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; load {os.getloadavg()[0]}"
    )
    parts = (given.only,) if given.only else PARTS
    if "loads" in parts:
        loads(out, given.orders, given.runs)
    if "way" in parts:
        way(out)
    if "integrations" in parts:
        integrations(out, given.orders, max(5, given.runs))
    if "shards" in parts:
        shards(out)
    if "migrations" in parts:
        migrations(out)
    if "ids" in parts:
        with _home() as home:
            note("ids")
            out.table(rows_of_ids(measure_ids(home, IDS, given.runs), IDS), f"{IDS:,} rows into an empty table")
    if "router" in parts:
        with _home() as home:
            note("pins")
            title = f"a transaction that reads one row, on one core; medians of rounds of {ROUND}"
            out.table(rows_of_router(measure_router(home, ROUNDS)), title)
    if "moves" in parts and given.search:
        with _home() as home:
            out.table(search(home, given.moved), f"{given.moved:,} sales copied; one setting after the other changed")
    elif "moves" in parts:
        with _home() as home:
            note("a business on its way")
            measured = measure_moves(home, given.moved, FLIPS, note)
        title = f"{measured.rows:,} rows, {measured.megabytes:.0f} MB of records, two servers on this machine"
        out.table(rows_of_moves(measured), title)
    if "reimport" in parts:
        with _home() as home:
            note("weeks read again beside a business that trades on")
            found = measure_reimport(home)
        title = f"one shard; {found.records:,} changed orders of another business read again in {found.seconds:.0f} s"
        out.table(rows_of_reimport(found), title)
    if "reproduce" in parts:
        from bench.reproduce import measure_reproduce  # dbt takes 3 CPU-seconds to import
        from bench.reproduce import rows as rows_of_reproductions

        with _home() as home:
            note("a failing block, on a throwaway shard")
            out.table(rows_of_reproductions(measure_reproduce(home)), "larder reproduce")
    if "fairness" in parts:
        with _home() as home:
            note("a small business beside others")
            out.table(rows_of_fairness(measure_fairness(home)), "a small business's block on its way to the summaries")
    if "access" in parts:
        with _home() as home:
            title = "a mart of 730,000 rows of 50 businesses, read for one"
            out.table(measure_access(Settings(home=home, control_dsn=None), given.runs), title)
    if "facets" in parts:
        facets(out, given.items, given.picture)
    if "models" in parts:
        models(out)


def loads(out: Output, orders: int, runs: int) -> None:
    """The same orders three ways, one block by a warm process, and memory at many blocks."""
    with _home() as home, server(home) as (settings, pid):
        store = BlockStore(f"file://{home / 'blocks'}")
        source_id = BUSINESS << 45 | 1
        manifests = make_blocks(store, source_id, orders, max(1, orders // 6250))
        costs: dict[str, Cost] = {}
        for name, label in WAYS.items():
            note(f"{label}, {runs} runs")
            costs[name] = median(measure(name, settings, pid, store, manifests, runs))
        rows = [_row(WAYS[name], cost, costs["bare_copy"]) for name, cost in costs.items()]
        megabytes = sum(manifest.bytes for manifest in manifests) / 1e6
        out.table(rows, f"{orders:,} generated orders, {megabytes:.0f} MB of JSON; process warm, medians of {runs}")
        ours, nested = costs["ours"].cpu, costs["dlt_default"].cpu
        out.say(f"goal: at most 2.5 × the CPU of the bare COPY; dlt's default costs {nested / ours:.1f} × ours\n")

        note("one block, and many blocks")
        single = median(measure("one_block", settings, pid, store, make_blocks(store, source_id, 210, 21), runs))
        many = median(measure("ours", settings, pid, store, make_blocks(store, source_id, orders, 1000), 1))
        rows = [
            {"what": "one block of 10 orders, warm process: CPU s", "measured": round(single.cpu, 3), "goal": "≤ 0.25"},
            {"what": "one block of 10 orders, warm process: wall s", "measured": round(single.wall, 3), "goal": ""},
            {"what": f"{orders:,} orders in 1,000 blocks: CPU s", "measured": round(many.cpu, 2), "goal": ""},
            {"what": "peak memory at 1,000 blocks: MB", "measured": round(many.peak_mb), "goal": "< 400"},
        ]
        out.table(rows, "loading")


def way(out: Output) -> None:
    """The vendor's change on its way to the marts, and how fast a vendor is read."""
    with _home() as home:
        note("a vendor's ten minutes to the marts")
        cycles = measure_way(home)
    for title, steps in (
        ("first cycle, orders extracted before", cycles.first),
        ("a cycle later", cycles.later),
    ):
        rows = [
            {
                "step": step.name,
                "wall s": round(step.wall, 2),
                "client CPU s": round(step.cpu, 2),
                "handled": step.handled,
            }
            for step in steps
        ]
        total = sum(step.wall for step in steps)
        rows.append({"step": "vendor's change → mart", "wall s": round(total, 2)})
        out.table(rows, title, columns=("step", "wall s", "client CPU s", "handled"))
    rate, pace = cycles.orders_per_cpu_second, cycles.orders_per_second
    out.say(f"extraction: {rate:,.0f} orders a second of our core, {pace:,.0f} by the wall; goal ≥ 3,000 a core")


def integrations(out: Output, orders: int, pairs: int) -> None:
    """The engine beside a bare loop, and hundreds of integrations."""
    with _home() as home, server(home) as (settings, _):
        note(f"the engine and a bare loop, {pairs} pairs")
        read = reading(home, settings, orders, pairs)
        note("400 integrations")
        found = discovery(home, MANY)
        parsed = parses(home, (0, MANY))
    each = 1e6 / orders
    rows: list[dict[str, object]] = [
        {"what": "engine, a record: CPU µs", "measured": round(read.engine * each, 1), "goal": ""},
        {"what": "bare httpx loop, a record: CPU µs", "measured": round(read.bare * each, 1), "goal": ""},
        {"what": "engine ÷ bare, median of pairs", "measured": round(read.of_pairs, 2), "goal": "≤ 1.5"},
        {"what": f"{MANY} integrations found and valid: CPU s", "measured": round(found, 2), "goal": "≤ 1"},
    ]
    for parse in parsed:
        more = f"with {parse.integrations} integrations more" if parse.integrations else "as it is"
        rows.append({"what": f"dbt's parse {more}: CPU s", "measured": round(parse.first, 1), "goal": ""})
        rows.append({"what": "the same, nothing changed: CPU s", "measured": round(parse.again, 1), "goal": ""})
    out.table(rows, f"integrations; {orders:,} orders in pages of {PAGE}")


def shards(out: Output) -> None:
    """A shard with three vendors beside one with all."""
    with _home() as home:
        note("a shard with three vendors, and one with all")
        out.table(rows_of_shards(measure_shards(home)), "cycles of two shards; the same three vendors trade")


def migrations(out: Output) -> None:
    """Fifty shards brought to the newest schema, and readers beside a migration that waits."""
    with _home() as home:
        note("migrations of fifty shards")
        found = measure_migrations(home)
    out.table(rows_of_migrations(found), f"{found.files} migrations on {found.shards} databases of one server")
    waits = "; ".join(f"{name} {seconds * 1000:,.0f} ms" for name, seconds in found.longest_read.items())
    out.say(f"longest wait of a reader while a migration waits for a build of {BUILD_SECONDS:.0f} s: {waits}\n")


def facets(out: Output, sizes: Sequence[int], picture: bool) -> None:
    """Five summaries kept four ways, twenty on a shard, and a fleet of shards."""
    from bench.facets.report import measure as measure_facets  # dbt takes 3 CPU-seconds to import

    with _home() as home, server(home) as (settings, pid):
        measure_facets(out, settings, pid, sizes, picture)


def models(out: Output) -> None:
    """Larder's own models: a cycle with an order from each site of a chain."""
    from bench.models import DAYS, ORDERS, SITES, measure_models
    from bench.models import rows as rows_of_models

    with _home() as home, server(home) as (settings, pid):
        found = measure_models(home, settings, pid)
    out.table(rows_of_models(found), f"an order from each of {SITES} sites with {DAYS} days of {ORDERS} orders")
    first, later = found.first, found.later
    out.say(
        f"all of them: {later.cpu:.2f} CPU-s, {later.wall:.2f} s, data tests included; the first build, of"
        f" {found.lines:,} lines: {first.cpu:.0f} CPU-s, {first.wall:.0f} s\n"
    )


def _sizes(given: str) -> list[int]:
    """`200k,1M` as numbers."""
    units = {"k": 1_000, "M": 1_000_000}
    return [int(float(size.rstrip("kM")) * units.get(size[-1], 1)) for size in given.split(",")]


def _row(label: str, cost: Cost, bare: Cost) -> dict[str, object]:
    return {
        "way": label,
        "wall s": round(cost.wall, 2),
        "CPU s": round(cost.cpu, 2),
        "client": round(cost.client, 2),
        "Postgres": round(cost.postgres, 2),
        "× bare": round(cost.cpu / bare.cpu, 2),
        "peak MB": round(cost.peak_mb),
    }


@contextmanager
def _home() -> Iterator[Path]:
    """A home that Postgres can reach also where it runs as another user."""
    home = Path(tempfile.mkdtemp(prefix="larder-bench-", dir="/var/tmp"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
