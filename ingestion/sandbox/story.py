"""What happens to orders besides being eaten: to most nothing, to a few something, and for some of it every day.

The stories are drawn from the orders' ids. From the day before a new sandbox's clock stands, some are told at least
once a day besides, and go on at the next day's opening hours: whoever lets a day pass sees each of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ingestion.sandbox.data import OPENS_AT, Order
from ingestion.sandbox.trade import between, draw

PLAIN = "plain"
TOLD_DAILY_FROM = OPENS_AT.date() - timedelta(days=1)
NIGHT = timedelta(hours=4)
"""What is sold before four belongs to the evening before."""


@dataclass(frozen=True, slots=True)
class Story:
    """What happens to one order; `next_day` where it happens at the next day's opening hours, whatever is usual."""

    kind: str = PLAIN
    next_day: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the order stays as it was in the dataset."""
        return self.kind == PLAIN


def tell(
    orders: Iterable[Order],
    vendor: str,
    shares: Mapping[str, int],
    daily: Sequence[Sequence[str]] = (),
    two_lines: frozenset[str] = frozenset(),
    fewest_lines: int = 2,
) -> dict[str, Story]:
    """The story of every order that has one, by order id.

    Args:
        orders: of one till or several.
        vendor: keys the draw.
        shares: orders in a thousand by kind of story.
        daily: for each of these, one order a day; where it lists several kinds, they take turns.
        two_lines: kinds that need an order of two lines or more.
        fewest_lines: of an order that a daily story is told of.
    """
    told: dict[str, Story] = {}
    days: dict[date, list[Order]] = defaultdict(list)
    for order in orders:
        if not order.lines:
            continue
        day = (order.at - NIGHT).date()
        if daily and day >= TOLD_DAILY_FROM and len(order.lines) >= fewest_lines:
            days[day].append(order)
        kind = _drawn(draw(vendor, order.id) * 1000, shares)
        if kind and (kind not in two_lines or len(order.lines) > 1):
            told[order.id] = Story(kind)
    for day, candidates in days.items():
        candidates.sort(key=lambda o: draw("daily", vendor, o.id))
        for kinds, order in zip(daily, candidates, strict=False):
            told[order.id] = Story(kinds[day.toordinal() % len(kinds)], next_day=True)
    return told


def in_the_morning(order: Order) -> datetime:
    """An instant in the opening hours of the day after an order, 9:00 to 17:00 on the wall clock."""
    day = (order.at - NIGHT).date() + timedelta(days=1)
    local = datetime(day.year, day.month, day.day, 9, tzinfo=ZoneInfo(order.zone))
    return (local + timedelta(minutes=between(0, 480, order.id, "next day"))).astimezone(UTC)


def _drawn(point: float, shares: Mapping[str, int]) -> str | None:
    for kind, share in shares.items():
        point -= share
        if point < 0:
            return kind
    return None
