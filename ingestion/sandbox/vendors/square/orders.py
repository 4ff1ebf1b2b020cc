"""Orders as Square's orders/search answers them: sales, and returns, which are orders of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from ingestion.sandbox.data import Order
from ingestion.sandbox.story import Story
from ingestion.sandbox.vendors.square.sale import GIFT_CARD, MODIFIER, Paid, Part, Sale, payments, token

CURRENCY = "USD"
CATALOG_VERSION = 1709251200000
SOURCE = {"name": "Square Point of Sale"}
OrderState = Literal["OPEN", "COMPLETED", "CANCELED"]


@dataclass(frozen=True, slots=True)
class Known:
    """An order at one point of its life. `closed` is when it was completed or canceled."""

    order: Order
    story: Story
    rate: Decimal
    updated: datetime
    state: OrderState
    closed: datetime | None
    version: int
    sold: Sale

    @property
    def id(self) -> str:
        """Square's id of the order."""
        return token("order", self.order.id)


def location_id(site: str) -> str:
    """Square's id of a site."""
    return "L" + token("location", site)[:12].upper()


def variation_id(sku: str) -> str:
    """Square's id of what is sold: an item's variation."""
    return "V" + token("variation", sku)[:23].upper()


def money(cents: int) -> dict[str, Any]:
    """An amount as Square writes it."""
    return {"amount": cents, "currency": CURRENCY}


def stamp(at: datetime) -> str:
    """A time as Square writes it; `at` is in UTC."""
    return at.isoformat(timespec="milliseconds")[:23] + "Z"


def order_record(known: Known) -> dict[str, Any]:
    """A sale."""
    order, sold = known.order, known.sold
    record: dict[str, Any] = {"id": known.id, "location_id": location_id(order.site)}
    items = [_line(part) for part in sold.parts]
    if sold.gift_card:
        items.append(_gift_card(order))
    if items:
        record["line_items"] = items
    if sold.tax:
        record["taxes"] = [
            {
                "uid": "sales-tax",
                "name": "Sales tax",
                "percentage": f"{known.rate * 100:f}".rstrip("0").rstrip("."),
                "type": "ADDITIVE",
                "scope": "ORDER",
                "applied_money": money(sold.tax),
            }
        ]
    if sold.discount:
        record["discounts"] = [
            {
                "uid": "ten-percent",
                "name": "10 % off",
                "percentage": "10",
                "type": "FIXED_PERCENTAGE",
                "scope": "ORDER",
                "applied_money": money(sold.discount),
            }
        ]
    if sold.charge:
        record["service_charges"] = [_charge(known)]
    record |= {
        "created_at": stamp(order.instant),
        "updated_at": stamp(known.updated),
        "state": known.state,
        "version": known.version,
        "total_tax_money": money(sold.tax),
        "total_discount_money": money(sold.discount),
        "total_tip_money": money(sold.tip),
        "total_service_charge_money": money(sold.charge),
        "total_money": money(sold.total),
        "net_amounts": amounts(sold.total, sold.tax, sold.discount, sold.tip, sold.charge),
        "source": SOURCE,
    }
    if known.closed:
        record["closed_at"] = stamp(known.closed)
        if known.state == "COMPLETED" and (paid := payments(order, known.story, sold)):
            record["tenders"] = [_tender(known, payment) for payment in paid]
    if not known.story.is_plain:
        record["metadata"] = {"synthetic": known.story.kind, "dataset_order": order.id}
    return record


def amounts(total: int, tax: int, discount: int = 0, tip: int = 0, charge: int = 0) -> dict[str, Any]:
    """Square's summary of an order or a return."""
    return {
        "total_money": money(total),
        "tax_money": money(tax),
        "discount_money": money(discount),
        "tip_money": money(tip),
        "service_charge_money": money(charge),
    }


def _line(part: Part) -> dict[str, Any]:
    line = part.line
    item: dict[str, Any] = {
        "uid": line.id,
        "catalog_object_id": variation_id(line.product.sku),
        "catalog_version": CATALOG_VERSION,
        "quantity": str(line.quantity),
        "name": line.product.name,
        "variation_name": "Regular",
        "item_type": "ITEM",
        **_line_money(line.product.price, line.product.price * line.quantity, part),
    }
    if part.modifier:
        item["modifiers"] = [
            {
                "uid": f"{line.id}-m",
                "catalog_object_id": MODIFIER[0],
                "name": MODIFIER[1],
                "quantity": "1",
                "base_price_money": money(MODIFIER[2]),
                "total_price_money": money(part.modifier),
            }
        ]
    if part.tax:
        item["applied_taxes"] = [
            {"uid": f"{line.id}-t", "tax_uid": "sales-tax", "applied_money": money(part.tax)},
        ]
    if part.discount:
        item["applied_discounts"] = [
            {"uid": f"{line.id}-d", "discount_uid": "ten-percent", "applied_money": money(part.discount)},
        ]
    return item


def _line_money(base: int, variation: int, part: Part) -> dict[str, Any]:
    return {
        "base_price_money": money(base),
        "variation_total_price_money": money(variation),
        "gross_sales_money": money(part.gross),
        "total_tax_money": money(part.tax),
        "total_discount_money": money(part.discount),
        "total_service_charge_money": money(0),
        "total_money": money(part.total),
    }


def _gift_card(order: Order) -> dict[str, Any]:
    return {
        "uid": f"{order.id}-gift",
        "quantity": "1",
        "name": "Gift card",
        "item_type": "GIFT_CARD",
        "base_price_money": money(GIFT_CARD),
        "variation_total_price_money": money(GIFT_CARD),
        "gross_sales_money": money(GIFT_CARD),
        "total_tax_money": money(0),
        "total_discount_money": money(0),
        "total_service_charge_money": money(0),
        "total_money": money(GIFT_CARD),
    }


def _charge(known: Known) -> dict[str, Any]:
    gratuity = known.story.kind == "auto_gratuity"
    return {
        "uid": f"{known.order.id}-sc",
        "name": "Gratuity" if gratuity else "Packing",
        "type": "AUTO_GRATUITY" if gratuity else "CUSTOM",
        "calculation_phase": "TOTAL_PHASE",
        "taxable": False,
        "amount_money": money(known.sold.charge),
        "applied_money": money(known.sold.charge),
        "total_money": money(known.sold.charge),
        "total_tax_money": money(0),
    }


def _tender(known: Known, payment: Paid) -> dict[str, Any]:
    assert known.closed is not None
    tender: dict[str, Any] = {
        "id": payment.id,
        "location_id": location_id(known.order.site),
        "transaction_id": known.id,
        "created_at": stamp(known.closed),
        "amount_money": money(payment.amount + payment.tip),
        "type": payment.tender,
        "payment_id": payment.id,
    }
    if payment.tip:
        tender["tip_money"] = money(payment.tip)
    if payment.tender == "CARD":
        tender["card_details"] = {"status": "CAPTURED", "card": {"card_brand": "VISA", "last_4": "1111"}}
    return tender


def return_record(
    known: Known, at: datetime, updated: datetime, refund: dict[str, Any], lines: Sequence[dict[str, Any]], tip: int
) -> dict[str, Any]:
    """The order that a refund makes beside the sale: `lines` came back, and `tip` with them."""
    return_id = refund["order_id"]
    total = sum(line["total_money"]["amount"] for line in lines) + tip
    tax = sum(line["total_tax_money"]["amount"] for line in lines)
    returned: dict[str, Any] = {
        "uid": f"{return_id}-1",
        "source_order_id": known.id,
        "return_line_items": list(lines),
        "return_amounts": amounts(total, tax, tip=tip),
    }
    if tip:
        returned["return_tips"] = [
            {"uid": f"{return_id}-tip", "applied_money": money(tip), "source_tender_id": refund["payment_id"]},
        ]
    return {
        "id": return_id,
        "location_id": refund["location_id"],
        "created_at": stamp(at),
        "updated_at": stamp(updated),
        "closed_at": stamp(at),
        "state": "COMPLETED",
        "version": 2,
        "returns": [returned],
        "return_amounts": amounts(total, tax, tip=tip),
        "net_amounts": amounts(-total, -tax, tip=-tip),
        "refunds": [
            {
                "id": refund["id"],
                "location_id": refund["location_id"],
                "transaction_id": known.id,
                "tender_id": refund["payment_id"],
                "created_at": stamp(at),
                "reason": refund["reason"],
                "amount_money": money(total),
                "status": "APPROVED",
            }
        ],
        "total_money": money(0),
        "total_tax_money": money(0),
        "total_discount_money": money(0),
        "total_tip_money": money(0),
        "total_service_charge_money": money(0),
        "source": SOURCE,
        "metadata": {"synthetic": known.story.kind, "dataset_order": known.order.id},
    }


def returned_line(item: dict[str, Any]) -> dict[str, Any]:
    """A whole line of a sale, come back."""
    copied = ("quantity", "name", "variation_name", "catalog_object_id", "catalog_version", "item_type")
    taken = ("base_price_money", "variation_total_price_money", "total_tax_money", "total_discount_money")
    return {
        "uid": f"{item['uid']}-r",
        "source_line_item_uid": item["uid"],
        **{name: item[name] for name in (*copied, *taken)},
        "gross_return_money": item["gross_sales_money"],
        "total_money": item["total_money"],
    }


def custom_amount(uid: str, cents: int) -> dict[str, Any]:
    """The line of a refund that names an amount and no goods."""
    return {
        "uid": uid,
        "quantity": "1",
        "item_type": "CUSTOM_AMOUNT",
        "base_price_money": money(cents),
        "variation_total_price_money": money(cents),
        "gross_return_money": money(cents),
        "total_tax_money": money(0),
        "total_discount_money": money(0),
        "total_money": money(cents),
    }
