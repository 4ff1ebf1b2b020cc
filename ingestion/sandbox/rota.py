"""Who was clocked in when: derived from the orders of each site and half day, then made as untidy as life is.

A shift lead works long weekdays (an overtime week), a crew as large as the half day's orders need, a salaried manager
office hours, a bartender until half past two where guests stay after midnight, and someone cleans through the night
from Saturday to Sunday, over every clock change. Each day, at each company, one clock-out is corrected and one doubled
punch deleted on the next day; at the two companies in turn somebody forgets to clock out, is clocked out by the system
after 20 hours, and corrected after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import ceil

from ingestion.sandbox.staff import BAR, CLEANING, CREW, FULL_TIME, LEAD, MANAGER, Person
from ingestion.sandbox.trade import Site, between, draw, local

MINUTE = timedelta(minutes=1)
AUTO_CLOCK_OUT = timedelta(hours=20)
A_DAY = timedelta(days=1)  # at whatever hour the sandbox's clock stands, the next day shows a correction and a deletion
SATURDAY, MIDNIGHT = 5, 24


@dataclass(frozen=True)
class Break:
    """A break that ended at `end`; `deleted` when it was recorded by mistake."""

    start: datetime
    end: datetime
    paid: bool
    deleted: bool = False


@dataclass(frozen=True)
class Correction:
    """The clock-out that a manager wrote at `at` in place of the recorded one."""

    at: datetime
    clocked_out: datetime
    note: str


@dataclass(frozen=True)
class Punch:
    """A shift worked, with what happened to its record later. All instants are UTC."""

    person: Person
    site: str
    role: int
    clocked_in: datetime
    clocked_out: datetime
    approved_at: datetime
    wage: int
    breaks: tuple[Break, ...] = ()
    note: str = ""
    automatic: bool = False
    correction: Correction | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True)
class Slot:
    """A place to fill, in minutes of wall clock after midnight of the day."""

    site: Site
    role: int
    start: int
    end: int


Slots = Callable[[Site, date], Iterable[Slot]]


def rota(sites: Sequence[Site], people: Sequence[Person], slots: Slots) -> list[Punch]:
    """Every punch of a company by clock-in. `slots` are the places of a site on a day, those that matter most first."""
    days = sorted({day for site in sites for day in site.orders})
    shifts_this_week: dict[int, int] = {}
    punches: list[Punch] = []
    for day in days:
        if day.weekday() == 0:
            shifts_this_week.clear()
        today = [_punch(slot, person, day) for slot, person in _staffed(day, sites, people, slots, shifts_this_week)]
        punches += _untidy(today, day)
    return sorted(punches, key=lambda p: (p.clocked_in, p.person.number))


def shop(capacity: int) -> Slots:
    """The places of a shop. `capacity` is how many orders one of the crew handles in half a day."""
    return partial(_shop, capacity)


def _shop(capacity: int, site: Site, day: date) -> Iterator[Slot]:
    opens, closes = site.hours
    middle = (opens + closes) // 2
    if day.weekday() < SATURDAY:
        yield Slot(site, MANAGER, 8 * 60, 17 * 60)
        yield Slot(site, LEAD, opens * 60 - 15, opens * 60 + 9 * 60 + 30)
    for _ in range(max(1, ceil(site.count(day, 0, middle) / capacity))):
        yield Slot(site, CREW, opens * 60 - 15, middle * 60 + 30)
    for _ in range(max(1, ceil(site.count(day, middle, closes) / capacity))):
        yield Slot(site, CREW, middle * 60 - 15, closes * 60 + 30)
    if site.count(day, MIDNIGHT):
        yield Slot(site, BAR, 17 * 60 + 15, 26 * 60 + 30)
    if day.weekday() == SATURDAY:
        yield Slot(site, CLEANING, 22 * 60, 30 * 60)


def _staffed(
    day: date, sites: Sequence[Site], people: Sequence[Person], slots: Slots, shifts_this_week: dict[int, int]
) -> Iterator[tuple[Slot, Person]]:
    """The day's places with somebody in each: nobody twice a day, and a sixth shift only if nobody else is left."""
    taken: set[int] = set()
    for site in sites:
        if not site.count(day):
            continue
        team = [p for p in people if site.name in p.sites]
        leads = [p for p in team if p.kind == "asst_manager"]
        for slot in slots(site, day):
            if slot.role == MANAGER:
                candidates = [p for p in team if p.kind == "manager"]
            elif slot.role == LEAD:
                candidates = leads
            else:
                crew = [p for p in team if p.kind == "employee"]
                role = slot.role
                candidates = sorted(crew, key=lambda p: (not p.is_paid_for(role), draw("who", day, p.number)))
            free = [p for p in candidates if p.number not in taken]
            rested = [p for p in free if shifts_this_week.get(p.number, 0) < p.weekly_shifts]
            willing = [p for p in free if p.weekly_shifts == FULL_TIME]
            for person in (rested or willing)[:1]:
                taken.add(person.number)
                shifts_this_week[person.number] = shifts_this_week.get(person.number, 0) + 1
                yield slot, person


def _punch(slot: Slot, person: Person, day: date) -> Punch:
    key = (person.number, day, slot.role)
    zone = slot.site.zone
    clocked_in = local(day, slot.start + between(-6, 4, "in", *key), zone).astimezone(UTC)
    clocked_out = local(day, slot.end + between(-5, 12, "out", *key), zone).astimezone(UTC)
    monday = day + timedelta(days=7 - day.weekday())
    return Punch(
        person,
        slot.site.name,
        slot.role,
        clocked_in,
        clocked_out,
        approved_at=local(monday, 10 * 60, zone).astimezone(UTC),
        wage=person.hourly_wage(slot.role, day),
        breaks=tuple(_breaks(clocked_in, clocked_out, key)),
        note="Deep clean" if slot.role == CLEANING else "",
    )


def _breaks(clocked_in: datetime, clocked_out: datetime, key: tuple[object, ...]) -> Iterator[Break]:
    worked = clocked_out - clocked_in
    if worked < timedelta(hours=6):
        return
    start = clocked_in + (worked // 2 // MINUTE) * MINUTE + between(-20, 20, "break", *key) * MINUTE
    yield Break(start, start + between(28, 33, "rest", *key) * MINUTE, paid=False)
    if draw("coffee", *key) < 0.4:
        yield Break(start + 95 * MINUTE, start + 105 * MINUTE, paid=True)
    if draw("slip", *key) < 0.03:
        yield Break(start + 60 * MINUTE, start + 75 * MINUTE, paid=False, deleted=True)


def _untidy(today: Sequence[Punch], day: date) -> Iterator[Punch]:
    """The day's punches with their mishaps: one corrected, one doubled and deleted, at times one forgotten."""
    hourly = [p for p in today if p.role == CREW]
    company = today[0].person.number // 100000 if today else 0
    for punch in today:
        fate = hourly.index(punch) if punch in hourly else None
        if fate == 0:
            wrong = punch.clocked_out + between(35, 75, "wrong", company, day) * MINUTE
            note = Correction(wrong + A_DAY, punch.clocked_out, "Clock-out corrected by manager")
            yield replace(punch, clocked_out=wrong, correction=note)
        elif fate == len(hourly) - 1 and (day.toordinal() + company) % 2 == 0:
            forgotten = punch.clocked_in + AUTO_CLOCK_OUT
            note = Correction(forgotten + timedelta(hours=8), punch.clocked_out, "Forgot to clock out")
            yield replace(punch, clocked_out=forgotten, automatic=True, correction=note)
        else:
            yield punch
    if hourly:
        double = hourly[between(0, len(hourly) - 1, "double", company, day)]
        out = double.clocked_in + 50 * MINUTE
        gone = double.clocked_in + A_DAY
        again = double.clocked_in + 2 * MINUTE
        yield replace(double, clocked_in=again, clocked_out=out, breaks=(), deleted_at=gone, note="Duplicate punch")


@dataclass(frozen=True)
class Seen:
    """A punch as anybody sees it at a moment: still open, on a break, corrected, approved or deleted by then."""

    breaks: tuple[tuple[int, Break, datetime | None], ...]  # number, break, its end if it is over
    clocked_out: datetime | None
    note: str
    automatic: bool
    approved: bool
    deleted: bool
    modified: datetime


def seen(punch: Punch, now: datetime) -> Seen:
    """What has happened to a punch up to `now`, which is not before its clock-in."""
    happened = [punch.clocked_in]
    breaks = []
    for n, rest in enumerate(punch.breaks):
        if rest.start <= now:
            end = rest.end if rest.end <= now else None
            happened.append(end or rest.start)
            breaks.append((n, rest, end))
    clocked_out = punch.clocked_out if punch.clocked_out <= now else None
    if clocked_out:
        happened.append(clocked_out)
    note, automatic = punch.note, punch.automatic and clocked_out is not None
    if punch.correction and punch.correction.at <= now:
        clocked_out, note = punch.correction.clocked_out, punch.correction.note
        happened.append(punch.correction.at)
    approved = punch.approved_at <= now
    if approved:
        happened.append(punch.approved_at)
    deleted = punch.deleted_at is not None and punch.deleted_at <= now
    if punch.deleted_at and deleted:
        happened.append(punch.deleted_at)
    return Seen(tuple(breaks), clocked_out, note, automatic, approved, deleted, max(happened))
