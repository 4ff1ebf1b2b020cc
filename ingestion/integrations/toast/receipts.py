"""What Toast's own orders add up to, for reconciliation.

Read from Toast's definitions of Order, Check, Selection and Payment alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from reconcile.model import Amount, Record, Sites

Totals = dict[str, Decimal]
NOT_A_SALE = ("TOAST_CARD_SELL", "TOAST_CARD_RELOAD", "HOUSE_ACCOUNT_PAY_BALANCE")
NOT_PAID = ("VOIDED", "CANCELLED", "DENIED", "ERROR", "OPEN", "PROCESSING", "PENDING")


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Money and counts by Toast's own business date; a refund counts on its own."""
    currencies = {r["guid"]: r["general"].get("currencyCode", "USD") for r in records.get("restaurants", ())}
    totals: dict[tuple[date, str], Totals] = defaultdict(lambda: defaultdict(Decimal))
    for order in records.get("orders", ()):
        checks = [c for c in order.get("checks", ()) if not c.get("deleted")]
        if order.get("deleted") or not checks:
            continue
        currency = currencies.get(order["_context"]["restaurant"], "USD")
        into = totals[_day(order["businessDate"]), currency]
        is_open = not order.get("closedDate") and not order.get("paidDate")
        live = [c for c in checks if not order.get("voided") and not c.get("voided")]
        if live and not is_open:
            into["order_count"] += 1
        for check in checks:
            void = bool(order.get("voided") or check.get("voided"))
            _selections(check, into, void, is_open)
            if not void and not is_open:
                into["tax"] += check.get("taxAmount") or 0
                for charge in check.get("appliedServiceCharges", ()):
                    into["gratuity" if charge.get("gratuity") else "service_charge"] += charge["chargeAmount"]
            for payment in check.get("payments", ()):
                if payment.get("paymentStatus") in NOT_PAID or payment.get("voidInfo"):
                    continue
                tip = payment.get("tipAmount") or 0
                into["payments"] += payment["amount"] + tip
                into["tip"] += tip
                refund = payment.get("refund")
                if refund and payment.get("refundStatus") != "NONE":
                    _refund(check, refund, totals[_day(refund["refundBusinessDate"]), currency])
    for (day, currency), sums in totals.items():
        for measure, amount in sums.items():
            yield Amount(day, currency, measure, Decimal(amount))


def _day(yyyymmdd: int | str) -> date:
    return datetime.strptime(str(yyyymmdd), "%Y%m%d").date()


def _selections(check: Record, into: Totals, void: bool, is_open: bool) -> None:
    """A selection's prices are for its quantity and have its modifiers in them; discounts are the difference."""
    for selection in check.get("selections", ()):
        before, price = selection["preDiscountPrice"], selection["price"]
        is_card = selection.get("deferred") or selection.get("selectionType") in NOT_A_SALE
        if void or selection.get("voided"):
            into["void_amount"] += 0 if is_card else before
        elif is_open:
            into["open_sales"] += 0 if is_card else price
        elif is_card:
            into["gift_card_sold"] += price
            into["line_count"] += 1
        else:
            into["gross_sales"] += before
            into["discount"] += before - price
            into["line_count"] += 1 + sum(not m.get("voided") for m in selection.get("modifiers") or ())


def _refund(check: Record, refund: Record, into: Totals) -> None:
    """Money given back: what selections say was theirs is itemised, the rest is not."""
    back, tip = refund["refundAmount"], refund.get("tipRefundAmount") or 0
    transaction = (refund.get("refundTransaction") or {}).get("guid")
    itemised = tax = cards = Decimal(0)
    for selection in check.get("selections", ()):
        details = selection.get("refundDetails")
        if details and (details.get("refundTransaction") or {}).get("guid") == transaction:
            tax += details.get("taxRefundAmount") or 0
            if selection.get("deferred"):
                cards += details["refundAmount"]
            else:
                itemised += details["refundAmount"]
    into["returns"] += itemised
    into["gift_card_sold"] -= cards
    into["tax"] -= tax
    into["tip"] -= tip
    into["refund_unitemised"] += back - itemised - tax - cards
    into["refunds"] += back + tip
