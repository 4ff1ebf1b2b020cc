"""From locations to shards, rows, bytes, CPU and connections: arithmetic over measured and assumed unit costs.

Each figure says where it is from. "demo" is a shard of `larder demo`: two locations on two tills for 33 days, 8,049
sales, 16,338 records in raw. Figures of other pages are named by the page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DAY = 86_400.0


@dataclass(frozen=True)
class Fleet:
    """What there is to serve. All of it is assumed: put your own in."""

    locations: int
    locations_per_business: float = 3.0
    sales_per_location_day: float = 200.0
    open_hours: float = 14.0
    streams_each_cycle: int = 3  # of one business: orders, payments, refunds of its till
    streams_hourly: int = 4
    streams_daily: int = 5
    refunds_per_sale: float = 0.02
    other_records_per_location_day: float = 40.0  # shifts, reviews, spend, catalogue
    kept_years: float = 2.0
    cycle_seconds: float = 600.0
    shard_bytes: float = 1e12  # of one shard's database, indexes and all


@dataclass(frozen=True)
class Costs:
    """What one of each costs on one core."""

    bytes_per_raw_record: float = 2_110.0  # demo: raw, raw_* and their indexes; heads, links and feeds with it
    bytes_per_sale_models: float = 5_140.0  # demo: keys, intermediate, marts, of a sale with its lines and payments
    bytes_per_block_record: float = (
        171.0  # demo: 40,847 records in 7.0 MB, manifests included (2,065 bytes before zstd)
    )
    index_bytes_per_block: float = 5_560.0  # demo: control.blocks of 53 blocks with its indexes
    log_bytes_per_window: float = 1_340.0  # demo: control.extraction_log
    catalogue_rows: int = 1_429  # demo: pg_class of a shard with four vendors
    catalogue_bytes: float = 15.8e6  # demo: pg_catalog of it
    models_touched: int = 40  # assumed: those that a till's records reach
    model_seconds: float = 0.035  # decisions.md 6: 20 models on a shard, 0.6–0.8 CPU-s
    facet_seconds: float = 0.000_48  # 20 models and 300 facets at 3.6 CPU-s (2.3 by now), less the line above
    record_seconds: float = 0.000_15  # decisions.md 2 and 3: 76 µs COPY, 28–37 µs dlt; 37 µs to publish are assumed
    business_seconds: float = 0.010  # assumed: a transaction of its own for each business in a load
    request_seconds: float = 0.005  # assumed: ask a vendor, page, compress, write, note it
    run_seconds: float = 6.0  # decisions.md 8: a run of Dagster's, before it does anything
    event_seconds: float = 0.015  # assumed, of a run's process: storing one event of Dagster's
    events_per_shard: int = 90  # assumed: streams, models that changed, checks
    event_bytes: float = 2_000.0  # assumed
    event_days: int = 30  # orchestration/instance.py: how long runs are kept


@dataclass(frozen=True)
class Sizing:
    """What an installation of that size is."""

    fleet: Fleet
    businesses: int
    windows_a_day: float  # extracts, empty ones too
    blocks_a_day: float
    records_a_day: float
    raw_rows: float
    raw_bytes: float
    model_bytes: float
    block_bytes: float
    index_bytes_a_day: float
    shards_by_size: int
    shards_by_cpu: int
    extract_cpu: float  # seconds a cycle, when all locations are open
    shard_cpu: float
    events_a_cycle: int
    dagster_cpu: float
    control_commits: float  # a second, when all are open
    catalogue_rows: int
    catalogue_bytes: float
    workers: int
    control_connections: int
    shard_connections: int

    @property
    def shards(self) -> int:
        """As many as the greater need demands."""
        return max(self.shards_by_size, self.shards_by_cpu)

    @property
    def cores(self) -> float:
        """Busy ones, of all machines, when all locations are open."""
        return (self.extract_cpu + self.shard_cpu + self.dagster_cpu) / self.fleet.cycle_seconds

    @property
    def pass_seconds(self) -> float:
        """Of an average shard in a cycle, on one core."""
        return self.shard_cpu / self.shards


def windows_with_something(records: float, windows: float) -> float:
    """How many windows have a record, of so many that records fall into at random."""
    return windows * (1 - math.exp(-records / windows)) if windows else 0.0


def shard_seconds(locations: float, fleet: Fleet, costs: Costs) -> float:
    """CPU of loading and building one shard's cycle: every location has sold something, so has a facet that changed."""
    businesses = locations / fleet.locations_per_business
    records = locations * _records(fleet) * fleet.cycle_seconds / (fleet.open_hours * 3_600)
    facets = locations * costs.facet_seconds * costs.models_touched
    fixed = costs.models_touched * costs.model_seconds
    return fixed + facets + records * costs.record_seconds + businesses * costs.business_seconds


def most_locations(fleet: Fleet, costs: Costs) -> int:
    """On one shard so that its pass takes a third of a cycle, as a shard is built by one process under one lease."""
    fixed = shard_seconds(0, fleet, costs)
    return max(1, int((fleet.cycle_seconds / 3 - fixed) / (shard_seconds(1, fleet, costs) - fixed)))


def size(fleet: Fleet, costs: Costs | None = None) -> Sizing:
    """The sizing of a fleet."""
    costs = costs or Costs()
    businesses = math.ceil(fleet.locations / fleet.locations_per_business)
    ticks = DAY / fleet.cycle_seconds
    windows = businesses * (fleet.streams_each_cycle * ticks + fleet.streams_hourly * 24 + fleet.streams_daily)
    blocks = businesses * _blocks_of_a_business(fleet)
    records = fleet.locations * _records(fleet)
    kept = fleet.kept_years * 365
    raw_rows = records * kept
    raw_bytes = raw_rows * costs.bytes_per_raw_record
    model_bytes = fleet.locations * fleet.sales_per_location_day * kept * costs.bytes_per_sale_models
    by_size = math.ceil((raw_bytes + model_bytes) / fleet.shard_bytes)
    by_cpu = math.ceil(fleet.locations / most_locations(fleet, costs))
    shards = max(by_size, by_cpu)
    a_cycle = businesses * (fleet.streams_each_cycle + fleet.streams_hourly * fleet.cycle_seconds / 3_600)
    shard_cpu = shards * shard_seconds(fleet.locations / shards, fleet, costs)
    workers = math.ceil(shard_cpu / fleet.cycle_seconds / 0.6)  # busy to 60 %: the rest is for waves
    readers = max(1, math.ceil(a_cycle / (8 * fleet.cycle_seconds)))  # processes of eight lanes, a second a request
    events = shards * costs.events_per_shard
    open_share = fleet.open_hours / 24
    return Sizing(
        fleet=fleet,
        businesses=businesses,
        windows_a_day=windows,
        blocks_a_day=blocks,
        records_a_day=records,
        raw_rows=raw_rows,
        raw_bytes=raw_bytes,
        model_bytes=model_bytes,
        block_bytes=raw_rows * costs.bytes_per_block_record,
        index_bytes_a_day=blocks * costs.index_bytes_per_block + windows * costs.log_bytes_per_window,
        shards_by_size=by_size,
        shards_by_cpu=by_cpu,
        extract_cpu=a_cycle * costs.request_seconds,
        shard_cpu=shard_cpu,
        events_a_cycle=events,
        dagster_cpu=costs.run_seconds + events * costs.event_seconds,
        # an empty window is one commit; a block three more: intent, index, loaded
        control_commits=windows / DAY + 3 * blocks / DAY / open_share,
        catalogue_rows=shards * costs.catalogue_rows,
        catalogue_bytes=shards * costs.catalogue_bytes,
        workers=workers,
        control_connections=9 * readers + 2 * workers,  # a lane each and one over; a worker's load and its step
        shard_connections=4 + 8 + math.ceil(0.02 * businesses / shards),  # a pass; a router's pool; a fiftieth of BI
    )


def _records(fleet: Fleet) -> float:
    """Of a location and day: an order, a payment and now and then a refund a sale, and the rest."""
    return fleet.sales_per_location_day * (2 + fleet.refunds_per_sale) + fleet.other_records_per_location_day


def _blocks_of_a_business(fleet: Fleet) -> float:
    """A day's windows that are not empty."""
    sales = fleet.sales_per_location_day * fleet.locations_per_business
    others = fleet.other_records_per_location_day * fleet.locations_per_business
    open_ticks = fleet.open_hours * 3_600 / fleet.cycle_seconds
    own = [sales, sales, sales * fleet.refunds_per_sale, *[0.0] * fleet.streams_each_cycle][: fleet.streams_each_cycle]
    often = sum(windows_with_something(records, open_ticks) for records in own)
    slow = fleet.streams_hourly + fleet.streams_daily
    hourly = fleet.streams_hourly * windows_with_something(others / slow, fleet.open_hours) if slow else 0.0
    daily = fleet.streams_daily * windows_with_something(others / slow, 1) if slow else 0.0
    return often + hourly + daily
