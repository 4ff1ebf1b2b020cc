"""Who works where and for how much, at the two companies of the sandbox. Invented people, deterministic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

CREW, LEAD, BAR, MANAGER, CLEANING = 31001, 31002, 31004, 31005, 31006
"""Role numbers, the same at both companies."""
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

    def record(self) -> dict[str, Any]:
        """The wage as the API gives it; it does not say whose it is."""
        return {
            "id": self.number,
            "effective_date": self.effective.isoformat(),
            "role_id": self.role,
            "wage_type": self.kind,
            "wage_cents": self.cents,
            "created": self.recorded,
            "modified": self.recorded,
        }


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

    def record(self, company: int, today: date) -> dict[str, Any]:
        """The user as the API lists them."""
        own = [w for w in self.wages if w.effective <= today and w.role is None]
        latest = max(own, key=lambda w: w.effective, default=None)
        return {
            "id": self.number,
            "identity_id": self.number + 900000,
            "company_id": company,
            "first_name": self.first,
            "last_name": self.last,
            "preferred_first_name": self.first,
            "preferred_last_name": self.last,
            "pronouns": None,
            "email": self.email,
            "mobile_number": "",
            "home_number": "",
            "address": "",
            "postal_zip": "",
            "city": "",
            "prov_state": "",
            "invite_status": "accepted" if self.email else "not_invited",
            "last_login": None,
            "active": True,
            "photo": "",
            "notes": "Synthetic: an invented person",
            "hire_date": "2018-09-01" if self.payroll else None,
            "timezone": None,
            "type": self.kind,
            "punch_id": self.payroll[-4:],
            "employee_id": self.payroll,
            "max_weekly_hours": 40,
            "invited": None,
            "invite_accepted": None,
            "is_new": False,
            "birth_date": None,
            "language": "en",
            "appear_as_employee": True,
            "subscribe_to_updates": False,
            "skill_level": 1,
            "hourly_wage": latest.cents if latest else 0,
            "wage_type": latest.kind if latest else "hourly",
            "sms_me_schedules": False,
            "notify_ot_risk": True,
            "push": False,
            "created": "2018-08-20T16:00:00+00:00",
            "modified": latest.recorded.replace("Z", "+00:00") if latest else "2018-08-20T16:00:00+00:00",
        }


@dataclass
class _Hiring:
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


def jaffle_shop(opened: date, raised: date, again: date) -> tuple[Person, ...]:
    """Two sites that share two of their crew; everybody was there at `opened`, some got a rise later, a few `again`."""
    philadelphia, brooklyn = ("Philadelphia",), ("Brooklyn",)
    h = _Hiring(7100000, 6100000, "JS", "jaffleshop.example")
    h.hire("Renata", "Oduya", philadelphia, (opened, "annual_salary", 6240000), kind="manager")
    rises = (opened, "hourly", 1575), (raised, "hourly", 1650), (again, "hourly", 1700)
    h.hire("Tobias", "Lindqvist", philadelphia, *rises, kind="asst_manager")
    h.hire("Mei", "Castellanos", philadelphia + brooklyn, (opened, "hourly", 1725), (opened, "hourly", 1900, BAR))
    h.hire("Idris", "Popov", philadelphia)
    h.hire("Anneliese", "Okafor", philadelphia, (opened, "hourly", 1550), (raised, "hourly", 1600))
    h.hire("Dmitri", "Vaughan", philadelphia, (opened, "hourly", 1500), (again, "hourly", 1550))
    h.hire("Folasade", "Brandt", philadelphia + brooklyn, (opened, "hourly", 1625))
    h.hire("Hugo", "Castellanos", brooklyn, (opened, "weekly_salary", 125000), kind="manager")
    h.hire("Paloma", "Reyes", brooklyn, (opened, "hourly", 1700), kind="asst_manager")
    h.hire("Kwame", "Stoll", brooklyn, (opened, "hourly", 1675), (raised, "hourly", 1725))
    h.hire("Ingrid", "Nakamura", brooklyn, (opened, "hourly", 1650))
    h.hire("Bastien", "Adeyemi", brooklyn, (opened, "hourly", 1650), (opened, "hourly", 1850, BAR))
    h.hire("Marisol", "Quigley", brooklyn, (opened, "hourly", 1600), (opened, "hourly", 1800, BAR))
    return h.odd_ones("Brooklyn", opened)


def pizza_place(site: str, opened: date, raised: date, again: date) -> tuple[Person, ...]:
    """One site with a long evening."""
    here = (site,)
    h = _Hiring(7200000, 6200000, "PP", "pizzaplace.example")
    h.hire("Marguerite", "Dabrowski", here, (opened, "annual_salary", 5720000), kind="manager")
    h.hire("Lorenzo", "Achterberg", here, (opened, "hourly", 1800), (raised, "hourly", 1875), kind="asst_manager")
    h.hire("Siobhan", "Mwangi", here, (opened, "hourly", 1525), (raised, "hourly", 1575))
    h.hire("Rafael", "Thorvaldsen", here, (opened, "hourly", 1450))
    h.hire("Yuki", "Bergstrom", here, (opened, "hourly", 1450), (raised, "hourly", 1500), (again, "hourly", 1525))
    h.hire("Clement", "Osei", here)
    h.hire("Nadia", "Ferrante", here, (opened, "hourly", 1475))
    h.hire("Olek", "Winterbourne", here, (opened, "hourly", 1425), (raised, "hourly", 1450))
    h.hire("Thandiwe", "Kessler", here, (opened, "hourly", 1500))
    return h.odd_ones(site, opened)
