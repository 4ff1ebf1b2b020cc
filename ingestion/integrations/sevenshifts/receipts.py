"""What the punches of 7shifts add up to, for reconciliation.

Read from 7shifts' definitions of time punches, breaks and wages alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

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
    """Shifts, hours worked and what they cost at the hourly wages in force, by business date.

    A shift counts on the date of its clock-in; its hours and their cost on the dates on which they were worked.
    Hours without a known hourly wage cost nothing here and are `hours_without_wage`; salaries are in no punch.
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
            hours = seconds / HOUR
            totals[day, "", "hours"] += hours
            cents = _hourly_cents(wages[str(punch["user_id"])], punch.get("role_id"), day)
            if cents is None:
                totals[day, "", "hours_without_wage"] += hours
            else:
                totals[day, "USD", "labour_cost"] += seconds * cents / HOUR / 100
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


def _hourly_cents(wages: Sequence[Record], role: int | None, day: date) -> Decimal | None:
    """Cents an hour in force on a date; the wage of the role goes before the one for any role."""
    for wanted in (role, None):
        known = [w for w in wages if w["role_id"] == wanted and date.fromisoformat(w["effective_date"]) <= day]
        if known:
            latest = max(known, key=lambda w: (w["effective_date"], w["id"]))
            return Decimal(latest["wage_cents"]) if latest["wage_type"] == "hourly" else None
    return None
