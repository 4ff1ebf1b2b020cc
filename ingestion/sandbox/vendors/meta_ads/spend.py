"""What a campaign spent and brought on a day, as reported at a given time: it follows the weekday, and it is restated.

A day is first reported too high for one of the account's campaigns: clicks found invalid are credited on the fourth day
(spend, clicks and impressions fall). Purchases attributed late add to `actions` for 28 days. Every ninth day the
smallest campaign is credited in full, and its row disappears.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.sandbox.trade import draw

CREDITED_AFTER = 3
"""Days after which invalid clicks are credited."""
CENT = Decimal("0.01")
ATTRIBUTION = (1, 2, 4, 7, 14, 28)
"""Days after which a purchase may still be found to stem from an ad."""


@dataclass(frozen=True)
class Campaign:
    """A campaign. `daily` is its mean spend; `listed` is false for a deleted one, whose spend stays."""

    number: str
    name: str
    daily: Decimal
    first: date
    last: date
    status: str = "ACTIVE"
    objective: str = "OUTCOME_TRAFFIC"
    listed: bool = True


@dataclass(frozen=True)
class Account:
    """An ad account, its campaigns, and how busy each weekday is (1 is the mean)."""

    number: str
    token: str
    name: str
    currency: str
    timezone: str
    campaigns: Sequence[Campaign]
    weekdays: Sequence[Decimal]

    def today(self, now: datetime) -> date:
        """The account's date at `now`."""
        return now.astimezone(ZoneInfo(self.timezone)).date()


def row(account: Account, campaign: Campaign, day: date, now: datetime) -> Mapping[str, Any] | None:
    """Insights of one campaign on one day as reported at `now`; None where nothing was delivered (any more)."""
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
    final = campaign.daily * account.weekdays[day.weekday()] * _factor(Decimal("0.8"), Decimal("0.4"), "spend", *key)
    volume = final
    if draw("uncharged", *key) < 0.02 and not over_reported:
        final = Decimal(0)
    if over_reported and age < CREDITED_AFTER:
        over = _factor(Decimal("1.04"), Decimal("0.08"), "invalid", *key)
        final, volume = final * over, volume * over
    if age == 0:
        so_far = Decimal(local.hour) / 24
        final, volume = final * so_far, volume * so_far
    impressions = int(volume * 80 * _factor(Decimal("0.9"), Decimal("0.2"), "impressions", *key))
    if not impressions:
        return None
    clicks = int(impressions * _factor(Decimal("0.02"), Decimal("0.02"), "clicks", *key))
    found: dict[str, Any] = {
        "account_id": account.number,
        "account_name": account.name,
        "account_currency": account.currency,
        "campaign_id": campaign.number,
        "campaign_name": campaign.name,
        "date_start": day.isoformat(),
        "date_stop": day.isoformat(),
        "impressions": str(impressions),
        "clicks": str(clicks),
        "reach": str(impressions * 86 // 100),
        "spend": text(final),
    }
    return found | _actions(clicks, age, key)


def _factor(least: Decimal, spread: Decimal, *key: object) -> Decimal:
    return least + spread * Decimal(str(round(draw(*key), 6)))


def _actions(clicks: int, age: int, key: tuple[object, ...]) -> dict[str, Any]:
    """Actions and their values; neither is there when there were none, as the API has it."""
    link_clicks = clicks * 95 // 100
    bought_same_day = int(clicks * _factor(Decimal(0), Decimal("0.06"), "purchases", *key))
    purchases = bought_same_day + sum(1 for days in ATTRIBUTION if days <= age and draw("late", days, *key) < 0.35)
    actions = [{"action_type": "link_click", "value": str(link_clicks)}] if link_clicks else []
    if not purchases:
        return {"actions": actions} if actions else {}
    worth = sum(
        (_factor(Decimal(12), Decimal(20), "worth", n, *key).quantize(CENT) for n in range(purchases)), Decimal(0)
    )
    actions.append({"action_type": "purchase", "value": str(purchases)})
    return {"actions": actions, "action_values": [{"action_type": "purchase", "value": text(worth)}]}


def text(amount: Decimal) -> str:
    """An amount as Meta writes it: a string with at most two decimals and no trailing zeros."""
    plain = f"{amount.quantize(CENT, ROUND_HALF_UP):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def rows(account: Account, since: date, until: date, now: datetime) -> list[Mapping[str, Any]]:
    """All rows of the account from `since` to `until`, both included, by day and campaign, as reported at `now`."""
    found = []
    for offset in range((min(until, account.today(now)) - since).days + 1):
        day = since + timedelta(days=offset)
        for campaign in account.campaigns:
            insight = row(account, campaign, day, now)
            if insight is not None:
                found.append(insight)
    return found
