"""Generated orders in a till vendor's shape, some 2.7 KB each, the same ones for every run."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ingestion.blocks import BlockStore, HttpEvidence, Manifest, Window

INTEGRATION, STREAM = "square", "orders"
_START = datetime(2025, 1, 1, 8, tzinfo=UTC)
_ITEMS = [
    "nutellaphone who dis?",
    "the krautback",
    "mel-bun",
    "for richer or pourover",
    "vanilla ice",
    "chai and mighty",
]


def records(count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` orders as JSON lines without line ends."""
    draw = random.Random(seed)
    for number in range(count):
        yield encoded(_order(number, draw))


def encoded(record: dict[str, Any]) -> bytes:
    """A record as a line of JSON, without its end."""
    return json.dumps(record, separators=(",", ":")).encode()


def money(cents: int) -> dict[str, Any]:
    return {"amount": cents, "currency": "USD"}


def _order(number: int, draw: random.Random) -> dict[str, Any]:
    at = (_START + timedelta(seconds=37 * number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    lines = [line(number, place, draw) for place in range(draw.choice((1, 1, 2, 2, 2)))]
    net = sum(one["gross_sales_money"]["amount"] for one in lines)
    tax = sum(one["total_tax_money"]["amount"] for one in lines)
    order_id = f"{draw.getrandbits(96):024x}"
    amounts = {
        "total_money": money(net + tax),
        "tax_money": money(tax),
        "discount_money": money(0),
        "tip_money": money(0),
        "service_charge_money": money(0),
    }
    return {
        "id": order_id,
        "location_id": f"L{number % 4}BROOKLYN00",
        "line_items": lines,
        "taxes": [
            {
                "uid": f"{draw.getrandbits(64):016x}", "catalog_object_id": "TAX8875", "name": "Sales Tax",
                "percentage": "8.875", "type": "ADDITIVE", "applied_money": money(tax), "scope": "ORDER",
            }
        ],
        "created_at": at,
        "updated_at": at,
        "closed_at": at,
        "state": "COMPLETED",
        "version": 4,
        **{f"total_{name}": amounts[name] for name in ("tax_money", "discount_money", "tip_money")},
        "total_money": amounts["total_money"],
        "total_service_charge_money": money(0),
        "tenders": [
            {
                "id": f"{draw.getrandbits(96):024x}", "location_id": f"L{number % 4}BROOKLYN00",
                "transaction_id": order_id, "created_at": at, "amount_money": money(net + tax), "type": "CARD",
                "card_details": {
                    "status": "CAPTURED", "entry_method": "EMV",
                    "card": {"card_brand": "VISA", "last_4": f"{draw.randrange(10000):04d}", "bin": "453275"},
                },
                "payment_id": f"{draw.getrandbits(96):024x}",
            }
        ],
        "net_amounts": amounts,
        "source": {"name": "Register"},
        "ticket_name": f"Table {number % 40}",
    }  # fmt: skip


def line(number: int, place: int, draw: random.Random) -> dict[str, Any]:
    price = draw.choice((600, 700, 1100, 1200, 1400))
    tax = round(price * 8875 / 100_000)
    return {
        "uid": f"{draw.getrandbits(64):016x}",
        "catalog_object_id": f"ITEM{draw.randrange(40):020d}",
        "catalog_version": 1735718400000,
        "quantity": "1",
        "name": draw.choice(_ITEMS),
        "variation_name": "Regular",
        "item_type": "ITEM",
        "modifiers": [
            {
                "uid": f"{number:08d}{place:04d}", "catalog_object_id": "MOD000000000000000000001", "name": "Oat milk",
                "quantity": "1", "base_price_money": money(0), "total_price_money": money(0),
            }
        ],
        "applied_taxes": [
            {"uid": f"{draw.getrandbits(64):016x}", "tax_uid": "sales-tax", "applied_money": money(tax)}
        ],
        "base_price_money": money(price),
        "variation_total_price_money": money(price),
        "gross_sales_money": money(price),
        "total_tax_money": money(tax),
        "total_discount_money": money(0),
        "total_money": money(price + tax),
        "total_service_charge_money": money(0),
    }  # fmt: skip


def write_block(
    store: BlockStore, source_id: int, lines: list[bytes], observed_at: datetime | None = None, stream: str = STREAM
) -> Manifest:
    """Write records as one committed block of the source."""
    with store.writer(source_id >> 45 & 0x7FFFF, source_id, stream) as writer:
        for line in lines:
            writer.write(line)
    manifest = writer.manifest(
        integration=INTEGRATION,
        integration_version="bench",
        window=Window(),
        cursor_before=None,
        cursor_after={},
        observed_at=observed_at or datetime(2025, 3, 1, tzinfo=UTC),
        http=HttpEvidence(),
        created_by="bench",
    )
    writer.commit(manifest)
    return manifest
