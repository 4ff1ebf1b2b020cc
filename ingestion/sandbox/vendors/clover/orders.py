"""Orders and what was taken off them, as Clover writes them; everything that can be expanded is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ingestion.sandbox.data import Order
from ingestion.sandbox.story import Story
from ingestion.sandbox.trade import between
from ingestion.sandbox.vendors.clover.check import (
    BIRTHDAY,
    COUPON,
    GIFT_CARD,
    GRATUITY,
    MODIFICATION,
    NEIGHBOURS,
    PACKING,
    Check,
    Rung,
)
from ingestion.sandbox.vendors.clover.writing import MERCHANT, cid, ms, ref

CURRENCY = "USD"
HREF = f"https://api.clover.com/v3/merchants/{MERCHANT}"
DEVICE = {"id": "0f011c55-ad89-9be3-a60d-073d7aca0ce4"}
STAFF = 6
SYNC = timedelta(seconds=1)
"""What is rung up on a device is on the server so much later."""
ORDER_TYPES = (("Dine In", "DINE-IN-TYPE"), ("Take Out", "TAKE-OUT-TYPE"), ("Sandbox Counter", None))


@dataclass(frozen=True, slots=True)
class Known:
    """An order at one point of its life. `refunded` are ids of lines that came back."""

    order: Order
    story: Story
    rate: Decimal
    modified: datetime
    check: Check
    payment_state: str = "OPEN"
    refunded: frozenset[str] = frozenset()
    deleted: bool = False

    @property
    def id(self) -> str:
        """Clover's id of the order."""
        return cid("order", self.order.id)


def employee_id(order: Order) -> str:
    """Who took an order."""
    return cid("employee", between(1, STAFF, order.id, "employee"))


def lines_of(known: Known) -> list[dict[str, Any]]:
    """All line items of an order."""
    written = [line_item(known, rung) for rung in known.check.rung]
    return [*written, _gift_card(known)] if known.check.gift_card else written


def order_record(known: Known) -> dict[str, Any]:
    """An order."""
    order, paid = known.order, known.payment_state != "OPEN"
    label, system = ORDER_TYPES[between(0, len(ORDER_TYPES) - 1, order.id, "type")]
    record: dict[str, Any] = {
        "href": f"{HREF}/orders/{known.id}",
        "id": known.id,
        "currency": CURRENCY,
        "employee": {"id": employee_id(order)},
        "total": known.check.total,
        "paymentState": known.payment_state,
        "title": str(between(1, 99, order.id, "title")),
        "orderType": {"id": cid("order type", label), "label": label, "taxable": True, "isHidden": False},
        "taxRemoved": False,
        "isVat": False,
        "state": "locked" if paid else "open",
        "manualTransaction": False,
        "groupLineItems": True,
        "testMode": False,
        "createdTime": ms(order.instant + SYNC),
        "clientCreatedTime": ms(order.instant),
        "modifiedTime": ms(known.modified),
        "device": DEVICE,
    }
    if system:
        record["orderType"]["systemOrderTypeId"] = system
    if paid:
        record["payType"] = "SPLIT_CUSTOM" if known.story.kind == "gift_tender" else "FULL"
    if not known.story.is_plain:
        record["externalReferenceId"] = f"synthetic-{known.story.kind}-{order.id}"
    if known.deleted:
        record["deletedTimestamp"] = ms(known.modified)
    if known.check.charge:
        gratuity = known.story.kind == "gratuity"
        record["serviceCharge"] = {
            "id": cid("service charge", gratuity),
            "name": "Gratuity" if gratuity else "Packing",
            "enabled": True,
            "percentageDecimal": int((GRATUITY if gratuity else PACKING) * 1_000_000),
            "isAutoApplied": gratuity,
        }
    if known.check.order_discount:
        record["discounts"] = _elements([_order_discount(known)])
    if lines := lines_of(known):
        record["lineItems"] = _elements(lines)
    return record


def line_item(known: Known, rung: Rung) -> dict[str, Any]:
    """A line: one article."""
    order, line = known.order, rung.line
    item_id = cid("line", line.id)
    item: dict[str, Any] = {
        "id": item_id,
        "orderRef": {"id": known.id},
        "item": ref("item", line.product.sku),
        "name": line.product.name,
        "price": line.product.price,
        "itemCode": "",
        "printed": True,
        "createdTime": ms(order.instant + SYNC),
        "orderClientCreatedTime": ms(order.instant),
        "exchanged": rung.exchanged,
        "refunded": item_id in known.refunded,
        "isRevenue": True,
        "taxRates": _elements(
            [
                {
                    "id": cid("tax rate", order.site),
                    "lineItemRef": {"id": item_id},
                    "name": "Sales tax",
                    "rate": int(known.rate * 10_000_000),
                    "isDefault": True,
                }
            ]
        ),
    }
    if rung.replaces:
        item["exchangedLineItem"] = ref("line", rung.replaces)
    if rung.modification:
        item["modifications"] = _elements(
            [
                {
                    "id": cid("modification", line.id),
                    "lineItemRef": {"id": item_id},
                    "name": MODIFICATION[0],
                    "amount": rung.modification,
                    "modifier": ref("modifier", MODIFICATION[0]),
                }
            ]
        )
    if rung.own_discount:
        item["discounts"] = _elements(
            [
                {
                    "id": cid("line discount", line.id),
                    "lineItemRef": {"id": item_id},
                    "discount": ref("discount", "birthday"),
                    "approver": {"id": cid("employee", 1)},
                    "name": "Birthday",
                    "percentage": int(BIRTHDAY * 100),
                }
            ]
        )
    return item


def voided_record(known: Known, rung: Rung, at: datetime, reason: str) -> dict[str, Any]:
    """A line that was taken off, by itself or with its whole order."""
    return {
        "lineItem": {name: v for name, v in line_item(known, rung).items() if name not in ("taxRates", "discounts")},
        "reason": reason,
        "removedBy": {"id": employee_id(known.order)},
        "createdBy": {"id": employee_id(known.order)},
        "deleteType": "ORDER_DELETE" if known.deleted else "LINE_ITEM_DELETE",
        "deletedTime": ms(at),
    }


def manual_refund_record(order: Order, at: datetime, cents: int) -> dict[str, Any]:
    """The order that Clover makes for a manual refund: one line, and it is no sale."""
    order_id, line_id = cid("manual refund", order.id), cid("manual refund line", order.id)
    line = {
        "id": line_id,
        "orderRef": {"id": order_id},
        "name": "Manual refund",
        "price": -cents,
        "printed": False,
        "createdTime": ms(at),
        "orderClientCreatedTime": ms(at),
        "exchanged": False,
        "refunded": False,
        "isRevenue": True,
    }
    return {
        "href": f"{HREF}/orders/{order_id}",
        "id": order_id,
        "currency": CURRENCY,
        "employee": {"id": employee_id(order)},
        "total": -cents,
        "paymentState": "CREDITED",
        "taxRemoved": False,
        "isVat": False,
        "state": "locked",
        "manualTransaction": True,
        "groupLineItems": True,
        "testMode": False,
        "externalReferenceId": f"synthetic-manual_refund-{order.id}",
        "createdTime": ms(at),
        "clientCreatedTime": ms(at),
        "modifiedTime": ms(at),
        "device": DEVICE,
        "lineItems": _elements([line]),
    }


def _order_discount(known: Known) -> dict[str, Any]:
    applied = {"id": cid("order discount", known.order.id), "orderRef": {"id": known.id}}
    if known.story.kind == "coupon":
        return {**applied, "name": "Coupon", "amount": -min(COUPON, known.check.order_discount)}
    return {
        **applied,
        "discount": ref("discount", "neighbours"),
        "name": "Neighbours",
        "percentage": int(NEIGHBOURS * 100),
    }


def _gift_card(known: Known) -> dict[str, Any]:
    return {
        "id": cid("gift card", known.order.id),
        "orderRef": {"id": known.id},
        "item": ref("item", "gift card"),
        "name": "Gift card",
        "price": GIFT_CARD,
        "itemCode": "",
        "printed": False,
        "createdTime": ms(known.order.instant + SYNC),
        "orderClientCreatedTime": ms(known.order.instant),
        "exchanged": False,
        "refunded": False,
        "isRevenue": False,
    }


def _elements(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"elements": list(found)}
