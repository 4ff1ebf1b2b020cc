"""The ads accounts of the sandbox: one under a manager account, one that its owner reaches directly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ingestion.sandbox.advertising import Account, Campaign, days_of_trade, weekday_factors
from ingestion.sandbox.data import Trade

JAFFLE_SHOP, KAVARNIA = "4561237890", "7894561230"
MANAGER = "1239874560"
DEVELOPER_TOKEN = "sandbox-google-ads-developer"
CLIENT_ID, CLIENT_SECRET = "sandbox-google-ads-client", "sandbox-google-ads-secret"


@dataclass(frozen=True)
class Login:
    """What a refresh token opens: an account, through a manager account or not."""

    account: Account
    refresh_token: str
    manager: str | None = None

    @property
    def access_token(self) -> str:
        """The access token that the refresh token is exchanged for."""
        return self.refresh_token.replace("refresh", "access")


def logins(trade: Trade) -> tuple[Login, ...]:
    """Both accounts."""
    first, last = days_of_trade(trade.jaffle_sites)
    jaffle = Account(
        JAFFLE_SHOP,
        "Jaffle Shop (synthetic)",
        "USD",
        "America/New_York",
        (
            Campaign("20100000001", "Search – Takeout", Decimal("43"), first, last, "ENABLED", "SEARCH"),
            Campaign("20100000002", "Brunch nearby", Decimal("21.50"), first, last, "ENABLED", "PERFORMANCE_MAX"),
            Campaign("20100000003", "Pancakes", Decimal("7.80"), first, first + timedelta(20), "REMOVED", "SEARCH"),
        ),
        weekday_factors(trade.jaffle_sites),
        Decimal("0.75"),
        Decimal(18),
    )
    first, last = days_of_trade(trade.coffee_sites)
    kavarnia = Account(
        KAVARNIA,
        "Kavarnia (synthetic)",
        "UAH",
        "Europe/Kyiv",
        (
            Campaign("20200000001", "Кава поруч", Decimal("310"), first, last, "ENABLED", "SEARCH"),
            Campaign("20200000002", "Ранкова кава", Decimal("145.50"), first, last, "PAUSED", "DISPLAY"),
            Campaign("20200000003", "Бренд", Decimal("62"), first, last, "ENABLED", "SEARCH"),
        ),
        weekday_factors(trade.coffee_sites),
        Decimal("6.20"),
        Decimal(95),
    )
    return (
        Login(jaffle, "sandbox-google-ads-refresh-jaffle-shop", MANAGER),
        Login(kavarnia, "sandbox-google-ads-refresh-kavarnia"),
    )
