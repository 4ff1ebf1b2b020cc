"""Which businesses should live elsewhere, and why. Values in, values out; the figures are in plan.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sharding.errors import LarderError
from sharding.moving.plan import Weight

TOLERANCE = 0.1
"""Of the average shard: what a move has to gain."""


@dataclass(frozen=True)
class Step:
    """A business to be moved, and the reason."""

    name: str
    from_shard: str
    to_shard: str
    bytes: int
    records_a_day: float
    why: str


def shares(weights: Sequence[Weight]) -> dict[str, float]:
    """Business → its part of all that is weighed, half by size and half by what comes in a day; they add up to 1.

    Where nothing is known of either, the other counts alone; of neither, all weigh the same.
    """
    size, load = sum(w.bytes for w in weights), sum(w.records_a_day for w in weights)
    found = {}
    for weight in weights:
        parts = [part / whole for part, whole in ((weight.bytes, size), (weight.records_a_day, load)) if whole]
        found[weight.business.name] = sum(parts) / len(parts) if parts else 1 / len(weights)
    return found


def emptied(weights: Sequence[Weight], shard: str, others: Sequence[str]) -> list[Step]:
    """All businesses of a shard, the heaviest first, each to the lightest of the others."""
    share = shares(weights)
    loads = _loads(weights, share, others)
    steps = []
    for weight in _heaviest_first([w for w in weights if w.shard == shard], share):
        to = min(loads, key=lambda name: (loads[name], name))
        loads[to] += share[weight.business.name]
        steps.append(_step(weight, to, f"{to} has {_percent(loads[to])} with it"))
    return steps


def halved(weights: Sequence[Weight], shard: str, to: str) -> list[Step]:
    """About half of a shard's businesses by what comes in a day: of two such halves the one with less to copy.

    Raises:
        LarderError: turn `you`: fewer than two live there.
    """
    there = [w for w in weights if w.shard == shard]
    if len(there) < 2:
        raise LarderError(f"{shard} has {len(there)} businesses: it cannot be halved", "you", "larder business list")
    by_load = any(w.records_a_day for w in there)
    share = shares([Weight(w.business, 0, w.records_a_day) for w in there] if by_load else there)
    halves: tuple[list[Weight], list[Weight]] = ([], [])
    filled = [0.0, 0.0]
    for weight in _heaviest_first(there, share):
        lighter = filled.index(min(filled))
        halves[lighter].append(weight)
        filled[lighter] += share[weight.business.name]
    which = min((0, 1), key=lambda n: (sum(w.bytes for w in halves[n]), filled[n]))
    why = f"{_percent(filled[which])} of what comes in go to {to}, {_percent(filled[1 - which])} stay"
    return [_step(weight, to, why) for weight in halves[which]]


def balanced(weights: Sequence[Weight], shards: Sequence[str], tolerance: float = TOLERANCE) -> list[Step]:
    """Moves from the heaviest to the lightest shard, one after the other, while each brings these two closer together
    by more than `tolerance` of the average; a business moves once at most."""
    if len(shards) < 2:
        return []
    share = shares(weights)
    loads = _loads(weights, share, shards)
    left = {w.business.name: w for w in weights if w.shard in loads}
    steps: list[Step] = []
    while True:
        heavy = max(loads, key=lambda name: (loads[name], name))
        light = min(loads, key=lambda name: (loads[name], name))
        gap = loads[heavy] - loads[light]
        closer = gap - tolerance / len(loads)
        fitting = [w for w in left.values() if w.shard == heavy and abs(gap - 2 * share[w.business.name]) < closer]
        if not fitting:
            return steps
        # What halves the gap best; of equals the one with less to copy.
        best = min(
            fitting,
            key=lambda w: (round(abs(gap / 2 - share[w.business.name]), 3), w.bytes, w.business.name),
        )
        del left[best.business.name]
        moved = share[best.business.name]
        loads[heavy], loads[light] = loads[heavy] - moved, loads[light] + moved
        why = (
            f"{heavy} {_percent(loads[heavy] + moved)} → {_percent(loads[heavy])},"
            f" {light} {_percent(loads[light] - moved)} → {_percent(loads[light])} of all"
        )
        steps.append(_step(best, light, why))


def _loads(weights: Sequence[Weight], share: Mapping[str, float], shards: Sequence[str]) -> dict[str, float]:
    return {name: sum(share[w.business.name] for w in weights if w.shard == name) for name in shards}


def _heaviest_first(weights: Sequence[Weight], share: Mapping[str, float]) -> list[Weight]:
    return sorted(weights, key=lambda w: (-share[w.business.name], w.business.name))


def _step(weight: Weight, to: str, why: str) -> Step:
    return Step(weight.business.name, weight.shard, to, weight.bytes, round(weight.records_a_day, 1), why)


def _percent(part: float) -> str:
    return f"{part:.0%}"
