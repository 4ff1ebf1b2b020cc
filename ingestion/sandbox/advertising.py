"""Advertising derived from trade: what a campaign spent and brought on a day, as an ad account reports it at some time.

Spend follows the weekday, and it is restated. A day is first reported too high for one of the account's campaigns:
clicks found invalid are credited on the fourth day (spend, clicks and impressions fall). Purchases are found to stem
from an ad for weeks after the click, and count on its day. Every ninth day the smallest campaign is credited in full:
nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ingestion.sandbox.trade import Site, draw

CREDITED_AFTER = 3
"""Days after which invalid clicks are credited."""
CENT = Decimal("0.01")
MICRO = Decimal("0.000001")
LATE = (1, 2, 4, 7, 14, 21, 28, 33)
"""Days after which a purchase may still be found to stem from an ad."""


@dataclass(frozen=True)
class Campaign:
    """A campaign. `daily` is its mean spend in the account's currency; `state` and `aim` are in the vendor's words."""

    number: str
    name: str
    daily: Decimal
    first: date
    last: date
    state: str
    aim: str


@dataclass(frozen=True)
class Account:
    """An ad account and its campaigns. `weekdays`: how busy each is, 1 being the mean; `click` and `basket`: what a
    click costs and a purchase is worth."""

    number: str
    name: str
    currency: str
    timezone: str
    campaigns: Sequence[Campaign]
    weekdays: Sequence[Decimal]
    click: Decimal
    basket: Decimal

    def today(self, now: datetime) -> date:
        """The account's date at `now`."""
        return now.astimezone(ZoneInfo(self.timezone)).date()


@dataclass(frozen=True)
class Delivery:
    """One campaign on one day. `purchases` are the shares that it has in purchases, with their worth: 1, or less where
    other clicks share one; `calls` are the other things it led to."""

    campaign: Campaign
    day: date
    spend: Decimal
    impressions: int
    clicks: int
    purchases: tuple[tuple[Decimal, Decimal], ...]
    calls: int


def weekday_factors(sites: Sequence[Site]) -> tuple[Decimal, ...]:
    """Mean orders of each weekday over the mean of all days, to two decimals; 1 where there was no trade."""
    days = sorted({day for site in sites for day in site.orders})
    totals = {day: sum(site.count(day) for site in sites) for day in days}
    mean = Decimal(sum(totals.values())) / max(1, len(days))
    factors = []
    for weekday in range(7):
        counts = [count for day, count in totals.items() if day.weekday() == weekday]
        own = Decimal(sum(counts)) / len(counts) if counts else mean
        factors.append((own / mean).quantize(CENT) if mean else Decimal(1))
    return tuple(factors)


def days_of_trade(sites: Sequence[Site]) -> tuple[date, date]:
    """The first and the last day with an order."""
    days = sorted(day for site in sites for day in site.orders)
    return days[0], days[-1]


def deliveries(account: Account, since: date, until: date, now: datetime, latest: int) -> Iterator[Delivery]:
    """What was delivered from `since` to `until`, both included, by day and campaign, as reported at `now`.

    `latest`: days after which the vendor no longer finds purchases.
    """
    for offset in range((min(until, account.today(now)) - since).days + 1):
        for campaign in account.campaigns:
            found = _delivery(account, campaign, since + timedelta(days=offset), now, latest)
            if found is not None:
                yield found


def _delivery(account: Account, campaign: Campaign, day: date, now: datetime, latest: int) -> Delivery | None:
    local = now.astimezone(ZoneInfo(account.timezone))
    age = (local.date() - day).days
    if age < 0 or not campaign.first <= day <= campaign.last:
        return None
    key = (account.number, campaign.number, day)
    running = [c for c in account.campaigns if c.first <= day <= c.last]
    over_reported = running[day.toordinal() % len(running)] is campaign
    smallest = min(account.campaigns, key=lambda c: c.daily)
    if campaign is smallest and day.toordinal() % 9 == 0 and age >= CREDITED_AFTER:
        return None
    spend = campaign.daily * account.weekdays[day.weekday()] * _factor(Decimal("0.8"), Decimal("0.4"), "spend", *key)
    if over_reported and age < CREDITED_AFTER:
        spend *= _factor(Decimal("1.04"), Decimal("0.08"), "invalid", *key)
    if age == 0:
        spend = spend * local.hour / 24
    clicks = int(spend / account.click)
    impressions = int(clicks / _factor(Decimal("0.02"), Decimal("0.02"), "rate", *key))
    if not impressions:
        return None
    bought = int(clicks * _factor(Decimal(0), Decimal("0.06"), "purchases", *key))
    bought += sum(1 for days in LATE if days <= min(age, latest) and draw("late", days, *key) < 0.35)
    purchases = tuple(
        (
            (Decimal(1), Decimal(1), Decimal("0.5"), Decimal("0.333333"))[int(draw("share", n, *key) * 4)],
            (account.basket * _factor(Decimal("0.6"), Decimal(1), "worth", n, *key)).quantize(CENT),
        )
        for n in range(bought)
    )
    return Delivery(campaign, day, spend.quantize(MICRO), impressions, clicks, purchases, clicks // 40)


def _factor(least: Decimal, spread: Decimal, *key: object) -> Decimal:
    return least + spread * Decimal(str(round(draw(*key), 6)))
