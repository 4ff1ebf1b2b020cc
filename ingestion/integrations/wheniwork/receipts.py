"""What the times of When I Work add up to, for reconciliation.

Read from When I Work's definitions of times, breaks and users alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

from reconcile.hours import DAY_START, cost, hours_by_date
from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant

UNPAID, SALARIED = 2, 2
"""The type of a break; the bit of a user's type."""


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Times, hours worked and what they cost at the base rate before any premium, by business date.

    The rate is that of the time, else the user's present one. Amounts are in the business's own currency.
    """
    zones = {str(place["id"]): place["_context"]["time_zone"] or "UTC" for place in records.get("locations", ())}
    rates = {
        user["id"]: Decimal(user.get("hourly_rate") or 0)
        for user in records.get("users", ())
        if not int(user.get("type") or 0) & SALARIED
    }
    breaks = defaultdict(list)
    for rest in records.get("shift_breaks", ()):
        if rest["type"] == UNPAID:
            breaks[rest["timeId"]].append(rest)
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for worked in records.get("times", ()):
        site = str(worked["location_id"])

        def date_of(at: datetime, site: str = site) -> date:
            return sites.business_date(site, at, zones.get(site, "UTC"), DAY_START)

        began = _moment(worked["start_time"])
        ended = _moment(worked["end_time"]) if worked.get("end_time") else None
        rate = Decimal(worked.get("hourly_rate") or 0) or rates.get(worked["user_id"], Decimal(0))
        totals[date_of(began), "", "shift_count"] += 1
        for day, hours in hours_by_date(began, ended, _unpaid(breaks[worked["id"]], began), now, date_of).items():
            totals[day, "", "hours"] += hours
            if rate:
                totals[day, "", "costed_hours"] += hours
                totals[day, sites.currency, "base_cost"] += cost(hours, rate)
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _moment(text: str) -> datetime:
    """A time as RFC 2822 writes it."""
    return parsedate_to_datetime(text)


def _unpaid(breaks: Sequence[Record], began: datetime) -> list[tuple[datetime, datetime | None]]:
    """Punched breaks where they were; those that have only a length, one after the other from the begin."""
    spans: list[tuple[datetime, datetime | None]] = []
    at = began
    for rest in breaks:
        if rest.get("start"):
            spans.append((instant(rest["start"]), instant(rest["end"]) if rest.get("end") else None))
        else:
            spans.append((at, at + timedelta(minutes=int(rest["length"]))))
            at += timedelta(minutes=int(rest["length"]))
    return spans
