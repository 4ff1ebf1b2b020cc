"""The install of the sandbox: who fills and cleans a coffee machine in Kyiv, and what happens to their timesheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ingestion.sandbox.rota import Punch, Slot, rota
from ingestion.sandbox.staff import CLEANING, CREW, LEAD, Hiring, Person, Wage
from ingestion.sandbox.trade import Site

COMPANY, HEAD_OFFICE = 1, 2
COUNTER, BACK = 1, 2
"""Areas of the site: who cleans works at the back."""
AREAS = {COUNTER: "Machine", BACK: "Store"}
TOKEN = "sandbox-deputy-kavarnia"
BUSY = 8
"""Cups of a day after which the machine is filled up in the evening too."""
FIRST_TIMESHEET, FIRST_ROSTER, FIRST_LEAVE = 87000, 61000, 99000
SATURDAY = 5
LAST_RISE = timedelta(days=10)


@dataclass(frozen=True)
class Agreement:
    """Terms of a person's work from a date on. Someone without a wage has one without a rate."""

    number: int
    person: Person
    wage: Wage | None
    effective: date
    recorded: datetime


@dataclass(frozen=True)
class Leave:
    """A day off that is paid: a timesheet, yet no work."""

    person: Person
    day: date


@dataclass(frozen=True)
class Install:
    """One company's Deputy."""

    site: Site
    people: Sequence[Person]
    agreements: Sequence[Agreement]
    punches: Sequence[Punch]
    leaves: Sequence[Leave]

    @property
    def zone(self) -> ZoneInfo:
        """The install's clock."""
        return self.site.zone

    def agreement(self, person: Person, day: date) -> Agreement | None:
        """The terms in force on a day: the latest."""
        known = [a for a in self.agreements if a.person == person and a.effective <= day]
        return max(known, key=lambda a: a.effective, default=None)


def install(site: Site) -> Install:
    """The install of a site, from its trade."""
    days = sorted(site.orders)
    third = days[0] + (days[-1] - days[0]) / 3
    people = _people(site.name, days[0] - timedelta(days=365), third, days[-1] - LAST_RISE)
    agreements: list[Agreement] = []
    for person in people:
        for wage in person.wages or (None,):
            effective = wage.effective if wage else days[0] - timedelta(days=30)
            recorded = datetime.combine(min(effective, days[0]), datetime.min.time(), site.zone) - timedelta(days=7)
            agreements.append(Agreement(len(agreements) + 1, person, wage, effective, recorded))
    punches = rota([site], people, _visits)
    leaves = [Leave(people[2], day) for day in days if day.weekday() == 2 and day.day <= 7]
    return Install(site, people, agreements, punches, leaves)


def _visits(site: Site, day: date) -> Iterator[Slot]:
    """Filled each morning, and again on a busy day; cleaned on Saturday night; stock is taken every other week."""
    yield Slot(site, CREW, 7 * 60, 7 * 60 + 50)
    if site.count(day) >= BUSY:
        yield Slot(site, CREW, 17 * 60 + 30, 18 * 60 + 10)
    if day.weekday() == SATURDAY:
        yield Slot(site, CLEANING, 22 * 60, 25 * 60)
    if day.weekday() == 0 and day.toordinal() // 7 % 2:
        yield Slot(site, LEAD, 9 * 60, 15 * 60 + 30)


def area_of(punch: Punch) -> int:
    """Where a punch was made."""
    return BACK if punch.role == CLEANING else COUNTER


def _people(site: str, opened: date, raised: date, again: date) -> tuple[Person, ...]:
    """The staff; kopiykas by the hour, or by the year."""
    h = Hiring(0, 0, "KV", "kavarnia.example")
    here = (site,)
    h.hire("Oksana", "Bondarenko", here, (opened, "annual_salary", 1_460_000), kind="manager")
    h.hire("Andrii", "Shevchuk", here, (opened, "hourly", 11500), (raised, "hourly", 12250), kind="asst_manager")
    h.hire("Iryna", "Koval", here, (opened, "hourly", 9500), (again, "hourly", 9900))
    h.hire("Taras", "Melnyk", here, (opened, "hourly", 9250))
    h.hire("Solomiia", "Hrytsenko", here, (opened, "hourly", 9000), (raised, "hourly", 9450))
    h.hire("Bohdan", "Lysenko", here)
    *hired, helper = h.people
    return (*hired, replace(helper, weekly_shifts=1))
