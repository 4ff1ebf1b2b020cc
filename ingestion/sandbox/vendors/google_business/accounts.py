"""The accounts of the sandbox and their locations on Google, whose names are not those of any till."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ingestion.sandbox.data import COFFEE_SITE, Trade
from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.google_business.api import Account, Location
from ingestion.sandbox.vendors.google_business.reviews import reviews

JAFFLE_SHOP, KAVARNIA = "104500010001", "104500010003"
PLACES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "Philadelphia": (
        "5550010011",
        "Jaffle Shop – Center City",
        {"regionCode": "US", "administrativeArea": "PA", "locality": "Philadelphia", "postalCode": "19103"},
    ),
    "Brooklyn": (
        "5550010012",
        "Jaffle Shop – Williamsburg",
        {"regionCode": "US", "administrativeArea": "NY", "locality": "Brooklyn", "postalCode": "11211"},
    ),
    COFFEE_SITE: (
        "5550010031",
        "Кав'ярня на Подолі",
        {"regionCode": "UA", "locality": "Київ", "postalCode": "04070"},
    ),
}
"""Number, title and address of each site on Google."""


def accounts(trade: Trade) -> tuple[Account, ...]:
    """All accounts."""
    return (
        _account(JAFFLE_SHOP, "jaffle-shop", trade.jaffle_sites),
        _account(KAVARNIA, "kavarnia", trade.coffee_sites),
    )


def _account(number: str, name: str, sites: Sequence[Site]) -> Account:
    return Account(
        number,
        f"sandbox-{name}.apps.googleusercontent.com",
        f"GOCSPX-sandbox-{name}",
        f"1//sandbox-google-{name}",
        tuple(_location(number, site) for site in sites),
    )


def _location(account: str, site: Site) -> Location:
    number, title, address = PLACES[site.name]
    record = {
        "name": f"locations/{number}",
        "title": title,
        "storeCode": f"synthetic-{site.name.lower()}",
        "storefrontAddress": {**address, "languageCode": "en", "addressLines": [f"1 {site.name} Street"]},
        "openInfo": {"status": "OPEN", "canReopen": True},
        "metadata": {"canOperateHealthData": False, "hasVoiceOfMerchant": True},
    }
    return Location(number, record, reviews(site, f"accounts/{account}/locations/{number}"))
