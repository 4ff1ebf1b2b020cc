"""Four weeks of trade at two made-up businesses, enough for a rota and an ad account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pytest

from ingestion.sandbox.data import Trade, load
from ingestion.sandbox.trade import Site, draw, site

FIRST = date(2024, 2, 26)
"""A Monday; the clocks go forward on 10 March."""


def trade(name: str, zone: str, hours: range, weekday: int, weekend: int, nights: bool = False) -> Site:
    """A site with `weekday` or `weekend` orders a day over `hours`, and one after midnight if it has `nights`."""
    taken = []
    for offset in range(28):
        day = FIRST + timedelta(days=offset)
        for n in range(weekend if day.weekday() >= 5 else weekday):
            hour = hours[int(draw(name, day, n) * len(hours))]
            taken.append(datetime(day.year, day.month, day.day, hour, n % 60))
        if nights:
            taken.append(datetime(day.year, day.month, day.day, 1, 15) + timedelta(days=1))
    return site(name, zone, taken)


@pytest.fixture(scope="session")
def jaffle_sites() -> Sequence[Site]:
    return (
        trade("Philadelphia", "America/New_York", range(7, 20), 200, 60),
        trade("Brooklyn", "America/New_York", range(7, 20), 150, 50, nights=True),
    )


@pytest.fixture(scope="session")
def pizza_sites() -> Sequence[Site]:
    return (trade("Chicago", "America/Chicago", range(11, 23), 60, 65),)


@pytest.fixture(scope="session")
def whole_trade() -> Trade:
    """The datasets, as the sandbox reads them."""
    return load()
