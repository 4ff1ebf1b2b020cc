"""How busy the coffee place is: synthetic, more before work and at noon, less at the weekend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from ingestion.sandbox.data import CLOSES_ON, Trade
from ingestion.sandbox.trade import Site, between, draw, site

SITE, ZONE = "Kyiv", "Europe/Kyiv"
OPENED = date(2024, 2, 26)
HOURS = (8, 8, 9, 9, 10, 11, 12, 12, 13, 14, 15, 16, 17, 18, 19)


def coffee_site(_trade: Trade) -> Site:
    """The coffee place, as a rota sees it."""
    return site(SITE, ZONE, _cups())


def _cups() -> Iterator[datetime]:
    day = OPENED
    while day <= CLOSES_ON:
        for n in range(between(50, 90, "cups", day) if day.weekday() < 5 else between(25, 45, "cups", day)):
            hour = HOURS[int(draw("cup", day, n) * len(HOURS))]
            yield datetime(day.year, day.month, day.day, hour, n % 60)
        day += timedelta(days=1)
