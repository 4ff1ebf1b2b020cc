"""What Toast's own orders add up to, for reconciliation.

Read from Toast's definitions of Order, Check, Selection and Payment alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant

Totals = dict[str, Decimal]
NOT_A_SALE = ("TOAST_CARD_SELL", "TOAST_CARD_RELOAD", "HOUSE_ACCOUNT_PAY_BALANCE")
NOT_PAID = ("VOIDED", "CANCELLED", "DENIED", "ERROR", "OPEN", "PROCESSING", "PENDING")


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Money and counts by Toast's own business date; a refund counts on its own."""
    places = {r["guid"]: r["general"] for r in records.get("restaurants", ())}
    totals: dict[tuple[date, str], Totals] = defaultdict(lambda: defaultdict(Decimal))
    for order in records.get("orders", ()):
        checks = [c for c in order.get("checks", ()) if not c.get("deleted")]
        if order.get("deleted") or not checks:
            continue
        site = order["_context"]["restaurant"]
        place = places.get(site, {})
        currency = place.get("currencyCode") or sites.currency
        into = totals[_day(order["businessDate"]), currency]
        live = [c for c in checks if not order.get("voided") and not c.get("voided")]
        is_open = bool(live) and not order.get("closedDate") and not order.get("paidDate")
        if live and not is_open:
            into["order_count"] += 1
        for check in checks:
            _check(check, into, check not in live, is_open)
        paid = [p for c in checks for p in c.get("payments") or () if _is_paid(p)]
        if not is_open:  # what is paid on an open order is a deposit
            tips = sum((p.get("tipAmount") or 0 for p in paid), Decimal(0))
            into["payments"] += sum((p["amount"] for p in paid), Decimal(0)) + tips
            into["tip"] += tips if live else 0
        for refund in _refunds(checks, paid):
            stamp = refund.first.get("refundBusinessDate")
            day = _day(stamp) if stamp else _date_of(refund.first["refundDate"], site, place, sites)
            for measure, amount in refund.amounts.items():
                totals[day, currency][measure] += amount
    for (day, currency), sums in totals.items():
        for measure, amount in sums.items():
            yield Amount(day, currency, measure, Decimal(amount))


def _day(yyyymmdd: int | str) -> date:
    return datetime.strptime(str(yyyymmdd), "%Y%m%d").date()


def _date_of(at: str, site: str, place: Record, sites: Sites) -> date:
    """For an instant without a date: the business day ends at the restaurant's closeout hour."""
    closeout = timedelta(hours=int(place.get("closeoutHour", 4)))
    return sites.business_date(site, instant(at), place.get("timeZone", "UTC"), closeout)


def _is_paid(payment: Record) -> bool:
    return payment.get("paymentStatus") not in NOT_PAID and not payment.get("voidInfo")


def _check(check: Record, into: Totals, void: bool, is_open: bool) -> None:
    for selection in check.get("selections") or ():
        _selection(selection, into, void, is_open)
    if not void and not is_open:
        into["tax"] += check.get("taxAmount") or 0
        for charge in check.get("appliedServiceCharges") or ():
            into["gratuity" if charge.get("gratuity") else "service_charge"] += charge["chargeAmount"]


def _selection(selection: Record, into: Totals, void: bool, is_open: bool) -> None:
    """A selection's prices are for its quantity and have its live modifiers in them; discounts are the difference."""
    before, price = _before(selection), selection.get("price") or Decimal(0)
    is_card = selection.get("deferred") or selection.get("selectionType") in NOT_A_SALE
    if void or selection.get("voided"):
        into["void_amount"] += 0 if is_card else before
        return
    into["void_amount"] += _voided_within(selection)
    if is_open:
        into["open_sales"] += 0 if is_card else price
        return
    into["line_count"] += _lines(selection)
    if is_card:
        into["gift_card_sold"] += price
    else:
        into["gross_sales"] += before
        into["discount"] += before - price


def _before(selection: Record) -> Decimal:
    """The price before discounts; Toast leaves it out of the oldest orders, which had no discount."""
    found = selection.get("preDiscountPrice")
    return Decimal(found if found is not None else selection.get("price") or 0)


def _voided_within(selection: Record) -> Decimal:
    """What was taken off a live selection: the modifiers that are void, each with all that is in it."""
    modifiers = selection.get("modifiers") or ()
    return sum((_before(m) if m.get("voided") else _voided_within(m) for m in modifiers), Decimal(0))


def _lines(selection: Record) -> int:
    """A live selection and the live modifiers in it, to any depth."""
    return 1 + sum(_lines(m) for m in selection.get("modifiers") or () if not m.get("voided"))


class Refund(NamedTuple):
    """One refund: what the first payment says of it, and its amounts."""

    first: Record
    amounts: Totals


def _refunds(checks: Sequence[Record], paid: Sequence[Record]) -> Iterator[Refund]:
    """Money given back: what selections say was theirs is itemised, the rest is not.

    Payments of one refund share a transaction; a payment without one is a refund by itself, and nothing is itemised.
    """
    by_transaction: dict[str, list[Record]] = defaultdict(list)
    for number, payment in enumerate(paid):
        refund = payment.get("refund")
        if refund and payment.get("refundStatus") not in (None, "NONE"):
            by_transaction[_transaction(refund) or f"payment {number}"].append(refund)
    details = [s for c in checks for s in c.get("selections") or () if s.get("refundDetails")]
    for transaction, refunds in by_transaction.items():
        amounts: Totals = defaultdict(Decimal)
        for refund in refunds:
            tip = refund.get("tipRefundAmount") or 0
            amounts["refund_unitemised"] += refund["refundAmount"]
            amounts["tip"] -= tip
            amounts["refunds"] += refund["refundAmount"] + tip
        for selection in details:
            told = selection["refundDetails"]
            if _transaction(told) == transaction and told.get("refundAmount"):
                tax = told.get("taxRefundAmount") or 0
                amounts["tax"] -= tax
                if selection.get("deferred"):
                    amounts["gift_card_sold"] -= told["refundAmount"]
                else:
                    amounts["returns"] += told["refundAmount"]
                amounts["refund_unitemised"] -= told["refundAmount"] + tax
        yield Refund(refunds[0], amounts)


def _transaction(record: Record) -> str | None:
    found = (record.get("refundTransaction") or {}).get("guid")
    return str(found) if found else None
