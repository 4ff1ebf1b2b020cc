"""What the punches of 7shifts add up to, for reconciliation.

Read from 7shifts' definitions of time punches, breaks and wages alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant

DAY_START = timedelta(hours=4)
"""7shifts knows no day start: the small hours belong to the evening before, unless the location's settings say else."""
LONGEST_OPEN = timedelta(hours=16)
SECOND = timedelta(seconds=1)
HOUR = Decimal(3600)
NEVER = "0000-00-00 00:00:00"
"""How the older API writes the missing end of an open punch."""
Span = tuple[datetime, datetime]


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Shifts, hours worked and what they cost at the wages in force before any overtime premium, by business date.

    A shift counts on the date of its clock-in; its hours and their cost on the dates on which they were worked.
    7shifts gives wages without a currency: they are in the business's own. Salaried hours cost nothing by the hour, yet
    their cost is known; `costed_hours` are those with any wage at all.
    Hours of a shift on a day are held to 6 decimals, their cost to 4, each rounded half up.
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
        zone = zones.get(site, "UTC")
        began = instant(punch["clocked_in"])
        totals[sites.business_date(site, began, zone, DAY_START), "", "shift_count"] += 1
        for day, seconds in _worked(punch, sites, site, zone, now).items():
            hours = (seconds / HOUR).quantize(Decimal("1e-6"), ROUND_HALF_UP)
            totals[day, "", "hours"] += hours
            pay = _in_force(wages[str(punch["user_id"])], punch.get("role_id"), day)
            if pay is None:
                continue
            totals[day, "", "costed_hours"] += hours
            if pay["wage_type"] == "hourly":
                cost = hours * Decimal(pay["wage_cents"]) / 100
                totals[day, sites.currency, "base_cost"] += cost.quantize(Decimal("1e-4"), ROUND_HALF_UP)
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _worked(punch: Record, sites: Sites, site: str, zone: str, now: datetime) -> dict[date, Decimal]:
    """Seconds worked by business date: the punch without its unpaid breaks."""
    began, ended = instant(punch["clocked_in"]), _end(punch.get("clocked_out"))
    ended = ended or min(now, began + LONGEST_OPEN)
    unpaid = [
        (instant(rest["in"]), _end(rest.get("out")) or ended)
        for rest in punch.get("breaks") or ()
        if not rest["paid"] and not rest.get("deleted")
    ]
    seconds: dict[date, Decimal] = defaultdict(Decimal)
    for start, end in _without((began, ended), unpaid):
        while start < end:
            day = sites.business_date(site, start, zone, DAY_START)
            until = _first_not_on(day, start, end, lambda at: sites.business_date(site, at, zone, DAY_START))
            seconds[day] += Decimal(int((until - start) / SECOND))
            start = until
    return seconds


def _end(text: str | None) -> datetime | None:
    return instant(text) if text and text != NEVER else None


def _without(span: Span, holes: Sequence[Span]) -> Iterator[Span]:
    """What is left of a span without the holes, which may overlap each other and its ends."""
    at, end = span
    for begins, ends in sorted(holes):
        if begins > at:
            yield at, min(begins, end)
        at = max(at, ends)
        if at >= end:
            return
    if at < end:
        yield at, end


def _first_not_on(day: date, start: datetime, end: datetime, date_of: Callable[[datetime], date]) -> datetime:
    """The first second after `start` that is not on business date `day` any more, or `end`."""
    if date_of(end - SECOND) == day:
        return end
    low, high = 0, int((end - start) / SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if date_of(start + middle * SECOND) == day:
            low = middle
        else:
            high = middle
    return start + high * SECOND


def _in_force(wages: Sequence[Record], role: int | None, day: date) -> Record | None:
    """The wage in force on a date; one for the role goes before one for any role."""
    for wanted in (role, None):
        known = [w for w in wages if w["role_id"] == wanted and date.fromisoformat(w["effective_date"]) <= day]
        if known:
            return max(known, key=lambda w: (w["effective_date"], w["id"]))
    return None
