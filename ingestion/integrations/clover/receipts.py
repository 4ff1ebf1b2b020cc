"""What Clover's own records add up to, for reconciliation.

Read from Clover's definitions of Order, LineItem, Payment, Refund and Credit and from its page on order totals alone;
shares nothing with staging or the marts. All reckoning is in minor units until an amount is given out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from reconcile.model import Amount, Record, Sites
from reconcile.money import from_minor
from reconcile.reader import spelled

# Clover knows no day start: a night's last orders belong to the evening before until 04:00.
DAY_START = timedelta(hours=4)
TAKEN = ("SUCCESS", "VOID_FAILED")
Totals = dict[str, Decimal]
ZERO = Decimal(0)


@dataclass
class Sold:
    """One line as it was sold: what was paid for it, the tax in or on that, its discounts before tax."""

    id: str
    modifications: int
    is_revenue: bool
    gross: Decimal
    rate: Decimal
    flat: Decimal
    left: Decimal = ZERO
    paid: Decimal = ZERO
    tax: Decimal = ZERO
    discount: Decimal = ZERO
    net: Decimal = ZERO


@dataclass
class Bill:
    """An order's lines, and what it bears besides."""

    lines: list[Sold] = field(default_factory=list)
    tax: Decimal = ZERO
    fees: Decimal = ZERO
    charge: Decimal = ZERO


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Money and counts of orders, payments, refunds and credits by business date, in major units."""
    merchant = next(iter(records.get("merchant", ())), {})
    settings = merchant.get("properties", {})
    usual = settings.get("defaultCurrency") or merchant.get("defaultCurrency") or sites.currency
    totals: dict[tuple[date, str], Totals] = defaultdict(lambda: defaultdict(Decimal))

    def day(record: Record, at: int) -> date:
        site = record.get("_context", {}).get("merchant", "")
        return sites.business_date(site, spelled(at, "epoch_ms"), settings.get("timezone", "UTC"), DAY_START)

    tests = {o["id"] for o in records.get("orders", ()) if o.get("testMode")}
    paid: dict[str, list[Record]] = defaultdict(list)
    for payment in records.get("payments", ()):
        if payment.get("result") in TAKEN:
            paid[_id(payment, "order")].append(payment)
    orders = {o["id"]: o for o in records.get("deleted_orders", ())}
    deleted = frozenset(orders)
    orders |= {o["id"]: o for o in records.get("orders", ())}
    open_ones, sold_on, bills = set(), dict[str, date](), dict[str, Bill]()
    for key, order in orders.items():
        if order.get("testMode") or (order.get("paymentState") == "CREDITED" and not paid[key]):
            continue
        status = "void" if key in deleted else _status(order, paid[key])
        when = max((_taken(p) for p in paid[key]), default=_taken(order)) if status == "completed" else _taken(order)
        bill = bills[key] = _bill(order, paid[key] if status == "completed" else None)
        sold_on[key] = day(order, when)
        into, currency = totals[sold_on[key], order.get("currency") or usual], order.get("currency") or usual
        if status == "open":
            open_ones.add(key)
        _order(order, status, bill, paid[key], currency, into)
    for voided in records.get("voided_lines", ()):
        line, key = voided["lineItem"], _id(voided["lineItem"], "orderRef")
        if key not in bills or line["id"] in {each["id"] for each in _elements(orders[key], "lineItems")}:
            continue  # the lines of a deleted order are on it as well
        if line.get("isRevenue", True):
            currency = orders[key].get("currency") or usual
            totals[sold_on[key], currency]["void_amount"] += _major(_untaxed(line, orders[key]), currency)
    for payment in records.get("payments", ()):
        key = _id(payment, "order")
        # what is paid on an open order is a deposit until it closes
        if payment.get("result") in TAKEN and key not in open_ones | tests:
            currency = orders.get(key, {}).get("currency") or usual
            when_paid = sold_on.get(key) or day(payment, _taken(payment))
            money = _major(Decimal(payment["amount"] + (payment.get("tipAmount") or 0)), currency)
            totals[when_paid, currency]["payments"] += money
    order_of = {p["id"]: _id(p, "order") for p in records.get("payments", ())}
    for refund in _gone(records.get("refunds", ()), "status"):
        key = _id(refund, "orderRef") or order_of.get(_id(refund, "payment"), "")
        currency = orders.get(key, {}).get("currency") or usual
        _refund(
            refund, orders.get(key, {}), bills.get(key, Bill()), currency, totals[day(refund, _taken(refund)), currency]
        )
    for credit in _gone(records.get("credits", ()), "result"):
        currency = orders.get(_id(credit, "orderRef"), {}).get("currency") or usual
        into = totals[day(credit, _taken(credit)), currency]
        amount, tax = Decimal(credit.get("amount") or 0), Decimal(credit.get("taxAmount") or 0)
        into["refunds"] += _major(amount, currency)
        into["tax"] -= _major(tax, currency)
        into["refund_unitemised"] += _major(amount - tax, currency)
    for (business_date, currency), sums in totals.items():
        for measure, amount in sums.items():
            yield Amount(business_date, currency, measure, amount)


def _status(order: Record, paid: Sequence[Record]) -> str:
    state = order.get("paymentState")
    if state in ("OPEN", "PARTIALLY_PAID"):
        return "open"
    if state or str(order.get("state", "")).lower() == "locked":
        return "completed"
    return "completed" if paid and sum(p["amount"] for p in paid) >= order.get("total", 0) else "open"


def _bill(order: Record, paid: Sequence[Record] | None) -> Bill:
    """The order by Clover's rules; `paid` are its payments once it is closed."""
    vat = bool(order.get("isVat"))
    bill = Bill()
    for line in _elements(order, "lineItems"):
        if line.get("exchanged") or line.get("isOrderFee"):
            continue
        rates = [] if order.get("taxRemoved") else _elements(line, "taxRates")
        sold = Sold(
            line["id"],
            len(_elements(line, "modifications")),
            line.get("isRevenue", True),
            _gross(line),
            sum((Decimal(r.get("rate") or 0) for r in rates), ZERO) / 10_000_000,
            sum((Decimal(r.get("taxAmount") or 0) for r in rates), ZERO),
        )
        own = _off(_elements(line, "discounts"), sold.gross)
        sold.left, sold.discount = sold.gross - own, own
        bill.lines.append(sold)
    subtotal = sum((s.left for s in bill.lines), ZERO)
    off = _off(_elements(order, "discounts"), subtotal)
    inside = [1 + s.rate if vat else Decimal(1) for s in bill.lines]
    for sold, part, divisor in zip(
        bill.lines, _spread(off, bill.lines, [s.left for s in bill.lines]), inside, strict=True
    ):
        sold.paid = sold.left - part
        sold.discount = _half_up(sold.discount / divisor) + _half_up(part / divisor)
    weights = [s.paid * s.rate / divisor + s.flat for s, divisor in zip(bill.lines, inside, strict=True)]
    told = [Decimal(p["taxAmount"]) for p in paid or () if p.get("taxAmount") is not None]
    bill.tax = sum(told, ZERO) if told else _by_rate(order, bill, inside)
    for sold, tax in zip(bill.lines, _spread(bill.tax, bill.lines, weights), strict=True):
        sold.tax = tax
        sold.net = sold.paid - (tax if vat else ZERO)
    charged = sum((s.paid for s in bill.lines), ZERO)
    for line in _elements(order, "lineItems"):
        if line.get("isOrderFee") and not line.get("exchanged"):
            rate = line.get("percentage")
            bill.fees += _gross(line) if rate is None else Decimal(rate) * charged / 1_000_000
    bill.fees = _half_up(bill.fees)
    charges = [Decimal(p["serviceCharge"]["amount"]) for p in paid or () if p.get("serviceCharge", {}).get("amount")]
    bill.charge = sum(charges, ZERO) if charges else _half_up(charged * _charge_rate(order))
    return bill


def _by_rate(order: Record, bill: Bill, inside: Sequence[Decimal]) -> Decimal:
    """The tax that the rates make, rounded for each of them."""
    sold = {s.id: (s.paid / divisor) for s, divisor in zip(bill.lines, inside, strict=True)}
    taxes: dict[str, Decimal] = defaultdict(Decimal)
    for line in _elements(order, "lineItems"):
        if line["id"] in sold and not order.get("taxRemoved"):
            for rate in _elements(line, "taxRates"):
                part = sold[line["id"]] * Decimal(rate.get("rate") or 0) / 10_000_000
                taxes[str(rate.get("id"))] += part + Decimal(rate.get("taxAmount") or 0)
    return sum((_half_up(tax) for tax in taxes.values()), ZERO)


def _charge_rate(order: Record) -> Decimal:
    charge = order.get("serviceCharge") or {}
    if charge.get("percentageDecimal") is not None:
        return Decimal(charge["percentageDecimal"]) / 1_000_000
    return Decimal(charge.get("percentage") or 0) / 100


def _gross(line: Record) -> Decimal:
    """Price times quantity, which is in thousandths, rounded; and the modifications."""
    quantity = line.get("unitQty")
    price = Decimal(line.get("price") or 0) * (Decimal(1) if quantity is None else Decimal(quantity) / 1000)
    return _half_up(price) + sum((Decimal(m.get("amount") or 0) for m in _elements(line, "modifications")), ZERO)


def _off(discounts: Iterable[Record], base: Decimal) -> Decimal:
    """What discounts take off: negative amounts, and percentages, each rounded by itself; never more than there is."""
    off = ZERO
    for discount in discounts:
        if discount.get("amount") is not None:
            off -= Decimal(discount["amount"])
        elif discount.get("percentageDecimal") is not None:
            off += _half_up(base * Decimal(discount["percentageDecimal"]) / 1_000_000)
        else:
            off += _half_up(base * Decimal(discount.get("percentage") or 0) / 100)
    return min(off, max(base, ZERO))


def _spread(amount: Decimal, lines: Sequence[Sold], weights: Sequence[Decimal]) -> list[Decimal]:
    """An amount over lines pro rata; what rounding leaves goes to the largest, of several the first by id."""
    whole = sum(weights, ZERO)
    if not whole:
        return [ZERO] * len(lines)
    parts = [_half_up(amount * weight / whole) for weight in weights]
    largest = min(range(len(lines)), key=lambda n: (-weights[n], lines[n].id))
    parts[largest] += amount - sum(parts, ZERO)
    return parts


def _order(order: Record, status: str, bill: Bill, paid: Sequence[Record], currency: str, into: Totals) -> None:
    """One order. Lines that were exchanged were not sold."""
    exchanged = [
        line for line in _elements(order, "lineItems") if line.get("exchanged") and line.get("isRevenue", True)
    ]
    into["void_amount"] += _major(sum((_untaxed(line, order) for line in exchanged), ZERO), currency)
    goods = [sold for sold in bill.lines if sold.is_revenue]
    if status == "void":
        into["void_amount"] += _major(sum((s.net + s.discount for s in goods), ZERO), currency)
    elif status == "open":
        into["open_sales"] += _major(sum((s.net for s in goods), ZERO), currency)
    else:
        into["gross_sales"] += _major(sum((s.net + s.discount for s in goods), ZERO), currency)
        into["discount"] += _major(sum((s.discount for s in goods), ZERO), currency)
        into["gift_card_sold"] += _major(sum((s.net for s in bill.lines if not s.is_revenue), ZERO), currency)
        into["tax"] += _major(bill.tax, currency)
        into["tip"] += _major(sum((Decimal(p.get("tipAmount") or 0) for p in paid), ZERO), currency)
        gratuity = bool((order.get("serviceCharge") or {}).get("isAutoApplied"))
        into["gratuity" if gratuity else "service_charge"] += _major(bill.charge, currency)
        into["service_charge"] += _major(bill.fees, currency)
        into["order_count"] += 1
        into["line_count"] += sum(1 + sold.modifications for sold in bill.lines)


def _untaxed(line: Record, order: Record) -> Decimal:
    """A line's gross without the tax that may be inside."""
    gross = _gross(line)
    if not order.get("isVat") or order.get("taxRemoved"):
        return gross
    rate = sum((Decimal(r.get("rate") or 0) for r in _elements(line, "taxRates")), ZERO) / 10_000_000
    return gross - _half_up(gross * rate / (1 + rate))


def _refund(refund: Record, order: Record, bill: Bill, currency: str, into: Totals) -> None:
    """Money given back: the lines it names are itemised, and so are tax, tip and charge; the rest is not."""
    named = {line["id"] for line in _elements(refund, "lineItems")}
    back = [sold for sold in bill.lines if sold.id in named]
    returns = sum((s.net for s in back if s.is_revenue), ZERO)
    cards = sum((s.net for s in back if not s.is_revenue), ZERO)
    told = refund.get("taxAmount")
    tax = Decimal(told) if told is not None else sum((s.tax for s in back), ZERO)
    tip = Decimal(refund.get("tipAmount") or 0)
    charge = Decimal((refund.get("serviceChargeAmount") or {}).get("amount") or 0)
    amount = Decimal(refund.get("amount") or 0)
    gratuity = bool((order.get("serviceCharge") or {}).get("isAutoApplied"))
    into["refunds"] += _major(amount, currency)
    into["returns"] += _major(returns, currency)
    into["gift_card_sold"] -= _major(cards, currency)
    into["tax"] -= _major(tax, currency)
    into["tip"] -= _major(tip, currency)
    into["gratuity" if gratuity else "service_charge"] -= _major(charge, currency)
    into["refund_unitemised"] += _major(amount - returns - cards - tax - tip - charge, currency)


def _gone(given_back: Iterable[Record], state: str) -> Iterator[Record]:
    """Refunds or credits whose money has gone."""
    return (r for r in given_back if not r.get("voided") and r.get(state) in (None, "SUCCESS"))


def _taken(record: Record) -> int:
    """When it happened on the device; the server's time where that is not told."""
    return int(record.get("clientCreatedTime") or record["createdTime"])


def _elements(record: Record, name: str) -> list[Record]:
    found: Any = (record.get(name) or {}).get("elements")
    return found if isinstance(found, list) else []


def _id(record: Record, name: str) -> str:
    return str((record.get(name) or {}).get("id") or "")


def _half_up(minor: Decimal) -> Decimal:
    return minor.quantize(Decimal(1), ROUND_HALF_UP)


def _major(minor: Decimal, currency: str) -> Decimal:
    return from_minor({"amount": minor, "currency": currency})
