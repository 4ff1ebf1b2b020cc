"""What mapped rows of files and databases add up to, for reconciliation.

Read from what a mapping may fill (`entities.yml`) and the meaning of each measure alone; shares nothing with staging or
the marts. `columns` of a record hold exact decimals as text, times in UTC and dates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from reconcile.hours import DAY_START, cost, hours_by_date
from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant

_FOUR = timedelta(hours=4)
_PRODUCTS = ("item", "modifier", "custom_amount")
_RETURNED = {
    "returns": "returns", "refund_unitemised": "refund_unitemised", "tax_returned": "tax", "tip_returned": "tip",
    "service_charge_returned": "service_charge", "gratuity_returned": "gratuity",
    "gift_card_returned": "gift_card_sold", "donations_returned": "donations", "rounding_returned": "rounding",
}  # fmt: skip
_MAILS = {
    "sent_count": "mails_sent", "bounce_count": "mails_back", "unique_open_count": "mails_opened",
    "unique_click_count": "mails_clicked", "unsubscribe_count": "mails_left", "attributed_orders": "mail_orders",
}  # fmt: skip
Totals = dict[tuple[date, str, str], Decimal]


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Sales, refunds, payments, hours, spend, reviews and mailings of one source, by business date."""
    rows = {name: [(str(record["key"]), record["columns"]) for record in found] for name, found in records.items()}
    totals: Totals = defaultdict(Decimal)
    places = dict(rows.get("location", ()))

    def day_of(columns: Mapping[str, Any], at: str) -> date:
        if columns.get("vendor_business_date"):
            return date.fromisoformat(columns["vendor_business_date"])
        return _day(sites, places, str(columns["location_key"]), instant(columns[at]), _FOUR)

    _sales(rows, day_of, totals)
    for _, columns in rows.get("payment", ()):
        if columns["payment_status"] == "completed":
            paid = _number(columns, "amount") + _number(columns, "tip")
            totals[day_of(columns, "paid_at"), columns["currency"], "payments"] += paid
    for _, columns in rows.get("refund", ()):
        day, currency = day_of(columns, "refunded_at"), columns["currency"]
        totals[day, currency, "refunds"] += _number(columns, "amount_refunded")
        for name, measure in _RETURNED.items():
            kept = 1 if measure in ("returns", "refund_unitemised") else -1
            totals[day, currency, measure] += kept * _number(columns, name)
    _shifts(rows, sites, places, now, totals)
    _guests_and_ads(rows, sites, places, totals)
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _sales(rows: Mapping[str, Any], day_of: Any, totals: Totals) -> None:
    lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for _, columns in rows.get("sale_item", ()):
        lines[columns["sale_key"]].append(columns)
    for key, sale in rows.get("sale", ()):
        day, currency, status = day_of(sale, "counted_at"), sale["currency"], sale["sale_status"]
        of_lines = Decimal(0)
        for line in lines[key]:
            amount, discount = _number(line, "amount"), _number(line, "discount")
            of_lines += _number(line, "tax_included") + _number(line, "tax_added")
            product = line["line_type"] in _PRODUCTS
            if line["is_void"] or status == "void":
                totals[day, currency, "void_amount"] += amount if product else 0
            elif status == "open":
                totals[day, currency, "open_sales"] += amount - discount if product else 0
            elif product:
                totals[day, currency, "gross_sales"] += amount
                totals[day, currency, "discount"] += discount
            else:
                kind = "gift_card_sold" if line["line_type"] == "gift_card" else "donations"
                totals[day, currency, kind] += amount - discount
            if status == "completed" and not line["is_void"]:
                totals[day, currency, "line_count"] += 1
        if status == "completed":
            totals[day, currency, "order_count"] += 1
            totals[day, currency, "tax"] += _number(sale, "tax") if "tax" in sale else of_lines
            for measure in ("service_charge", "gratuity", "tip", "rounding"):
                totals[day, currency, measure] += _number(sale, measure)


def _shifts(rows: Mapping[str, Any], sites: Sites, places: Mapping[str, Any], now: datetime, totals: Totals) -> None:
    wages: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for _, columns in rows.get("wage", ()):
        wages[columns["employee_key"]].append(columns)
    for _, shift in rows.get("shift", ()):
        site = str(shift["location_key"])

        def date_of(at: datetime, site: str = site) -> date:
            return _day(sites, places, site, at, DAY_START)

        began, ended = instant(shift["clocked_in_at"]), shift.get("clocked_out_at")
        totals[date_of(began), "", "shift_count"] += 1
        for day, hours in hours_by_date(began, instant(ended) if ended else None, [], now, date_of).items():
            totals[day, "", "hours"] += hours
            own = shift.get("hourly_wage")
            pay = (
                {"hourly_wage": own, **shift}
                if own is not None
                else _in_force(wages[shift["employee_key"]], shift, day)
            )
            if pay is None:
                continue
            totals[day, "", "costed_hours"] += hours
            if pay.get("hourly_wage") is not None:
                money = str(pay.get("currency") or sites.currency)
                totals[day, money, "base_cost"] += cost(hours, _number(pay, "hourly_wage"))


def _guests_and_ads(rows: Mapping[str, Any], sites: Sites, places: Mapping[str, Any], totals: Totals) -> None:
    for _, columns in rows.get("ad_spend", ()):
        day, currency = date.fromisoformat(columns["spend_date"]), columns["currency"]
        for measure in ("spend", "claimed_purchase_value"):
            totals[day, currency, measure] += _number(columns, measure)
        for measure in ("impressions", "clicks", "claimed_purchases"):
            totals[day, "", measure] += _number(columns, measure)
    for _, columns in rows.get("review", ()):
        day = _day(sites, places, str(columns["location_key"]), instant(columns["reviewed_at"]), _FOUR)
        totals[day, "", "reviews"] += 1
        totals[day, "", "stars"] += _number(columns, "rating")
        totals[day, "", "reviews_answered"] += 1 if columns.get("replied_at") else 0
    for _, columns in rows.get("mailing", ()):
        day = date.fromisoformat(columns["sent_on"])
        totals[day, columns.get("currency") or "", "mail_revenue"] += _number(columns, "attributed_revenue")
        for name, measure in _MAILS.items():
            totals[day, "", measure] += _number(columns, name)


def _day(sites: Sites, places: Mapping[str, Any], site: str, at: datetime, usual: timedelta) -> date:
    """The business date by the source's own word for the site, else by what holds there."""
    place = places.get(site, {})
    if not place.get("timezone"):
        return sites.settled_date(site, at)
    starts = place.get("day_start")
    hours, minutes = (int(part) for part in starts.split(":")[:2]) if starts else (0, 0)
    own = timedelta(hours=hours, minutes=minutes) if starts else usual
    return sites.business_date(site, at, place["timezone"], own)


def _in_force(wages: Sequence[Mapping[str, Any]], shift: Mapping[str, Any], day: date) -> Mapping[str, Any] | None:
    for role in (shift.get("role_key"), None):
        known = [
            wage for wage in wages
            if wage.get("role_key") == role and date.fromisoformat(wage["effective_on"]) <= day
        ]  # fmt: skip
        if known:
            return max(known, key=lambda wage: str(wage["effective_on"]))
    return None


def _number(columns: Mapping[str, Any], name: str) -> Decimal:
    return Decimal(str(columns.get(name) or 0))
