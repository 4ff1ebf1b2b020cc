"""A jaffle shop's trade as Square orders, payments, refunds and return orders.

Plain orders carry the dataset's own lines, tax and total. About one in twelve is given something more that a till has
to deal with; those bear `metadata.synthetic`, which names it. Everything is drawn from the order's id, so that every
start of the sandbox tells the same story:

    refund          0.5 %  days later, a separate return order and a refund object: a line, or an amount only
    tip             1 %    on the card payment
    discount        1 %    10 % off the whole order, apportioned to the lines by Square
    modifier        2 %    extra cheese on the first line
    service charge  0.2 %  a packing fee; as often an automatic gratuity
    gift card       0.4 %  sold along with the meal
    edited          0.3 %  a line is taken off on the day after, and the payment with it
    left open       0.4 %  a tab that is closed 20 hours later
    canceled        0.2 %  taken off before payment
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from ingestion.sandbox.data import Line, Order
from ingestion.sandbox.money import apportioned, half_up
from ingestion.sandbox.timeline import State, encoded
from ingestion.sandbox.trade import between, draw

CURRENCY = "USD"
MODIFIER = ("MOD-CHEESE", "extra cheese", 75)
GIFT_CARD = 2500
# Shares of the orders, in thousandths.
STORY = {
    "refund_line": 3,
    "refund_amount": 2,
    "tip": 10,
    "discount": 10,
    "modifier": 20,
    "service_charge": 2,
    "auto_gratuity": 2,
    "gift_card": 4,
    "edited": 3,
    "left_open": 4,
    "canceled": 2,
}


@dataclass(frozen=True)
class Till:
    """What one order leaves behind at Square."""

    orders: tuple[State, ...]
    payments: tuple[State, ...]
    refunds: tuple[State, ...]


def location_id(site: str) -> str:
    """Square's id of a site."""
    return "L" + _token("location", site)[:12].upper()


def variation_id(sku: str) -> str:
    """Square's id of what is sold: an item's variation."""
    return "V" + _token("variation", sku)[:23].upper()


def till(order: Order, tax_rate: Decimal) -> Till:
    """Everything Square will ever say of an order of the dataset, each state with the time it is known from."""
    story = story_of(order)
    base = _Order(order, story, tax_rate)
    taken, closed = order.instant, order.instant + timedelta(seconds=between(20, 240, order.id, "served"))
    if story == "canceled":
        states = [
            base.state(taken, "OPEN", order.lines, None),
            base.state(closed, "CANCELED", order.lines, None),
        ]
        return Till(tuple(states), (), ())
    if story == "left_open":
        later = taken + timedelta(hours=20)
        states = [base.state(taken, "OPEN", order.lines, None), base.state(later, "COMPLETED", order.lines, later)]
        return Till(tuple(states), tuple(base.payments(order.lines, later)), ())
    states = [base.state(closed, "COMPLETED", order.lines, closed)]
    payments = list(base.payments(order.lines, closed))
    if story == "edited":
        edit = closed + timedelta(days=1, hours=1)
        fewer = order.lines[:-1]
        states.append(base.state(edit, "COMPLETED", fewer, closed))
        payments += base.payments(fewer, closed, edit)
    if story in ("refund_line", "refund_amount"):
        at = closed + timedelta(hours=between(3, 24 * 6, order.id, "refund"))
        back, refund = base.refund(at, itemised=story == "refund_line")
        return Till((*states, *back), tuple(payments), tuple(refund))
    return Till(tuple(states), tuple(payments), ())


def story_of(order: Order) -> str:
    """What happens to an order besides being eaten; `plain` for most. An order of nothing stays plain."""
    point = draw("square", order.id) * 1000
    for story, share in STORY.items():
        point -= share
        if point < 0:
            lines = len(order.lines)
            return "plain" if lines == 0 or (story == "edited" and lines < 2) else story
    return "plain"


class _Order:
    """Builds the JSON of one order."""

    def __init__(self, order: Order, story: str, tax_rate: Decimal) -> None:
        self.order, self.story, self.rate = order, story, tax_rate
        self.id = _token("order", order.id)
        self.payment_id = _token("payment", order.id)
        self.site = location_id(order.site)
        self.card = draw(order.id, "card") < 0.8

    # -- the order ---------------------------------------------------------------------------------------------------

    def lines(self, sold: Sequence[Line]) -> list[dict[str, Any]]:
        """Line items with their part of discount and tax, in cents; the parts add up to the order's."""
        gross = [line.product.price * line.quantity for line in sold]
        if self.story == "modifier":
            gross[0] += MODIFIER[2] * sold[0].quantity
        discounts = apportioned(half_up(Decimal(sum(gross)) / 10) if self.story == "discount" else 0, gross)
        taxed = [g - d for g, d in zip(gross, discounts, strict=True)]
        as_in_dataset = self.story != "modifier" and self.story != "discount" and len(sold) == len(self.order.lines)
        tax = self.order.tax if as_in_dataset else half_up(Decimal(sum(taxed)) * self.rate)
        taxes = apportioned(tax, taxed)
        items = []
        for n, (line, g, d, t) in enumerate(zip(sold, gross, discounts, taxes, strict=True)):
            item: dict[str, Any] = {
                "uid": line.id,
                "catalog_object_id": variation_id(line.product.sku),
                "catalog_version": 1709251200000,
                "quantity": str(line.quantity),
                "name": line.product.name,
                "variation_name": "Regular",
                "item_type": "ITEM",
                "base_price_money": _money(line.product.price),
                "variation_total_price_money": _money(line.product.price * line.quantity),
                "gross_sales_money": _money(g),
                "total_tax_money": _money(t),
                "total_discount_money": _money(d),
                "total_service_charge_money": _money(0),
                "total_money": _money(g - d + t),
            }
            if self.story == "modifier" and n == 0:
                item["modifiers"] = [
                    {
                        "uid": f"{line.id}-m",
                        "catalog_object_id": MODIFIER[0],
                        "name": MODIFIER[1],
                        "quantity": "1",
                        "base_price_money": _money(MODIFIER[2]),
                        "total_price_money": _money(MODIFIER[2] * line.quantity),
                    }
                ]
            if t:
                item["applied_taxes"] = [{"uid": f"{line.id}-t", "tax_uid": "sales-tax", "applied_money": _money(t)}]
            if d:
                item["applied_discounts"] = [
                    {"uid": f"{line.id}-d", "discount_uid": "ten-percent", "applied_money": _money(d)}
                ]
            items.append(item)
        if self.story == "gift_card":
            items.append(
                {
                    "uid": f"{self.order.id}-gift",
                    "quantity": "1",
                    "name": "Gift card",
                    "item_type": "GIFT_CARD",
                    "base_price_money": _money(GIFT_CARD),
                    "variation_total_price_money": _money(GIFT_CARD),
                    "gross_sales_money": _money(GIFT_CARD),
                    "total_tax_money": _money(0),
                    "total_discount_money": _money(0),
                    "total_service_charge_money": _money(0),
                    "total_money": _money(GIFT_CARD),
                }
            )
        return items

    def service_charges(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A packing fee, or an automatic gratuity of 18 %."""
        if self.story == "service_charge":
            amount, name, kind = 150, "Packing", "CUSTOM"
        elif self.story == "auto_gratuity":
            amount, name, kind = (
                half_up(Decimal(_total(items, "gross_sales_money")) * 18 / 100),
                "Gratuity",
                "AUTO_GRATUITY",
            )
        else:
            return []
        return [
            {
                "uid": f"{self.order.id}-sc",
                "name": name,
                "type": kind,
                "calculation_phase": "TOTAL_PHASE",
                "taxable": False,
                "amount_money": _money(amount),
                "applied_money": _money(amount),
                "total_money": _money(amount),
                "total_tax_money": _money(0),
            }
        ]

    def tip(self, items: Sequence[Mapping[str, Any]]) -> int:
        """15 % on the card, half up."""
        return half_up(Decimal(_total(items, "gross_sales_money")) * 15 / 100) if self.story == "tip" else 0

    def body(self, updated: datetime, state: str, sold: Sequence[Line], closed: datetime | None) -> dict[str, Any]:
        """The order as orders/search answers it."""
        items = self.lines(sold)
        charges = self.service_charges(items)
        charge = sum(c["total_money"]["amount"] for c in charges)
        tax, discount = _total(items, "total_tax_money"), _total(items, "total_discount_money")
        tip = self.tip(items) if closed else 0
        total = _total(items, "total_money") + charge + tip
        order: dict[str, Any] = {"id": self.id, "location_id": self.site}
        if items:
            order["line_items"] = items
        if tax:
            percent = f"{self.rate * 100:f}".rstrip("0").rstrip(".")
            order["taxes"] = [
                {
                    "uid": "sales-tax",
                    "name": "Sales tax",
                    "percentage": percent,
                    "type": "ADDITIVE",
                    "scope": "ORDER",
                    "applied_money": _money(tax),
                }
            ]
        if discount:
            order["discounts"] = [
                {
                    "uid": "ten-percent",
                    "name": "10 % off",
                    "percentage": "10",
                    "type": "FIXED_PERCENTAGE",
                    "scope": "ORDER",
                    "applied_money": _money(discount),
                }
            ]
        if charges:
            order["service_charges"] = charges
        order |= {
            "created_at": _stamp(self.order.instant),
            "updated_at": _stamp(updated),
            "state": state,
            "version": 3,
            "total_tax_money": _money(tax),
            "total_discount_money": _money(discount),
            "total_tip_money": _money(tip),
            "total_service_charge_money": _money(charge),
            "total_money": _money(total),
            "net_amounts": {
                "total_money": _money(total),
                "tax_money": _money(tax),
                "discount_money": _money(discount),
                "tip_money": _money(tip),
                "service_charge_money": _money(charge),
            },
            "source": {"name": "Square Point of Sale"},
        }
        if closed:
            order["closed_at"] = _stamp(closed)
            if total:
                order["tenders"] = [
                    {
                        "id": self.payment_id,
                        "location_id": self.site,
                        "transaction_id": self.id,
                        "created_at": _stamp(closed),
                        "amount_money": _money(total),
                        "tip_money": _money(tip),
                        "type": "CARD" if self.card else "CASH",
                        "payment_id": self.payment_id,
                    }
                ]
        if self.story != "plain":
            order["metadata"] = {"synthetic": self.story}
        return order

    def state(self, since: datetime, state: str, sold: Sequence[Line], closed: datetime | None) -> State:
        """The order as it is from `since` on."""
        return State(since, self.id, self.site, encoded(self.body(since, state, sold, closed)))

    # -- money in and out --------------------------------------------------------------------------------------------

    def payments(self, sold: Sequence[Line], closed: datetime, updated: datetime | None = None) -> Iterator[State]:
        """The payment of the whole order, tip beside the amount. An order of nothing is not paid."""
        body = self.body(closed, "COMPLETED", sold, closed)
        total, tip = body["total_money"]["amount"], body["total_tip_money"]["amount"]
        if not total:
            return
        since = updated or closed
        payment: dict[str, Any] = {
            "id": self.payment_id,
            "created_at": _stamp(closed),
            "updated_at": _stamp(since),
            "amount_money": _money(total - tip),
            "total_money": _money(total),
            "approved_money": _money(total),
            "status": "COMPLETED",
            "source_type": "CARD" if self.card else "CASH",
            "location_id": self.site,
            "order_id": self.id,
            "receipt_number": self.payment_id[:4],
        }
        if tip:
            payment["tip_money"] = _money(tip)
        if self.card:
            payment["card_details"] = {"status": "CAPTURED", "card": {"card_brand": "VISA", "last_4": "1111"}}
            payment["processing_fee"] = [
                {
                    "effective_at": _stamp(closed + timedelta(hours=2)),
                    "type": "INITIAL",
                    "amount_money": _money(half_up(Decimal(total) * 26 / 1000) + 10),
                }
            ]
        else:
            payment["cash_details"] = {
                "buyer_supplied_money": _money(-(-total // 500) * 500),
                "change_back_money": _money(-(-total // 500) * 500 - total),
            }
        yield State(since, self.payment_id, self.site, encoded(payment))

    def refund(self, at: datetime, itemised: bool) -> tuple[list[State], list[State]]:
        """A return order and a refund object, as Square makes them: the sale itself is not touched."""
        source = self.lines(self.order.lines)[0]
        return_id, refund_id = _token("return", self.order.id), f"{self.payment_id}_{_token('refund', self.order.id)}"
        if itemised:
            copied = ("quantity", "name", "variation_name", "catalog_object_id", "catalog_version", "item_type")
            tax, amount = source["total_tax_money"]["amount"], source["total_money"]["amount"]
            line = {
                "uid": f"{source['uid']}-r",
                "source_line_item_uid": source["uid"],
                **{name: source[name] for name in copied},
                "base_price_money": source["base_price_money"],
                "variation_total_price_money": source["variation_total_price_money"],
                "gross_return_money": source["gross_sales_money"],
                "total_tax_money": _money(tax),
                "total_discount_money": source["total_discount_money"],
                "total_money": _money(amount),
            }
            reason = "Returned goods"
        else:
            tax, amount = 0, max(100, source["total_money"]["amount"] // 2)
            line = {
                "uid": f"{source['uid']}-r",
                "quantity": "1",
                "item_type": "CUSTOM_AMOUNT",
                "base_price_money": _money(amount),
                "variation_total_price_money": _money(amount),
                "gross_return_money": _money(amount),
                "total_tax_money": _money(0),
                "total_discount_money": _money(0),
                "total_money": _money(amount),
            }
            reason = "Accidental charge"
        amounts = {
            "total_money": _money(amount),
            "tax_money": _money(tax),
            "discount_money": _money(0),
            "tip_money": _money(0),
            "service_charge_money": _money(0),
        }
        order = {
            "id": return_id,
            "location_id": self.site,
            "created_at": _stamp(at),
            "updated_at": _stamp(at + timedelta(minutes=2)),
            "closed_at": _stamp(at),
            "state": "COMPLETED",
            "version": 2,
            "returns": [
                {
                    "uid": f"{return_id}-1",
                    "source_order_id": self.id,
                    "return_line_items": [line],
                    "return_amounts": amounts,
                }
            ],
            "return_amounts": amounts,
            "net_amounts": {name: _money(-money["amount"]) for name, money in amounts.items()},
            "refunds": [
                {
                    "id": refund_id,
                    "location_id": self.site,
                    "transaction_id": self.id,
                    "tender_id": self.payment_id,
                    "created_at": _stamp(at),
                    "reason": reason,
                    "amount_money": _money(amount),
                    "status": "APPROVED",
                }
            ],
            "total_money": _money(0),
            "total_tax_money": _money(0),
            "total_discount_money": _money(0),
            "total_tip_money": _money(0),
            "total_service_charge_money": _money(0),
            "source": {"name": "Square Point of Sale"},
            "metadata": {"synthetic": self.story},
        }
        refunds = [
            {
                "id": refund_id,
                "status": status,
                "amount_money": _money(amount),
                "payment_id": self.payment_id,
                "order_id": return_id,
                "location_id": self.site,
                "created_at": _stamp(at),
                "updated_at": _stamp(updated),
                "reason": reason,
                "destination_type": "CARD" if self.card else "CASH",
            }
            for status, updated in (("PENDING", at), ("COMPLETED", at + timedelta(minutes=2)))
        ]
        # The refund is PENDING for two minutes; the return order is there when the money has gone.
        return [State(at + timedelta(minutes=2), return_id, self.site, encoded(order))], [
            State(since, refund_id, self.site, encoded(refund))
            for since, refund in zip((at, at + timedelta(minutes=2)), refunds, strict=True)
        ]


def _money(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": CURRENCY}


def _total(items: Sequence[Mapping[str, Any]], field: str) -> int:
    return sum(item[field]["amount"] for item in items)


def _token(kind: str, key: str) -> str:
    return blake2b(f"{kind}\x1f{key}".encode(), digest_size=14).hexdigest()


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
