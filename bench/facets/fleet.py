"""Twenty shards with a cycle every five minutes, on a simulated clock: how busy two cores are, and how fresh summaries.

Only the clock and the queue are simulated. Each cycle takes what a cycle of twenty models was measured to take.
"""

import heapq
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.measure import Cost

SHARDS, EVERY, CORES, HOURS = 20, 300.0, 2, 24
BLOCKS_OF_A_CYCLE = 10  # so many sources of a shard sent something; where each shard has sources, no cycle is idle


@dataclass(frozen=True)
class Fleet:
    """`busy`: share of the cores that cycles needed. Seconds from a block's commit to the summaries that have it."""

    busy: float
    p50: float
    p95: float
    longest: float
    queued: float  # p95 of the seconds that cycles waited for a core


def simulate(cycles: Sequence[Cost], staggered: bool = True) -> Fleet:
    """A day in which every shard gets blocks all the time.

    Args:
        cycles: measured cycles, drawn from at random.
        staggered: shards are due one after another, each at its own time in the five minutes; else all at once.
    """
    draw = random.Random(1)
    end = HOURS * 3600.0
    free = [0.0] * CORES
    due = [(n * EVERY / SHARDS if staggered else 0.0, n) for n in range(SHARDS)]
    heapq.heapify(due)
    blocks = {shard: _arrivals(draw, end) for shard in range(SHARDS)}
    ages: list[float] = []
    waits: list[float] = []
    cpu = 0.0
    while due[0][0] < end:
        at, shard = heapq.heappop(due)
        begins = max(at, heapq.heappop(free))
        cost = draw.choice(cycles)
        done = begins + cost.wall
        heapq.heappush(free, done)
        heapq.heappush(due, (max(at + EVERY, done), shard))
        cpu += cost.cpu
        waits.append(begins - at)
        while blocks[shard] and blocks[shard][-1] <= begins:  # it sees what was committed when it began
            ages.append(done - blocks[shard].pop())
    return Fleet(cpu / (end * CORES), statistics.median(ages), _p95(ages), max(ages), _p95(waits))


def _arrivals(draw: random.Random, end: float) -> list[float]:
    """Times of a shard's blocks, the latest first."""
    times, at = [], 0.0
    while (at := at + draw.expovariate(BLOCKS_OF_A_CYCLE / EVERY)) < end:
        times.append(at)
    return times[::-1]


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
