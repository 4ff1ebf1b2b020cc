"""The ad accounts (advertisers) of the sandbox."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from ingestion.sandbox.advertising import Account, Campaign, days_of_trade, weekday_factors
from ingestion.sandbox.data import Trade

JAFFLE_SHOP, PIZZA_PLACE = "7002238017842757001", "7002238017842757002"
TOKENS = {JAFFLE_SHOP: "sandbox-tiktok-ads-jaffle-shop", PIZZA_PLACE: "sandbox-tiktok-ads-pizza-place"}
DELETED = "DELETE"
"""Of a campaign: TikTok has it in its secondary status alone."""


def accounts(trade: Trade) -> dict[str, Account]:
    """Both accounts by number."""
    first, last = days_of_trade(trade.jaffle_sites)
    jaffle = Account(
        JAFFLE_SHOP,
        "Jaffle Shop (synthetic)",
        "USD",
        "America/New_York",
        (
            Campaign("1714073078660001", "Jaffles in 15 seconds", Decimal("28"), first, last, "ENABLE", "TRAFFIC"),
            Campaign("1714073078660002", "Chai season", Decimal("16.40"), first, last, "DISABLE", "WEB_CONVERSIONS"),
            Campaign("1714073078660003", "Opening", Decimal("19"), first, first + timedelta(15), DELETED, "REACH"),
        ),
        weekday_factors(trade.jaffle_sites),
        Decimal("0.35"),
        Decimal(14),
    )
    first, last = days_of_trade(trade.pizza_sites)
    pizza = Account(
        PIZZA_PLACE,
        "Pizza Place (synthetic)",
        "USD",
        "America/Chicago",
        (
            Campaign("1714073078670001", "Cheese pull", Decimal("36"), first, last, "ENABLE", "TRAFFIC"),
            Campaign("1714073078670002", "Late slices", Decimal("12.75"), first, last, "ENABLE", "WEB_CONVERSIONS"),
        ),
        weekday_factors(trade.pizza_sites),
        Decimal("0.40"),
        Decimal(27),
    )
    return {account.number: account for account in (jaffle, pizza)}
