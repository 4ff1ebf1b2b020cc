"""A pizza place's (and a bar's) trade as Toast orders, which are changed in place.

Plain orders carry the dataset's own lines and prices; the pizza place has no tax in the dataset and none here. About one
in fifteen is given something more; `externalId` begins with `synthetic-` and names it. Drawn from the order's id:

    tip             3 %    on the card
    check discount  0.8 %  10 % off the check, inside the lines' prices
    line discount   0.4 %  two dollars off the first line
    modifier        0.6 %  extra basil, a selection inside the selection
    void line       0.4 %  the last line is taken off before payment
    void order      0.2 %  voided the next morning, with its payment
    refund          0.4 %  up to six days later, written into the payment: one selection, or an amount only
    gift card       0.2 %  a deferred selection
    service charge  0.2 %  delivery fee; gratuity 0.3 %
    edited          0.2 %  the price of a line is corrected the next day, and the payment with it
    left open       0.1 %  paid 20 hours later
    deleted         0.1 %  a duplicate that somebody deletes after an hour
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ingestion.sandbox.data import Line, Order
from ingestion.sandbox.money import apportioned, half_up
from ingestion.sandbox.timeline import State, encoded
from ingestion.sandbox.trade import between, draw

CLOSEOUT_HOUR = 4
STORY = {
    "tip": 30,
    "check_discount": 8,
    "line_discount": 4,
    "modifier": 6,
    "void_line": 4,
    "void_order": 2,
    "refund_item": 2,
    "refund_amount": 2,
    "gift_card": 2,
    "service_charge": 2,
    "gratuity": 3,
    "edited": 2,
    "left_open": 1,
    "deleted": 1,
}
MODIFIER, GIFT_CARD, DELIVERY_FEE, LINE_DISCOUNT, CORRECTION = 150, 2500, 400, 200, 100  # cents


@dataclass(frozen=True)
class Sold:
    """A selection's amounts in cents, modifiers included."""

    line: Line
    before: int
    price: int
    tax: int
    modifier: int = 0
    void: bool = False


@dataclass(frozen=True)
class Moment:
    """What has happened to an order by `since`."""

    since: datetime
    paid: bool = True
    voided: bool = False
    deleted: bool = False
    corrected: bool = False
    refunded: bool = False


def states(order: Order, restaurant: str) -> Iterator[State]:
    """The order as Toast shows it from its first moment to its last."""
    story = story_of(order)
    for moment in _moments(order, story):
        yield State(moment.since, guid("order", order.id), restaurant, encoded(_order(order, story, moment)))


def story_of(order: Order) -> str:
    """What happens to an order; `plain` for most."""
    point = draw("toast", order.id) * 1000
    for story, share in STORY.items():
        point -= share
        if point < 0:
            return "plain" if story == "void_line" and len(order.lines) < 2 else story
    return "plain"


def guid(*key: object) -> str:
    """A GUID that depends on `key` alone."""
    return str(UUID(bytes=blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest(), version=4))


def business_date(at: datetime, zone: str) -> int:
    """yyyymmdd of the restaurant's business day, which ends at the closeout hour."""
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - timedelta(hours=CLOSEOUT_HOUR)
    return int(local.strftime("%Y%m%d"))


def _paid_at(order: Order, story: str) -> datetime:
    stay = timedelta(hours=20) if story == "left_open" else timedelta(minutes=between(15, 70, order.id, "stay"))
    return order.instant + stay


def _refunded_at(order: Order) -> datetime:
    return _paid_at(order, "") + timedelta(hours=between(3, 24 * 6, order.id, "refund"))


def _moments(order: Order, story: str) -> Iterator[Moment]:
    paid = _paid_at(order, story)
    if story == "left_open":
        yield Moment(order.instant, paid=False)
    yield Moment(paid)
    match story:
        case "void_order":
            yield Moment(paid + timedelta(hours=15), voided=True)
        case "deleted":
            yield Moment(paid + timedelta(hours=1), deleted=True)
        case "edited":
            yield Moment(paid + timedelta(days=1, hours=2), corrected=True)
        case "refund_item" | "refund_amount":
            yield Moment(_refunded_at(order), refunded=True)


def _lines(order: Order, story: str, moment: Moment) -> list[Sold]:
    before = [line.product.price * line.quantity for line in order.lines]
    modifiers = [0] * len(before)
    if story == "modifier":
        modifiers[0] = MODIFIER * order.lines[0].quantity
        before[0] += modifiers[0]
    if moment.corrected:
        before[0] -= CORRECTION
    price = list(before)
    if story == "line_discount":
        price[0] -= LINE_DISCOUNT
    if story == "check_discount":
        off = apportioned(half_up(Decimal(sum(before)) / 10), before)
        price = [b - o for b, o in zip(before, off, strict=True)]
    void = [story == "void_line" and n == len(before) - 1 for n in range(len(before))]
    # Tax follows the price: the till's tax of the whole order, by the share that is still to be paid.
    live = sum(p for p, v in zip(price, void, strict=True) if not v)
    tax = half_up(Decimal(order.tax) * live / order.subtotal) if order.subtotal else 0
    taxes = apportioned(tax, [0 if v else p for p, v in zip(price, void, strict=True)])
    return [
        Sold(line, b, p, t, m, v)
        for line, b, p, t, m, v in zip(order.lines, before, price, taxes, modifiers, void, strict=True)
    ]


def _order(order: Order, story: str, moment: Moment) -> dict[str, Any]:
    lines = _lines(order, story, moment)
    paid = _paid_at(order, story)
    day = business_date(order.instant, order.zone)
    check = _check(order, story, moment, lines)
    return {
        "guid": guid("order", order.id),
        "entityType": "Order",
        "externalId": None if story == "plain" else f"synthetic-{story}-{order.id}",
        "displayNumber": order.id.rsplit("-", 1)[-1],
        "openedDate": _stamp(order.instant),
        "createdDate": _stamp(order.instant),
        "modifiedDate": _stamp(moment.since),
        "paidDate": _stamp(paid) if moment.paid else None,
        "closedDate": _stamp(paid) if moment.paid else None,
        "businessDate": day,
        "numberOfGuests": between(1, 4, order.id, "guests"),
        "diningOption": {"guid": guid("dining option", "dine in"), "entityType": "DiningOption"},
        "revenueCenter": None,
        "server": {
            "guid": guid("server", order.site, between(1, 6, order.id, "server")),
            "entityType": "RestaurantUser",
        },
        "source": "In Store",
        "table": {"guid": guid("table", between(1, 12, order.id, "table")), "entityType": "Table"},
        "voided": moment.voided,
        "voidDate": _stamp(moment.since) if moment.voided else None,
        "voidBusinessDate": business_date(moment.since, order.zone) if moment.voided else None,
        "deleted": moment.deleted,
        "deletedDate": _stamp(moment.since) if moment.deleted else None,
        "checks": [check],
    }


def _check(order: Order, story: str, moment: Moment, lines: Sequence[Sold]) -> dict[str, Any]:
    live = [] if moment.voided else [line for line in lines if not line.void]
    charges = _service_charges(order, story, live)
    charge = sum(cents for cents, _ in charges)
    gift = GIFT_CARD if story == "gift_card" and not moment.voided else 0
    amount = sum(line.price for line in live) + gift + charge
    tax = sum(line.tax for line in live)
    payments = _payments(order, story, moment, lines, charge)
    tip = sum(p["tipAmount"] for p in payments if p["paymentStatus"] != "VOIDED")
    selections = [_selection(order, story, moment, line) for line in lines]
    if story == "gift_card":
        selections.append(_gift_card(order, moment))
    discounts = []
    if story == "check_discount":
        discounts.append(
            _discount(order, "Neighbours 10 %", "PERCENT", sum(line.before - line.price for line in lines))
        )
    return {
        "guid": guid("check", order.id),
        "entityType": "Check",
        "displayNumber": order.id.rsplit("-", 1)[-1],
        "openedDate": _stamp(order.instant),
        "closedDate": _stamp(_paid_at(order, story)) if moment.paid else None,
        "modifiedDate": _stamp(moment.since),
        "paymentStatus": "CLOSED" if moment.paid else "OPEN",
        "amount": _dollars(amount),
        "taxAmount": _dollars(tax),
        "totalAmount": _dollars(amount + tax) + tip,
        "taxExempt": False,
        "voided": moment.voided,
        "voidDate": _stamp(moment.since) if moment.voided else None,
        "deleted": moment.deleted,
        "appliedDiscounts": discounts,
        "appliedServiceCharges": [c for _, c in charges],
        "selections": selections,
        "payments": payments,
    }


def _selection(order: Order, story: str, moment: Moment, line: Sold) -> dict[str, Any]:
    product = line.line.product
    void = line.void or moment.voided
    selection: dict[str, Any] = {
        "guid": guid("selection", line.line.id),
        "entityType": "MenuItemSelection",
        "item": {"guid": guid("item", product.sku), "entityType": "MenuItem"},
        "displayName": product.name,
        "quantity": Decimal(line.line.quantity),
        "unitOfMeasure": "NONE",
        "selectionType": "NONE",
        "receiptLinePrice": _dollars(product.price),
        "preDiscountPrice": _dollars(line.before),
        "price": _dollars(line.price),
        "tax": _dollars(line.tax),
        "taxInclusion": "NOT_INCLUDED",
        "deferred": False,
        "voided": void,
        "voidDate": _stamp(moment.since) if void else None,
        "voidBusinessDate": business_date(moment.since, order.zone) if void else None,
        "voidReason": {"guid": guid("void reason", "mistake"), "entityType": "VoidReason"} if void else None,
        "appliedDiscounts": [],
        "appliedTaxes": [],
        "modifiers": [],
        "refundDetails": None,
    }
    if story == "line_discount" and line.before != line.price:
        selection["appliedDiscounts"] = [_discount(order, "Two dollars off", "FIXED", line.before - line.price)]
    if line.tax:
        selection["appliedTaxes"] = [
            {
                "guid": guid("tax", line.line.id),
                "name": "NY sales tax",
                "rate": Decimal("0.08875"),
                "taxAmount": _dollars(line.tax),
            }
        ]
    if line.modifier:
        selection["modifiers"] = [
            {
                "guid": guid("modifier", line.line.id),
                "entityType": "MenuItemSelection",
                "item": {"guid": guid("item", "extra-basil"), "entityType": "MenuItem"},
                "displayName": "Extra basil",
                "quantity": Decimal(line.line.quantity),
                "receiptLinePrice": _dollars(MODIFIER),
                "preDiscountPrice": _dollars(line.modifier),
                "price": _dollars(line.modifier),
                "tax": _dollars(0),
                "deferred": False,
                "voided": void,
                "appliedDiscounts": [],
                "modifiers": [],
            }
        ]
    if story == "refund_item" and moment.refunded and line.line is order.lines[0]:
        selection["refundDetails"] = {
            "refundAmount": _dollars(line.price),
            "taxRefundAmount": _dollars(line.tax),
            "refundTransaction": {"guid": guid("refund", order.id), "entityType": "RefundTransaction"},
        }
    return selection


def _gift_card(order: Order, moment: Moment) -> dict[str, Any]:
    return {
        "guid": guid("gift card", order.id),
        "entityType": "MenuItemSelection",
        "item": None,
        "displayName": "Gift card",
        "quantity": Decimal(1),
        "selectionType": "TOAST_CARD_SELL",
        "receiptLinePrice": _dollars(GIFT_CARD),
        "preDiscountPrice": _dollars(GIFT_CARD),
        "price": _dollars(GIFT_CARD),
        "tax": _dollars(0),
        "deferred": True,
        "voided": moment.voided,
        "appliedDiscounts": [],
        "modifiers": [],
    }


def _service_charges(order: Order, story: str, live: Sequence[Sold]) -> list[tuple[int, dict[str, Any]]]:
    if story == "service_charge" and live:
        cents, name, gratuity = DELIVERY_FEE, "Delivery fee", False
    elif story == "gratuity" and live:
        cents, name, gratuity = half_up(Decimal(sum(line.price for line in live)) * 18 / 100), "Large party", True
    else:
        return []
    charge = {
        "guid": guid("charge", order.id),
        "entityType": "AppliedServiceCharge",
        "name": name,
        "chargeType": "PERCENT" if gratuity else "FIXED",
        "chargeAmount": _dollars(cents),
        "gratuity": gratuity,
        "taxable": False,
        "appliedTaxes": [],
    }
    return [(cents, charge)]


def _payments(order: Order, story: str, moment: Moment, lines: Sequence[Sold], charge: int) -> list[dict[str, Any]]:
    if not moment.paid:
        return []
    # What was paid stays in a voided payment; Toast marks it, and clears nothing.
    live = [line for line in lines if not line.void]
    due = sum(line.price + line.tax for line in live) + (GIFT_CARD if story == "gift_card" else 0) + charge
    card = story in ("tip", "refund_item", "refund_amount") or draw(order.id, "card") < 0.7
    tip = half_up(Decimal(sum(line.price for line in live)) * 18 / 100) if story == "tip" else 0
    paid = _paid_at(order, story)
    payment: dict[str, Any] = {
        "guid": guid("payment", order.id),
        "entityType": "OrderPayment",
        "paidDate": _stamp(paid),
        "paidBusinessDate": business_date(order.instant, order.zone),
        "type": "CREDIT" if card else "CASH",
        "amount": _dollars(due),
        "tipAmount": _dollars(tip),
        "amountTendered": _dollars(due if card else -(-due // 500) * 500),
        "paymentStatus": "VOIDED" if moment.voided else ("CAPTURED" if card else None),
        "refundStatus": "NONE",
        "refund": None,
        "voidInfo": None,
    }
    if card:
        payment |= {
            "cardType": "VISA",
            "last4Digits": "4242",
            "originalProcessingFee": _dollars(half_up(Decimal(due + tip) * 249 / 10000) + 15),
        }
    if moment.voided:
        payment["voidInfo"] = {
            "voidDate": _stamp(moment.since),
            "voidBusinessDate": business_date(moment.since, order.zone),
        }
    if moment.refunded:
        first = lines[0]
        cents = first.price + first.tax if story == "refund_item" else max(100, due // 3)
        payment |= {
            "refundStatus": "FULL" if cents == due else "PARTIAL",
            "refund": {
                "refundAmount": _dollars(cents),
                "tipRefundAmount": _dollars(0),
                "refundDate": _stamp(moment.since),
                "refundBusinessDate": business_date(moment.since, order.zone),
                "refundTransaction": {"guid": guid("refund", order.id), "entityType": "RefundTransaction"},
            },
        }
    return [payment]


def _discount(order: Order, name: str, kind: str, cents: int) -> dict[str, Any]:
    return {
        "guid": guid("applied discount", order.id),
        "entityType": "AppliedCustomDiscount",
        "name": name,
        "discountType": kind,
        "discountAmount": _dollars(cents),
        "nonTaxDiscountAmount": _dollars(cents),
        "discount": {"guid": guid("discount", name), "entityType": "Discount"},
        "approver": None,
    }


def _dollars(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
