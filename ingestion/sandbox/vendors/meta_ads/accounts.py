"""The two ad accounts of the sandbox. A campaign's name hints at a site; only a map may say which one it is for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from ingestion.sandbox.advertising import days_of_trade, weekday_factors
from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.meta_ads.spend import Account, Campaign

JAFFLE_SHOP, PIZZA_PLACE = "1002003004005", "1002003004006"
TOKENS = {JAFFLE_SHOP: "sandbox-meta-ads-jaffle-shop", PIZZA_PLACE: "sandbox-meta-ads-pizza-place"}
LEAD_TIME = timedelta(days=5)
"""An opening is advertised this long before."""


def accounts(jaffle_shop: Sequence[Site], pizza_place: Sequence[Site]) -> dict[str, Account]:
    """Both accounts by number, from the trade of their sites. Spend goes with the weekday."""
    first, last = days_of_trade(jaffle_shop)
    opening = max(first, days_of_trade([s for s in jaffle_shop if s.name == "Brooklyn"])[0] - LEAD_TIME)
    jaffle = Account(
        JAFFLE_SHOP,
        TOKENS[JAFFLE_SHOP],
        "Jaffle Shop (synthetic)",
        "USD",
        "America/New_York",
        (
            _campaign(JAFFLE_SHOP, 101, "Breakfast – Philadelphia", "38.50", first, last),
            _campaign(JAFFLE_SHOP, 102, "Opening – Brooklyn", "46", opening, last),
            _campaign(JAFFLE_SHOP, 103, "Brand – always on", "12.40", first, last, objective="OUTCOME_AWARENESS"),
            _campaign(JAFFLE_SHOP, 104, "Pancake week", "6.20", first, first + timedelta(days=20), listed=False),
        ),
        weekday_factors(jaffle_shop),
    )
    first, last = days_of_trade(pizza_place)
    summer = first + timedelta(days=90)
    pizza = Account(
        PIZZA_PLACE,
        TOKENS[PIZZA_PLACE],
        "Pizza Place (synthetic)",
        "USD",
        pizza_place[0].timezone,
        (
            _campaign(PIZZA_PLACE, 201, "Slice night", "52", first, last),
            _campaign(PIZZA_PLACE, 202, "Family box – delivery radius", "31.75", first, last),
            _campaign(PIZZA_PLACE, 203, "Brand – always on", "14", first, last, objective="OUTCOME_AWARENESS"),
            _campaign(PIZZA_PLACE, 204, "Summer patio", "9.90", summer, summer + timedelta(days=80), status="PAUSED"),
        ),
        weekday_factors(pizza_place),
    )
    return {account.number: account for account in (jaffle, pizza)}


def _campaign(
    account: str,
    number: int,
    name: str,
    daily: str,
    first: date,
    last: date,
    *,
    status: str = "ACTIVE",
    objective: str = "OUTCOME_TRAFFIC",
    listed: bool = True,
) -> Campaign:
    return Campaign(
        f"23851234567890{number}" if account == JAFFLE_SHOP else f"23859876543210{number}",
        name,
        Decimal(daily),
        first,
        last,
        status,
        objective,
        listed,
    )
