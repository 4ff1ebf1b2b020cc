"""`python -m bench.scale`: sizes of installations, waiting in their cycles, and where each limit bites."""

import argparse
from collections.abc import Sequence

from bench.scale.limits import LIMITS, bites_at
from bench.scale.model import Fleet, Sizing, size
from bench.scale.queueing import simulate, uneven
from cli.output import Output

SEED = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Reckon and print."""
    options = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    given = Fleet(0)
    options.add_argument("--locations", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    options.add_argument("--locations-per-business", type=float, default=given.locations_per_business)
    options.add_argument("--sales", type=float, default=given.sales_per_location_day, help="of a location and day")
    options.add_argument("--years", type=float, default=given.kept_years, help="that are kept in the shards")
    options.add_argument("--cycle", type=float, nargs="+", default=[300, 600], help="seconds between ticks")
    options.add_argument("--shard-bytes", type=float, default=given.shard_bytes)
    asked = options.parse_args(arguments)
    out = Output()

    def fleet(locations: int, cycle: float) -> Fleet:
        return Fleet(
            locations, asked.locations_per_business, asked.sales, kept_years=asked.years, cycle_seconds=cycle,
            shard_bytes=asked.shard_bytes,
        )  # fmt: skip

    for cycle in asked.cycle:
        sizings = [size(fleet(n, cycle)) for n in asked.locations]
        out.say(f"\nA cycle every {cycle:g} s")
        out.table([_row(one, sizings) for one in _figures(sizings)])
        out.table([_waiting(one) for one in sizings])
    rows = []
    for limit in LIMITS:
        at = bites_at(limit, fleet(1, asked.cycle[-1]))
        rows.append({"limit": limit.name, "bites at locations": f"{at:,}" if at else "never", "then": limit.then})
    out.say(f"\nWhere limits bite, a cycle every {asked.cycle[-1]:g} s")
    out.table(rows)


def _figures(sizings: Sequence[Sizing]) -> list[tuple[str, list[float]]]:
    return [
        ("businesses", [s.businesses for s in sizings]),
        ("extracts a day", [s.windows_a_day for s in sizings]),
        ("blocks (index rows) a day", [s.blocks_a_day for s in sizings]),
        ("records a day", [s.records_a_day for s in sizings]),
        ("raw rows", [s.raw_rows for s in sizings]),
        ("raw GB", [s.raw_bytes / 1e9 for s in sizings]),
        ("keys, facts, summaries GB", [s.model_bytes / 1e9 for s in sizings]),
        ("blocks GB", [s.block_bytes / 1e9 for s in sizings]),
        ("control database GB a day", [s.index_bytes_a_day / 1e9 for s in sizings]),
        ("control database commits a second", [s.control_commits for s in sizings]),
        ("shards, by size", [s.shards_by_size for s in sizings]),
        ("shards, by CPU", [s.shards_by_cpu for s in sizings]),
        ("pg_class rows of all shards", [s.catalogue_rows for s in sizings]),
        ("an average pass, s", [s.pass_seconds for s in sizings]),
        ("CPU-s a cycle: extracts", [s.extract_cpu for s in sizings]),
        ("CPU-s a cycle: shards", [s.shard_cpu for s in sizings]),
        ("CPU-s a cycle: Dagster", [s.dagster_cpu for s in sizings]),
        ("cores busy", [s.cores for s in sizings]),
        ("workers at 60 %", [s.workers for s in sizings]),
        ("Dagster partitions an asset", [s.shards for s in sizings]),
        ("Dagster runs a day", [86_400 / s.fleet.cycle_seconds for s in sizings]),
        ("Dagster events a day", [s.events_a_cycle * 86_400 / s.fleet.cycle_seconds for s in sizings]),
        ("connections, control database", [s.control_connections for s in sizings]),
        ("connections, one shard", [s.shard_connections for s in sizings]),
    ]


def _row(figure: tuple[str, list[float]], sizings: Sequence[Sizing]) -> dict[str, object]:
    name, values = figure
    cells = (f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}" for value in values)
    return {"locations": name, **{f"{s.fleet.locations:,}": cell for s, cell in zip(sizings, cells, strict=True)}}


def _waiting(one: Sizing) -> dict[str, object]:
    """The queue with as many workers as reckoned, and a worker killed in the sixth cycle."""
    cycle = one.fleet.cycle_seconds
    passes = uneven(one.shards, one.pass_seconds, SEED)
    quiet = simulate(passes, one.workers, cycle)
    killed = simulate(passes, one.workers, cycle, killed=[5 * cycle + min(passes) / 2])
    return {
        "locations": f"{one.fleet.locations:,}",
        "shards": one.shards,
        "workers": one.workers,
        "tick to summaries: median s": round(quiet.median),
        "95 %": round(quiet.p95),
        "longest": round(quiet.longest),
        "ticks skipped": f"{quiet.skipped:.1%}",
        "workers busy": f"{quiet.busy:.0%}",
        "longest, one worker killed": round(killed.longest),
    }


if __name__ == "__main__":
    main()
