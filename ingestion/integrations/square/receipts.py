"""What Square's own records add up to, for reconciliation.

Read from Square's definitions of Order, Return, PaymentRefund and Timecard alone; shares nothing with staging or the
marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from reconcile.hours import DAY_START, cost, hours_by_date
from reconcile.model import Amount, Record, Sites
from reconcile.money import from_minor, rounded
from reconcile.reader import instant

# Where Square takes a tax that is inside the price out of `gross_sales_money` itself; elsewhere it is still in there.
TAX_IS_OUT = ("US", "CA", "JP")
Totals = dict[str, Decimal]
BusinessDate = Callable[[str, str | None], date]


class Line(NamedTuple):
    """One line before tax."""

    kind: str
    gross: Decimal
    discount: Decimal


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Money and counts of orders, payments and refunds, and hours worked, by business date, in major units."""
    places = {location["id"]: location for location in records.get("locations", ())}

    def business_date(site: str, at: str | None) -> date:
        return sites.business_date(site, instant(at), places.get(site, {}).get("timezone", "UTC"), DAY_START)

    totals: dict[tuple[date, str], Totals] = defaultdict(lambda: defaultdict(Decimal))
    sold_on: dict[str, date] = {}
    returned_on: dict[str, date] = {}
    is_open = set()
    gratuities = {
        (order["id"], charge.get("uid"))
        for order in records.get("orders", ())
        for charge in order.get("service_charges", ())
        if charge.get("type") == "AUTO_GRATUITY"
    }
    for order in records.get("orders", ()):
        day = business_date(order["location_id"], order.get("closed_at") or order["created_at"])
        into = totals[day, _currency(order)]
        state = order.get("state")
        if order.get("line_items") or order.get("service_charges") or not order.get("returns"):
            country = places.get(order["location_id"], {}).get("country")
            lines = [_line(order, line, country in TAX_IS_OUT) for line in order.get("line_items", ())]
            goods = [line for line in lines if line.kind == "goods"]
            if state in ("COMPLETED", "OPEN", "CANCELED"):
                sold_on[order["id"]] = day
            if state == "COMPLETED":
                _sale(order, lines, into)
            elif state == "OPEN":
                is_open.add(order["id"])
                into["open_sales"] += sum((line.gross - line.discount for line in goods), Decimal(0))
            elif state == "CANCELED":
                into["void_amount"] += sum((line.gross for line in goods), Decimal(0))
        if state == "COMPLETED" and order.get("returns"):
            returned_on[order["id"]] = day
            for part in order["returns"]:
                _return(part, gratuities, into)
    for payment in records.get("payments", ()):
        # What is paid on an open order is a deposit until the order closes.
        if payment["status"] == "COMPLETED" and payment.get("order_id") not in is_open:
            day = sold_on.get(payment.get("order_id", "")) or business_date(
                payment["location_id"], payment["created_at"]
            )
            totals[day, payment["total_money"]["currency"]]["payments"] += from_minor(payment["total_money"])
    for refund in records.get("refunds", ()):
        returned = returned_on.get(refund.get("order_id", ""))
        # A pending refund whose return order is there only waits for the bank.
        if refund["status"] == "COMPLETED" or (refund["status"] == "PENDING" and returned):
            day = returned or business_date(refund["location_id"], refund["created_at"])
            into = totals[day, refund["amount_money"]["currency"]]
            into["refunds"] += from_minor(refund["amount_money"])
            if not returned:
                into["refund_unitemised"] += from_minor(refund["amount_money"])
    for (day, currency), sums in totals.items():
        for measure, amount in sums.items():
            yield Amount(day, currency, measure, amount)
    yield from _labour(records, sites, business_date, now)


def _currency(order: Record) -> str:
    money = order.get("total_money") or order.get("return_amounts", {}).get("total_money") or {}
    return str(money.get("currency", "USD"))


def _line(order: Record, line: Record, tax_is_out: bool) -> Line:
    """A line's gross and discount before tax.

    A tax still inside the price is taken out by Square's own amount; a discount given on such a price is worth less
    before tax, by the rates of the taxes in it.
    """
    kind = {"GIFT_CARD": "gift_card", "DONATION": "donation"}.get(line.get("item_type", ""), "goods")
    gross, discount = from_minor(line.get("gross_sales_money")), from_minor(line.get("total_discount_money"))
    inclusive = {t["uid"]: t for t in order.get("taxes", ()) if t.get("type") == "INCLUSIVE"}
    inside = [t for t in line.get("applied_taxes", ()) if t.get("tax_uid") in inclusive]
    if tax_is_out or not inside:
        return Line(kind, gross, discount)
    tax = sum((from_minor(t.get("applied_money")) for t in inside), Decimal(0))
    rate = sum((Decimal(inclusive[t["tax_uid"]].get("percentage", 0)) for t in inside), Decimal(0)) / 100
    given = [from_minor(d.get("applied_money")) for d in line.get("applied_discounts", ())] or [discount]
    currency = line["total_money"]["currency"]
    before_tax = sum((rounded(amount / (1 + rate), currency) for amount in given), Decimal(0))
    return Line(kind, gross - discount - tax + before_tax, before_tax)


def _sale(order: Record, lines: Sequence[Line], into: Totals) -> None:
    for line in lines:
        if line.kind == "gift_card":
            into["gift_card_sold"] += line.gross - line.discount
        elif line.kind == "donation":
            into["donations"] += line.gross - line.discount
        else:
            into["gross_sales"] += line.gross
            into["discount"] += line.discount
    into["tax"] += from_minor(order.get("total_tax_money"))
    into["tip"] += from_minor(order.get("total_tip_money"))
    into["rounding"] += from_minor(order.get("rounding_adjustment", {}).get("amount_money"))
    for charge in order.get("service_charges", ()):
        kind = "gratuity" if charge.get("type") == "AUTO_GRATUITY" else "service_charge"
        into[kind] += _charge(charge)
    into["order_count"] += 1
    into["line_count"] += sum(1 + len(line.get("modifiers", ())) for line in order.get("line_items", ()))


def _charge(charge: Record) -> Decimal:
    """A service charge without its tax: the order's tax has that already."""
    return from_minor(charge.get("total_money") or charge.get("applied_money")) - from_minor(
        charge.get("total_tax_money")
    )


def _return(part: Record, gratuities: set[tuple[str, str]], into: Totals) -> None:
    """One return. A returned charge does not say what it was: the order that charged it does."""
    for line in part.get("return_line_items", ()):
        total, tax = from_minor(line["total_money"]), from_minor(line.get("total_tax_money"))
        if line.get("item_type") == "CUSTOM_AMOUNT" and not line.get("source_line_item_uid"):
            into["refund_unitemised"] += total
            continue
        into["tax"] -= tax
        if line.get("item_type") == "GIFT_CARD":
            into["gift_card_sold"] -= total - tax
        elif line.get("item_type") == "DONATION":
            into["donations"] -= total - tax
        else:
            into["returns"] += total - tax
    for charge in part.get("return_service_charges", ()):
        sold = (part.get("source_order_id"), charge.get("source_service_charge_uid"))
        into["gratuity" if sold in gratuities else "service_charge"] -= _charge(charge)
        into["tax"] -= from_minor(charge.get("total_tax_money"))
    for tip in part.get("return_tips", ()):
        into["tip"] -= from_minor(tip["applied_money"])
    into["rounding"] -= from_minor(part.get("rounding_adjustment", {}).get("amount_money"))


def _labour(
    records: Mapping[str, Sequence[Record]], sites: Sites, business_date: BusinessDate, now: datetime
) -> Iterator[Amount]:
    """Timecards at the wage that each bears, else at the present rate of its job.

    A salaried job costs nothing by the hour. Zero is how Square writes that no rate was set.
    """
    jobs: dict[tuple[str, str | None], tuple[date, Record]] = {}
    for member in records.get("team_members", ()):
        setting = member.get("wage_setting") or {}
        for job in setting.get("job_assignments") or ():
            key = member["id"], job.get("job_id") or job.get("job_title") or ""
            jobs[key] = instant(setting["created_at"]).astimezone(UTC).date(), job
    for card in records.get("timecards", ()):
        site, wage = card["location_id"], card.get("wage") or {}
        since, job = jobs.get((card["team_member_id"], wage.get("job_id") or wage.get("title")), (date.max, {}))

        def date_of(at: datetime, site: str = site) -> date:
            return business_date(site, at.isoformat())

        unpaid = [
            (instant(rest["start_at"]), instant(rest["end_at"]) if rest.get("end_at") else None)
            for rest in card.get("breaks") or ()
            if not rest.get("is_paid")
        ]
        began, ended = instant(card["start_at"]), instant(card["end_at"]) if card.get("end_at") else None
        yield Amount(date_of(began), "", "shift_count", Decimal(1))
        for day, hours in hours_by_date(began, ended, unpaid, now, date_of).items():
            yield Amount(day, "", "hours", hours)
            present = job if since <= day else {}
            salaried = present.get("pay_type") == "SALARY" and from_minor(present.get("annual_rate")) > 0
            rate = wage.get("hourly_rate") or {}
            if not from_minor(rate) and present.get("pay_type") == "HOURLY":
                rate = present.get("hourly_rate") or {}
            if salaried or from_minor(rate):
                yield Amount(day, "", "costed_hours", hours)
            if from_minor(rate) and not salaried:
                yield Amount(day, rate["currency"], "base_cost", cost(hours, from_minor(rate)))
