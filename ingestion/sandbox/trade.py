"""How busy a site was, hour by hour: what a rota and an ad account are derived from.

The sandbox's staff and advertising are synthetic, but they follow the orders of the datasets: more hands when more is
sold. Everything drawn at random comes from `draw`, so every start of the sandbox tells the same story.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from zoneinfo import ZoneInfo

DAY_BEGINS = timedelta(hours=5)
"""Trade in the small hours belongs to the evening before."""
HOURS = 29
"""Hours of a trading day, counted from its midnight: the last five are after the next one."""
EVENING = 20


def draw(*key: object) -> float:
    """A number in [0, 1) that depends on `key` alone."""
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def between(low: int, high: int, *key: object) -> int:
    """A whole number from `low` to `high`, both included, that depends on `key` alone."""
    return low + int(draw(*key) * (high - low + 1))


@dataclass(frozen=True)
class Site:
    """Orders taken at one site. `orders[day][hour]` on the local wall clock; hours after midnight go on from 24."""

    name: str
    timezone: str
    orders: Mapping[date, tuple[int, ...]]

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def hours(self) -> tuple[int, int]:
        """Opening and closing hour: between them fall all but odd orders (hours of at least 1 %, late ones of 3 %)."""
        by_hour = [sum(day[hour] for day in self.orders.values()) for hour in range(HOURS)]
        total = sum(by_hour)
        busy = [hour for hour, n in enumerate(by_hour) if n * 100 >= total * (1 if hour < EVENING else 3) and n]
        return (busy[0], busy[-1] + 1) if busy else (9, 17)

    def count(self, day: date, start: int = 0, end: int = HOURS) -> int:
        """Orders of a day from hour `start` until before hour `end`."""
        return sum(self.orders.get(day, (0,) * HOURS)[start:end])


def site(name: str, timezone: str, taken_at: Iterable[datetime]) -> Site:
    """A site from the local times of its orders."""
    counts: dict[date, list[int]] = {}
    for at in taken_at:
        day = (at - DAY_BEGINS).date()
        counts.setdefault(day, [0] * HOURS)[at.hour + 24 * (at.date() - day).days] += 1
    return Site(name, timezone, {day: tuple(hours) for day, hours in sorted(counts.items())})


def local(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """The instant `minutes` of wall clock after local midnight of `day`; may lie on the next day."""
    return datetime.combine(day, datetime.min.time(), zone) + timedelta(minutes=minutes)
