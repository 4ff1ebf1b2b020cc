"""Payments, refunds and credits as Clover writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ingestion.sandbox.data import Order
from ingestion.sandbox.trade import between, draw
from ingestion.sandbox.vendors.clover.check import Check
from ingestion.sandbox.vendors.clover.orders import CURRENCY, DEVICE, SYNC, Known, employee_id
from ingestion.sandbox.vendors.clover.writing import cid, ms, ref

Tender = Literal["credit_card", "cash", "external_gift_card"]
LABELS: dict[Tender, str] = {"credit_card": "Credit Card", "cash": "Cash", "external_gift_card": "Gift Card"}
BY_CARD = frozenset({"tip", "tip_later", "refund_all", "declined", "void_payment"})
NOTE = 500
"""Cash is given in five-dollar notes."""


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment: `amount` without the tip, tax and charge inside."""

    id: str
    tender: Tender
    amount: int
    tax: int
    charge: int = 0
    tip: int = 0


def payments(order: Order, kind: str, check: Check) -> list[Paid]:
    """How an order is paid: by card or in cash; some half with a gift card. Nothing to pay, no payment."""
    if not check.total:
        return []
    key, due = cid("payment", order.id), check.total
    if kind == "gift_tender":
        half, tax = due // 2, check.tax // 2
        gift = Paid(cid("gift payment", order.id), "external_gift_card", half, tax)
        return [gift, Paid(key, "credit_card", due - half, check.tax - tax, check.charge, check.tip)]
    by_card = kind in BY_CARD or draw(order.id, "card") < 0.8
    return [Paid(key, "credit_card" if by_card else "cash", due, check.tax, check.charge, check.tip)]


def payment_record(
    known: Known, paid: Paid, taken: datetime, modified: datetime, result: str = "SUCCESS"
) -> dict[str, Any]:
    """A payment, whatever became of it."""
    record: dict[str, Any] = {
        "id": paid.id,
        "order": {"id": known.id},
        "device": DEVICE,
        "tender": {
            "id": cid("tender", paid.tender),
            "label": LABELS[paid.tender],
            "labelKey": f"com.clover.tender.{paid.tender}",
            "enabled": True,
            "visible": True,
        },
        "amount": paid.amount,
        "taxAmount": paid.tax,
        "employee": {"id": employee_id(known.order)},
        "createdTime": ms(taken + SYNC),
        "clientCreatedTime": ms(taken),
        "modifiedTime": ms(modified),
        "offline": False,
        "result": result,
    }
    if paid.tender == "credit_card":
        record["tipAmount"] = paid.tip
        record["cardTransaction"] = {
            "cardType": "VISA",
            "entryType": "EMV_CONTACT",
            "last4": "1111",
            "type": "AUTH",
            "state": "CLOSED" if result == "SUCCESS" else "DECLINED",
            "currency": CURRENCY,
        }
    elif paid.tender == "cash":
        record["cashTendered"] = -(-paid.amount // NOTE) * NOTE
    if paid.charge:
        record["serviceCharge"] = {**ref("service charge", known.story.kind == "gratuity"), "amount": paid.charge}
        record["serviceCharge"]["name"] = "Gratuity" if known.story.kind == "gratuity" else "Packing"
    if result == "VOIDED":
        record["voidReason"] = "USER_CANCEL"
    return record


def refund_record(known: Known, paid: Paid, at: datetime, status: str) -> dict[str, Any]:
    """Money given back on a payment: a line, an amount only, or everything with the tip."""
    first, kind = known.check.sold[0], known.story.kind
    record: dict[str, Any] = {
        "id": cid("refund", known.order.id),
        "orderRef": {"id": known.id},
        "device": DEVICE,
        "createdTime": ms(at + SYNC),
        "clientCreatedTime": ms(at),
        "payment": {"id": paid.id},
        "employee": {"id": employee_id(known.order)},
        "voided": False,
        "status": status,
    }
    match kind:
        case "refund_line":
            record |= {"amount": first.net + first.tax, "taxAmount": first.tax, "reason": "Returned goods"}
        case "refund_all":
            record |= {"amount": paid.amount + paid.tip, "taxAmount": paid.tax, "tipAmount": paid.tip}
        case _:
            record |= {"amount": max(100, paid.amount // 3), "reason": "Accidental charge"}
    if known.refunded:
        record["lineItems"] = {"elements": [{"id": line} for line in sorted(known.refunded)]}
    return record


def credit_record(order: Order, at: datetime, cents: int) -> dict[str, Any]:
    """A manual refund: money handed out that belongs to no payment."""
    return {
        "id": cid("credit", order.id),
        "orderRef": ref("manual refund", order.id),
        "device": DEVICE,
        "tender": {**ref("tender", "cash"), "label": "Cash", "labelKey": "com.clover.tender.cash"},
        "employee": {"id": employee_id(order)},
        "amount": cents,
        "taxAmount": 0,
        "createdTime": ms(at + SYNC),
        "clientCreatedTime": ms(at),
        "voided": False,
        "result": "SUCCESS",
    }


def handed_out(order: Order) -> int:
    """What a manual refund gives, in cents."""
    return 100 * between(1, 8, order.id, "credit")
