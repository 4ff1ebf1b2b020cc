"""A pizza place's (and a bar's) trade as Toast orders, which are changed in place.

Plain orders carry the dataset's own lines and prices; the pizza place has no tax in the dataset and none here. Of the
others `externalId` begins with `synthetic-` and names what was added. Shares are of all orders; those told daily (see
`story.py`) come on top at the pizza place:

    tip             3 %    on the card
    check discount  0.8 %  10 % off the check, inside the lines' prices
    line discount   0.4 %  two dollars off the first line
    modifier        0.6 %  extra basil, a selection inside the selection
    void line       0.4 %  the last line is taken off before payment
    void order      0.2 %  voided the next day, with its payment
    refund          0.4 %  days later, written into the payment: a selection, an amount only, or all with the tip
    gift card       0.2 %  a deferred selection; as many are paid with one
    service charge  0.2 %  delivery fee; gratuity 0.3 %
    edited          0.2 %  a line is a dollar too dear until the next day; then the payment is corrected too
    left open       0.1 %  paid 20 hours later
    deleted         0.1 %  a duplicate that somebody deletes after an hour
    comp            0.4 %  the first line on the house, with a reason and a manager's approval
    void check      0.2 %  the last line is on a check of its own, which is voided before payment
    void payment    0.2 %  a card that is voided, then cash
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from ingestion.sandbox.data import Order
from ingestion.sandbox.story import Story
from ingestion.sandbox.timeline import State
from ingestion.sandbox.trade import between
from ingestion.sandbox.vendors.toast.employees import manager_of, server_of
from ingestion.sandbox.vendors.toast.payments import payment_record
from ingestion.sandbox.vendors.toast.visit import (
    DELIVERY_FEE,
    GIFT_CARD,
    MODIFIER,
    Moment,
    Sold,
    Visit,
    as_number,
    business_date,
    guid,
    known_guid,
)
from ingestion.sandbox.vendors.toast.writing import dollars, stamp

SHARES = {
    "tip": 30,
    "check_discount": 8,
    "line_discount": 4,
    "modifier": 6,
    "void_line": 4,
    "void_order": 2,
    "refund_item": 2,
    "refund_amount": 1,
    "refund_all": 1,
    "gift_card": 2,
    "gift_tender": 2,
    "service_charge": 2,
    "gratuity": 3,
    "edited": 2,
    "left_open": 1,
    "deleted": 1,
    "comp": 4,
    "void_check": 2,
    "void_payment": 2,
}
TWO_LINES = frozenset({"void_line", "void_check", "comp"})
DAILY = (("refund_item", "refund_amount", "refund_all"), ("edited",), ("void_order",), ("left_open", "deleted"))


def states(order: Order, story: Story, restaurant: str) -> Iterator[State]:
    """The order as Toast shows it from its first moment to its last."""
    visit, key = Visit(order, story), guid("order", order.id)
    for moment in visit.moments():
        yield State(moment.since, key, restaurant, partial(order_record, visit, moment))


def order_record(visit: Visit, moment: Moment) -> dict[str, Any]:
    """An order as ordersBulk answers it."""
    order, paid = visit.order, stamp(visit.paid_at) if moment.paid else None
    opened, modified = stamp(order.instant), stamp(moment.since)
    return {
        "guid": guid("order", order.id),
        "entityType": "Order",
        "externalId": None if visit.story.is_plain else f"synthetic-{visit.kind}-{order.id}",
        "displayNumber": order.id.rsplit("-", 1)[-1],
        "openedDate": opened,
        "createdDate": opened,
        "modifiedDate": modified,
        "paidDate": paid,
        "closedDate": paid,
        "businessDate": as_number(order.at),
        "numberOfGuests": between(1, 4, order.id, "guests"),
        "diningOption": {"guid": known_guid("dining option", "dine in"), "entityType": "DiningOption"},
        "revenueCenter": None,
        "server": server_of(order),
        "source": "In Store",
        "table": {"guid": known_guid("table", between(1, 12, order.id, "table")), "entityType": "Table"},
        "voided": moment.voided,
        "voidDate": modified if moment.voided else None,
        "voidBusinessDate": business_date(moment.since, order.zone) if moment.voided else None,
        "deleted": moment.deleted,
        "deletedDate": modified if moment.deleted else None,
        "checks": _checks(visit, moment, opened, paid, modified),
    }


def _checks(visit: Visit, moment: Moment, opened: str, paid: str | None, modified: str) -> list[dict[str, Any]]:
    """One check, or one with what was voided beside it."""
    lines = visit.lines(moment)
    check = partial(_check, visit, moment, opened, paid, modified)
    if visit.kind != "void_check":
        return [check(lines)]
    return [check(lines[:-1]), _voided(check(lines[-1:]), visit)]


def _voided(check: dict[str, Any], visit: Visit) -> dict[str, Any]:
    """A check that nobody had to pay. Its number and id are its own."""
    zero = dollars(0)
    return check | {
        "guid": guid("void check", visit.order.id),
        "displayNumber": f"{check['displayNumber']}/2",
        "amount": zero,
        "taxAmount": zero,
        "totalAmount": zero,
        "voided": True,
        "voidDate": stamp(visit.paid_at),
        "payments": [],
    }


def _check(
    visit: Visit, moment: Moment, opened: str, paid: str | None, modified: str, lines: Sequence[Sold]
) -> dict[str, Any]:
    order = visit.order
    live = [] if moment.voided else [line for line in lines if not line.void]
    has_gift_card = visit.kind == "gift_card"
    charge = visit.charge(lines)
    payments = visit.payments(moment, lines)
    amount = tax = tip = 0
    if not moment.voided:
        amount = sum(line.price for line in live) + charge + (GIFT_CARD if has_gift_card else 0)
        tax = sum(line.tax for line in live)
        tip = sum(payment.tip for payment in payments if not payment.void)
    selections = [_selection(visit, moment, line) for line in lines]
    if has_gift_card:
        selections.append(_gift_card(order, moment))
    discounts = []
    if visit.kind == "check_discount":
        discounts.append(
            _discount(order, "Neighbours 10 %", "PERCENT", sum(line.before - line.price for line in lines), True)
        )
    return {
        "guid": guid("check", order.id),
        "entityType": "Check",
        "displayNumber": order.id.rsplit("-", 1)[-1],
        "openedDate": opened,
        "closedDate": paid,
        "modifiedDate": modified,
        "paymentStatus": "CLOSED" if moment.paid else "OPEN",
        "amount": dollars(amount),
        "taxAmount": dollars(tax),
        "totalAmount": dollars(amount + tax + tip),
        "taxExempt": False,
        "voided": moment.voided,
        "voidDate": modified if moment.voided else None,
        "deleted": moment.deleted,
        "appliedDiscounts": discounts,
        "appliedServiceCharges": [_charge(visit, charge)] if charge else [],
        "selections": selections,
        "payments": [payment_record(visit, moment, payment) for payment in payments],
    }


def _selection(visit: Visit, moment: Moment, line: Sold) -> dict[str, Any]:
    order, product = visit.order, line.line.product
    void = line.void or moment.voided
    voided_at: datetime = moment.since if moment.voided else visit.paid_at
    selection: dict[str, Any] = {
        "guid": guid("selection", line.line.id),
        "entityType": "MenuItemSelection",
        "item": {"guid": known_guid("item", product.sku), "entityType": "MenuItem"},
        "displayName": product.name,
        "quantity": Decimal(line.line.quantity),
        "unitOfMeasure": "NONE",
        "selectionType": "NONE",
        "receiptLinePrice": dollars(product.price),
        "preDiscountPrice": dollars(line.before),
        "price": dollars(line.price),
        "tax": dollars(line.tax),
        "taxInclusion": "NOT_INCLUDED",
        "deferred": False,
        "voided": void,
        "voidDate": stamp(voided_at) if void else None,
        "voidBusinessDate": business_date(voided_at, order.zone) if void else None,
        "voidReason": {"guid": known_guid("void reason", "mistake"), "entityType": "VoidReason"} if void else None,
        "appliedDiscounts": [],
        "appliedTaxes": [],
        "modifiers": [_modifier(line, void)] if line.modifier else [],
        "refundDetails": None,
    }
    if visit.kind == "line_discount" and line.before != line.price:
        selection["appliedDiscounts"] = [_discount(order, "Two dollars off", "FIXED", line.before - line.price)]
    if visit.kind == "comp" and line.before != line.price:
        comp = _discount(order, "Manager comp", "PERCENT", line.before - line.price, True)
        selection["appliedDiscounts"] = [comp | {"appliedDiscountReason": {"name": "Long wait", "comment": None}}]
    if line.tax:
        selection["appliedTaxes"] = [
            {
                "guid": guid("tax", line.line.id),
                "name": "NY sales tax",
                "rate": Decimal("0.08875"),
                "taxAmount": dollars(line.tax),
            }
        ]
    if visit.is_returned(line, moment):
        selection["refundDetails"] = {
            "refundAmount": dollars(line.price),
            "taxRefundAmount": dollars(line.tax),
            "refundTransaction": {"guid": guid("refund", order.id), "entityType": "RefundTransaction"},
        }
    return selection


def _modifier(line: Sold, void: bool) -> dict[str, Any]:
    return {
        "guid": guid("modifier", line.line.id),
        "entityType": "MenuItemSelection",
        "item": {"guid": known_guid("item", "extra-basil"), "entityType": "MenuItem"},
        "displayName": "Extra basil",
        "quantity": Decimal(line.line.quantity),
        "receiptLinePrice": dollars(MODIFIER),
        "preDiscountPrice": dollars(line.modifier),
        "price": dollars(line.modifier),
        "tax": dollars(0),
        "deferred": False,
        "voided": void,
        "appliedDiscounts": [],
        "modifiers": [],
    }


def _gift_card(order: Order, moment: Moment) -> dict[str, Any]:
    return {
        "guid": guid("gift card", order.id),
        "entityType": "MenuItemSelection",
        "item": None,
        "displayName": "Gift card",
        "quantity": Decimal(1),
        "selectionType": "TOAST_CARD_SELL",
        "receiptLinePrice": dollars(GIFT_CARD),
        "preDiscountPrice": dollars(GIFT_CARD),
        "price": dollars(GIFT_CARD),
        "tax": dollars(0),
        "deferred": True,
        "voided": moment.voided,
        "appliedDiscounts": [],
        "modifiers": [],
    }


def _charge(visit: Visit, cents: int) -> dict[str, Any]:
    gratuity = visit.kind == "gratuity"
    assert gratuity or cents == DELIVERY_FEE
    return {
        "guid": guid("charge", visit.order.id),
        "entityType": "AppliedServiceCharge",
        "name": "Large party" if gratuity else "Delivery fee",
        "chargeType": "PERCENT" if gratuity else "FIXED",
        "chargeAmount": dollars(cents),
        "gratuity": gratuity,
        "taxable": False,
        "appliedTaxes": [],
    }


def _discount(order: Order, name: str, kind: str, cents: int, approved: bool = False) -> dict[str, Any]:
    """A discount; what needs an approval has a manager's."""
    return {
        "guid": guid("applied discount", order.id),
        "entityType": "AppliedCustomDiscount",
        "name": name,
        "discountType": kind,
        "discountAmount": dollars(cents),
        "nonTaxDiscountAmount": dollars(cents),
        "discount": {"guid": known_guid("discount", name), "entityType": "Discount"},
        "approver": manager_of(order) if approved else None,
    }
