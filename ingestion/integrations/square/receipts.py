"""What Square's own records add up to, for reconciliation.

Read from Square's definitions of Order, Return and PaymentRefund alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from reconcile.model import Amount, Record, Sites
from reconcile.money import from_minor
from reconcile.reader import instant

# Square knows no day start: a night's last orders belong to the evening before until 04:00.
DAY_START = timedelta(hours=4)
Totals = dict[str, Decimal]


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Money and counts of orders, payments and refunds by business date, in major units."""
    zones = {location["id"]: location.get("timezone", "UTC") for location in records.get("locations", ())}

    def business_date(site: str, at: str | None) -> date:
        return sites.business_date(site, instant(at), zones.get(site, "UTC"), DAY_START)

    totals: dict[tuple[date, str], Totals] = defaultdict(lambda: defaultdict(Decimal))
    days: dict[str, date] = {}
    for order in records.get("orders", ()):
        day = business_date(order["location_id"], order.get("closed_at") or order["created_at"])
        days[order["id"]] = day
        into = totals[day, _currency(order)]
        state = order.get("state")
        if order.get("line_items") or order.get("service_charges") or not order.get("returns"):
            if state == "COMPLETED":
                _sale(order, into)
            elif state == "OPEN":
                into["open_sales"] += _gross(order) - _discount(order)
            elif state == "CANCELED":
                into["void_amount"] += _gross(order)
        if state == "COMPLETED":
            for part in order.get("returns", ()):
                _return(part, into)
    for payment in records.get("payments", ()):
        if payment["status"] == "COMPLETED":
            day = days.get(payment.get("order_id", "")) or business_date(payment["location_id"], payment["created_at"])
            totals[day, payment["total_money"]["currency"]]["payments"] += from_minor(payment["total_money"])
    for refund in records.get("refunds", ()):
        # A pending refund whose return order is there only waits for the bank.
        if refund["status"] == "COMPLETED" or (refund["status"] == "PENDING" and refund.get("order_id") in days):
            day = days.get(refund.get("order_id", "")) or business_date(refund["location_id"], refund["created_at"])
            totals[day, refund["amount_money"]["currency"]]["refunds"] += from_minor(refund["amount_money"])
    for (day, currency), sums in totals.items():
        for measure, amount in sums.items():
            yield Amount(day, currency, measure, amount)


def _currency(order: Record) -> str:
    money = order.get("total_money") or order.get("return_amounts", {}).get("total_money") or {}
    return str(money.get("currency", "USD"))


def _is_gift_card(line: Record) -> bool:
    return line.get("item_type") == "GIFT_CARD"


def _included_tax(order: Record, line: Record) -> Decimal:
    included = {t["uid"] for t in order.get("taxes", ()) if t.get("type") == "INCLUSIVE"}
    return sum(
        (from_minor(t.get("applied_money")) for t in line.get("applied_taxes", ()) if t.get("tax_uid") in included),
        Decimal(0),
    )


def _gross(order: Record) -> Decimal:
    return sum(
        (
            from_minor(line["gross_sales_money"]) - _included_tax(order, line)
            for line in order.get("line_items", ())
            if not _is_gift_card(line)
        ),
        Decimal(0),
    )


def _discount(order: Record) -> Decimal:
    goods = [line for line in order.get("line_items", ()) if not _is_gift_card(line)]
    return sum((from_minor(line.get("total_discount_money")) for line in goods), Decimal(0))


def _sale(order: Record, into: Totals) -> None:
    lines = order.get("line_items", ())
    into["gross_sales"] += _gross(order)
    into["discount"] += _discount(order)
    into["tax"] += from_minor(order.get("total_tax_money"))
    into["tip"] += from_minor(order.get("total_tip_money"))
    cards = [from_minor(line["total_money"]) for line in lines if _is_gift_card(line)]
    into["gift_card_sold"] += sum(cards, Decimal(0))
    for charge in order.get("service_charges", ()):
        kind = "gratuity" if charge.get("type") == "AUTO_GRATUITY" else "service_charge"
        into[kind] += from_minor(charge.get("applied_money") or charge.get("amount_money"))
    into["order_count"] += 1
    into["line_count"] += sum(1 + len(line.get("modifiers", ())) for line in lines)


def _return(part: Record, into: Totals) -> None:
    for line in part.get("return_line_items", ()):
        total, tax = from_minor(line["total_money"]), from_minor(line.get("total_tax_money"))
        if _is_gift_card(line):
            into["gift_card_sold"] -= total
        elif line.get("item_type") == "CUSTOM_AMOUNT" and not line.get("source_line_item_uid"):
            into["refund_unitemised"] += total
        else:
            into["returns"] += total - tax
            into["tax"] -= tax
    for charge in part.get("return_service_charges", ()):
        tax = from_minor(charge.get("total_tax_money"))
        into["service_charge"] -= from_minor(charge["total_money"]) - tax
        into["tax"] -= tax
    for tip in part.get("return_tips", ()):
        into["tip"] -= from_minor(tip["applied_money"])
