"""A shard's quiet time: the two hours in which its guests buy least; by its clocks where nothing was sold yet. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

HOURS = 2
"""How long the quiet time is; the moment within it follows from the shard's name, so that shards are spread."""
STEP = 10
"""Minutes between two looks for shards whose time has come."""
_LOCAL = 3  # o'clock: after the last kitchen, before the first bakery


@dataclass(frozen=True)
class Quiet:
    """When a shard is quiet. `minute`: of the UTC day, a multiple of `STEP`."""

    minute: int
    because: str


def quiet_time(shard: str, sold: Mapping[int, int], zones: Sequence[str], now: datetime) -> Quiet:
    """Find the quiet time of a shard.

    Args:
        sold: hour of the UTC day → orders of the last weeks in it.
        zones: time zones of its locations, one each; counted where nothing was sold.
        now: when, for the zones' offsets.
    """
    if sum(sold.values()):
        hours, because = sold, "its fewest orders are then"
    else:
        hours = _awake(zones or ["UTC"], now)
        because = "its locations sleep then" if zones else "it has no locations yet"
    quietest = min(sum(hours.get((first + n) % 24, 0) for n in range(HOURS)) for first in range(24))
    starts = [h for h in range(24) if sum(hours.get((h + n) % 24, 0) for n in range(HOURS)) == quietest]
    start = _middle(starts)
    minute = (start * 60 + _spread(shard, HOURS * 60 // STEP) * STEP) % 1440
    return Quiet(minute, because)


def is_due(minute: int, now: datetime) -> bool:
    """Whether a shard's moment is in the step that `now` lies in."""
    return now.hour * 60 + now.minute - now.minute % STEP == minute


def _awake(zones: Sequence[str], now: datetime) -> Mapping[int, int]:
    """Hour of the UTC day → locations, weighted by how far their clocks are from the middle of the night."""
    hours = dict.fromkeys(range(24), 0)
    for zone in zones:
        offset = ZoneInfo(zone).utcoffset(now)
        assert offset is not None
        ahead = int(offset.total_seconds() // 3600)
        for hour in range(24):
            apart = (hour + ahead - _LOCAL) % 24
            hours[hour] += min(apart, 24 - apart)
    return hours


def _middle(starts: Sequence[int]) -> int:
    """The middle of the longest run of hours, over midnight too; of equal ones the first."""
    best = (0, 0)
    for first in starts:
        if (first - 1) % 24 in starts:
            continue
        length = next((n for n in range(24) if (first + n) % 24 not in starts), 24)
        best = max(best, (length, -first))
    length, first = best[0], -best[1]
    return (first + (length - 1) // 2) % 24


def _spread(shard: str, places: int) -> int:
    return int.from_bytes(hashlib.sha256(shard.encode()).digest()[:4]) % places
