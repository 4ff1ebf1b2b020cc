"""What the punches of 7shifts add up to, for reconciliation.

Read from 7shifts' definitions of time punches, breaks and wages alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from reconcile.hours import DAY_START, cost, hours_by_date
from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant

NEVER = "0000-00-00 00:00:00"
"""How the older API writes the missing end of an open punch."""


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Shifts, hours worked and what they cost at the wages in force before any overtime premium, by business date.

    A shift counts on the date of its clock-in; its hours and their cost on the dates on which they were worked.
    7shifts gives wages without a currency: they are in the business's own. Salaried hours cost nothing by the hour, yet
    their cost is known; `costed_hours` are those with any wage at all.
    """
    zones = {str(location["id"]): location.get("timezone") or "UTC" for location in records.get("locations", ())}
    wages = defaultdict(list)
    for wage in records.get("wages", ()):
        wages[str(wage["_context"]["user_id"])].append(wage)
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for punch in records.get("time_punches", ()):
        if punch.get("deleted"):
            continue
        site = str(punch["location_id"])

        def date_of(at: datetime, site: str = site) -> date:
            return sites.business_date(site, at, zones.get(site, "UTC"), DAY_START)

        began = instant(punch["clocked_in"])
        unpaid = [
            (instant(rest["in"]), _end(rest.get("out")))
            for rest in punch.get("breaks") or ()
            if not rest["paid"] and not rest.get("deleted")
        ]
        totals[date_of(began), "", "shift_count"] += 1
        for day, hours in hours_by_date(began, _end(punch.get("clocked_out")), unpaid, now, date_of).items():
            totals[day, "", "hours"] += hours
            pay = _in_force(wages[str(punch["user_id"])], punch.get("role_id"), day)
            if pay is None:
                continue
            totals[day, "", "costed_hours"] += hours
            if pay["wage_type"] == "hourly":
                totals[day, sites.currency, "base_cost"] += cost(hours, Decimal(pay["wage_cents"]) / 100)
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _end(text: str | None) -> datetime | None:
    return instant(text) if text and text != NEVER else None


def _in_force(wages: Sequence[Record], role: int | None, day: date) -> Record | None:
    """The wage in force on a date; one for the role goes before one for any role."""
    for wanted in (role, None):
        known = [w for w in wages if w["role_id"] == wanted and date.fromisoformat(w["effective_date"]) <= day]
        if known:
            return max(known, key=lambda w: (w["effective_date"], w["id"]))
    return None
