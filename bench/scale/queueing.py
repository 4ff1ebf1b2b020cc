"""Cycles as a queue: shards of unequal size, a tick that asks for all of them, so many workers, one pass a shard."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """What came of some cycles. Seconds are from a tick to the end of the pass that took what was due then."""

    median: float
    p95: float
    longest: float
    skipped: float  # share of ticks at which a shard was still at work or in line
    busy: float  # share of the workers' time


def uneven(shards: int, mean_seconds: float, seed: int, spread: float = 0.6) -> list[float]:
    """Passes of unequal length with that mean: log-normal, the largest of a thousand some six times the median."""
    draw = random.Random(seed)
    drawn = [draw.lognormvariate(0.0, spread) for _ in range(shards)]
    return [mean_seconds * one * shards / sum(drawn) for one in drawn]


def simulate(
    passes: Sequence[float], workers: int, cycle_seconds: float, cycles: int = 36, killed: Sequence[float] = (),
    handed_on: float = 600.0,
) -> Waiting:  # fmt: skip
    """Run the ticks of some cycles. A shard in line or at work at a tick is skipped there: the next pass takes both.

    Args:
        killed: moments at which a worker dies in the midst of a pass; another takes its place at once, and the
            shard's step is handed on `handed_on` seconds later, or taken up at the next tick.
    """
    free = [0.0] * workers
    heapq.heapify(free)
    until = [0.0] * len(passes)  # when each shard's pass ends
    waits: list[float] = []
    skipped, worked, deaths = 0, 0.0, sorted(killed)
    for tick in range(cycles):
        now = tick * cycle_seconds
        due = [shard for shard, end in enumerate(until) if end <= now]
        skipped += len(passes) - len(due)
        for shard in sorted(due, key=lambda one: until[one]):  # who has waited longest first
            begin = max(now, heapq.heappop(free))
            end = begin + passes[shard]
            if deaths and begin <= deaths[0] < end:
                died = deaths.pop(0)
                heapq.heappush(free, died)
                worked += died - begin
                begin = max(min(died + handed_on, now + cycle_seconds), heapq.heappop(free))
                end = begin + passes[shard]
            heapq.heappush(free, end)
            worked += passes[shard]
            until[shard] = end
            waits.append(end - now)
    waits.sort()
    span = max(cycles * cycle_seconds, *until)
    return Waiting(
        median=waits[len(waits) // 2],
        p95=waits[int(0.95 * (len(waits) - 1))],
        longest=waits[-1],
        skipped=skipped / (cycles * len(passes)),
        busy=worked / (workers * span),
    )
