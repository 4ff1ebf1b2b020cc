"""Who works where and for how much: the people of a rota, whatever vendor keeps it. Invented, deterministic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

CREW, LEAD, BAR, MANAGER, CLEANING = 31001, 31002, 31004, 31005, 31006
"""Role numbers, the same everywhere."""
FULL_TIME = 5
"""Shifts a week of someone employed full time; more of them are overtime."""
NOTICE = timedelta(days=14)
"""A rise is entered this long before it takes effect, and is among the upcoming wages until then."""


@dataclass(frozen=True)
class Wage:
    """What is paid from a date on. `kind` is the vendor's word; hourly is per hour, the salaries per week or year."""

    number: int
    effective: date
    kind: str
    cents: int
    recorded: str
    role: int | None = None


@dataclass(frozen=True)
class Person:
    """A user of the rota. `sites` are those they may be put on; an unlisted one punches, yet is in no list."""

    number: int
    first: str
    last: str
    sites: tuple[str, ...]
    payroll: str = ""
    email: str = ""
    wages: tuple[Wage, ...] = ()
    kind: str = "employee"
    listed: bool = True
    weekly_shifts: int = FULL_TIME

    def hourly_wage(self, role: int, day: date) -> int:
        """Cents an hour in force on `day`, 0 without an hourly wage, as the vendor answers. A role's own wage wins."""
        hourly = [w for w in self.wages if w.kind == "hourly" and w.effective <= day and w.role in (None, role)]
        if not hourly:
            return 0
        return max(hourly, key=lambda w: (w.role is not None, w.effective)).cents

    def is_paid_for(self, role: int) -> bool:
        """Whether there is a wage for this very role."""
        return any(w.role == role for w in self.wages)


@dataclass
class Hiring:
    """Numbers people and wages of one company."""

    first_user: int
    first_wage: int
    prefix: str
    domain: str
    people: list[Person] = field(default_factory=list)
    wages: int = 0

    def hire(
        self,
        first: str,
        last: str,
        sites: tuple[str, ...],
        *pay: tuple[date, str, int] | tuple[date, str, int, int],
        kind: str = "employee",
    ) -> None:
        wages = []
        for effective, wage_kind, cents, *role in pay:
            self.wages += 1
            recorded = f"{effective - NOTICE}T15:00:00Z"
            number = self.first_wage + self.wages
            wages.append(Wage(number, effective, wage_kind, cents, recorded, role[0] if role else None))
        n = len(self.people) + 1
        email = f"{first}.{last}@{self.domain}".lower()
        payroll = f"{self.prefix}-{n:04}"
        self.people.append(Person(self.first_user + n, first, last, sites, payroll, email, tuple(wages), kind))

    def odd_ones(self, site: str, hired: date) -> tuple[Person, ...]:
        """The company, with someone who has neither payroll id nor e-mail, and someone whom no list knows."""
        self.wages += 1
        wage = Wage(self.first_wage + self.wages, hired, "hourly", 1500, f"{hired}T15:00:00Z")
        nameless = Person(self.first_user + 99, "Sam", "Quill", (site,), wages=(wage,), weekly_shifts=2)
        unlisted = self.first_user + 99999
        paid = Wage(0, hired, "hourly", 1600, "")
        unknown = Person(unlisted, "", "", (site,), wages=(paid,), listed=False, weekly_shifts=1)
        return (*self.people, nameless, unknown)
