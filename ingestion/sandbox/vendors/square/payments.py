"""Payments and refunds as Square's payments API answers them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from ingestion.sandbox.money import half_up
from ingestion.sandbox.vendors.square.cashiers import cashier_of, lead_of
from ingestion.sandbox.vendors.square.orders import Known, location_id, money, stamp
from ingestion.sandbox.vendors.square.sale import Paid, token

FEE, FEE_FIXED = Decimal("0.026"), 10
NOTE = 500
"""Cash is given in five-dollar notes."""


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A refund: what the sale's payment says of it afterwards."""

    id: str
    at: datetime
    cents: int


def payment_record(known: Known, paid: Paid, back: GivenBack | None = None) -> dict[str, Any]:
    """A completed payment, the tip beside the amount; after a refund it says so."""
    assert known.closed is not None
    total = paid.amount + paid.tip
    record = _base(known, paid, "COMPLETED", known.closed, back.at if back else known.updated)
    if paid.tip:
        record["tip_money"] = money(paid.tip)
    if paid.tender == "CASH":
        given = -(-total // NOTE) * NOTE
        record["cash_details"] = {"buyer_supplied_money": money(given), "change_back_money": money(given - total)}
    else:
        brand = "VISA" if paid.tender == "CARD" else paid.tender
        record["card_details"] = {"status": "CAPTURED", "card": {"card_brand": brand, "last_4": "1111"}}
    if paid.tender == "CARD":
        record["processing_fee"] = [
            {
                "effective_at": stamp(known.closed + timedelta(hours=2)),
                "type": "INITIAL",
                "amount_money": money(half_up(total * FEE) + FEE_FIXED),
            }
        ]
    if back:
        record |= {"refund_ids": [back.id], "refunded_money": money(back.cents)}
    return record


def declined_record(known: Known, paid: Paid) -> dict[str, Any]:
    """A card that was refused before another one was taken."""
    assert known.closed is not None
    at = known.closed - timedelta(seconds=10)
    refused = Paid(token("declined payment", known.order.id), "CARD", paid.amount)
    details = {"status": "FAILED", "card": {"card_brand": "VISA", "last_4": "0002"}}
    return {**_base(known, refused, "FAILED", at, at), "card_details": details}


def refund_record(known: Known, paid: Paid, at: datetime, reason: str) -> dict[str, Any]:
    """A refund without amount, status and update: those come in time."""
    return {
        "id": f"{paid.id}_{token('refund', known.order.id)}",
        "payment_id": paid.id,
        "order_id": token("return", known.order.id),
        "location_id": location_id(known.order.site),
        "created_at": stamp(at),
        "reason": reason,
        "team_member_id": lead_of(known.order),
        "destination_type": "CASH" if paid.tender == "CASH" else "CARD",
    }


def _base(
    known: Known, paid: Paid, status: Literal["COMPLETED", "FAILED"], created: datetime, updated: datetime
) -> dict[str, Any]:
    total = paid.amount + paid.tip
    return {
        "id": paid.id,
        "created_at": stamp(created),
        "updated_at": stamp(updated),
        "amount_money": money(paid.amount),
        "total_money": money(total),
        "approved_money": money(total if status == "COMPLETED" else 0),
        "status": status,
        "source_type": "CASH" if paid.tender == "CASH" else "CARD",
        "location_id": location_id(known.order.site),
        "order_id": known.id,
        "team_member_id": cashier_of(known.order),
        "receipt_number": paid.id[:4],
    }
