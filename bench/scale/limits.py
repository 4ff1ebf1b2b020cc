"""Where each limit bites, and what is done then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.scale.model import Costs, Fleet, Sizing, size


@dataclass(frozen=True)
class Limit:
    """Something there is only so much of. `used` tells how much of it a sizing needs."""

    name: str
    most: float
    used: Callable[[Sizing], float]
    then: str


LIMITS: Sequence[Limit] = (
    Limit("business numbers (19 bits)", 2**19, lambda s: s.businesses, "another deployment, or wider ids"),
    Limit("one run's process: its events within a cycle", 1.0, lambda s: s.dagster_cpu / s.fleet.cycle_seconds,
          "a step a shard, then several deployments"),
    Limit("shard passes on one machine of 16 cores", 16 * 0.6, lambda s: s.shard_cpu / s.fleet.cycle_seconds,
          "a step a shard on Celery or Kubernetes"),
    Limit("extracts by one process of 8 lanes, a second each", 8.0,
          lambda s: s.extract_cpu / Costs().request_seconds / s.fleet.cycle_seconds,
          "a step a shard, several deployments"),
    Limit("Dagster partitions of an asset (its makers: 100,000)", 100_000, lambda s: s.shards, "several deployments"),
    Limit("control database: commits a second", 2_000, lambda s: s.control_commits, "several deployments"),
    Limit("control database: index of a year, 2 TB", 2e12, lambda s: s.index_bytes_a_day * 365,
          "several deployments; pruning what is old (not built)"),
    Limit("connections to the control database", 500, lambda s: s.control_connections, "a pooler, several deployments"),
    Limit("connections to one shard", 100, lambda s: s.shard_connections, "a pooler or replicas for BI"),
    Limit("objects in one bucket prefix: 3,500 writes a second", 3_500,
          lambda s: 2 * s.blocks_a_day / (s.fleet.open_hours * 3_600),
          "nothing: a source is a prefix of its own, by which stores split"),
)  # fmt: skip


def bites_at(limit: Limit, fleet: Fleet, most_locations: int = 100_000_000) -> int | None:
    """The first number of locations that is too many, all else as it is; None: not up to `most_locations`."""

    def too_many(locations: int) -> bool:
        return limit.used(size(replace(fleet, locations=locations))) > limit.most

    if not too_many(most_locations):
        return None
    low, high = 0, most_locations
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if too_many(middle) else (middle, high)
    return high
