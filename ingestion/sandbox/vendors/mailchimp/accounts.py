"""The accounts of the sandbox."""

from __future__ import annotations

from decimal import Decimal

from ingestion.sandbox.data import Trade
from ingestion.sandbox.vendors.mailchimp.mailings import Account

SUBJECTS = (
    ("Weekly menu", "What is new this week"),
    ("Loyalty", "A free one with your next order ☕"),
    ("Opening hours", "We open earlier"),
)
COFFEE_SUBJECTS = (
    ("Акції тижня", "Лате тижня за пів ціни ☕"),
    ("Loyalty", "Кожна шоста кава — від нас"),
)


def accounts(trade: Trade) -> tuple[Account, ...]:
    """All accounts."""
    jaffle_days = sorted({day for site in trade.jaffle_sites for day in site.orders})
    coffee_days = sorted({day for site in trade.coffee_sites for day in site.orders})
    return (
        Account(
            "8d3a21d26436f02d05b3a0f4e",
            "sandbox0mailchimp0jaffle0shop-us21",
            "Jaffle Shop",
            "America/New_York",
            "USD",
            Decimal("14.50"),
            1180,
            SUBJECTS,
            jaffle_days,
        ),
        Account(
            "c2f90b7d51e84a6c9d3370a1b",
            "sandbox0mailchimp0kavarnia-us14",
            "Kavarnia",
            "Europe/Kiev",  # as Mailchimp still spells it
            "UAH",
            Decimal("64.20"),
            240,
            COFFEE_SUBJECTS,
            coffee_days,
        ),
    )
