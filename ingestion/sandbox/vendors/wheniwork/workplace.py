"""The workplace of the sandbox: the pizza place's staff, and every time that they clocked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from ingestion.sandbox.rota import Punch, rota, shop
from ingestion.sandbox.staff import Hiring, Person
from ingestion.sandbox.trade import Site

ACCOUNT, LOCATION, SECOND_LOCATION = 611001, 611136, 611137
USERNAME, PASSWORD, DEVELOPER_KEY = "sandbox@pizzaplace.example", "sandbox-wheniwork-password", "sandbox-wheniwork-key"
TOKEN = "sandbox-wheniwork-pizza-place"
FIRST_TIME, FIRST_SHIFT = 94_000_000, 95_000_000
CAPACITY = 16
"""Orders that one of the crew handles in half a day."""
LAST_RISE = timedelta(days=10)


@dataclass(frozen=True)
class Workplace:
    """One account of When I Work, whose clock all its times are written by."""

    site: Site
    people: Sequence[Person]
    deleted: Person  # left, and is listed only to who asks for deleted ones
    punches: Sequence[Punch]

    @property
    def zone(self) -> ZoneInfo:
        """The account's time zone."""
        return self.site.zone


def workplace(site: Site) -> Workplace:
    """The account of a site, from its trade."""
    days = sorted(site.orders)
    third = days[0] + (days[-1] - days[0]) / 3
    people = _people(site.name, days[0] - timedelta(days=365), third, days[-1] - LAST_RISE)
    left = Person(699098, "Wendeline", "Ashgrove", (site.name,), "PP-0098", "wendeline.ashgrove@pizzaplace.example")
    return Workplace(site, people, left, rota([site], people, shop(CAPACITY)))


def _people(site: str, opened: date, raised: date, again: date) -> tuple[Person, ...]:
    """The staff; cents by the hour. When I Work knows of a salary, not how much it is."""
    h = Hiring(699000, 0, "PP", "pizzaplace.example")
    here = (site,)
    h.hire("Marguerite", "Dabrowski", here, kind="manager")
    h.hire("Lorenzo", "Achterberg", here, (opened, "hourly", 1800), (raised, "hourly", 1875), kind="asst_manager")
    h.hire("Siobhan", "Mwangi", here, (opened, "hourly", 1525), (raised, "hourly", 1575))
    h.hire("Rafael", "Thorvaldsen", here, (opened, "hourly", 1450))
    h.hire("Yuki", "Bergstrom", here, (opened, "hourly", 1450), (raised, "hourly", 1500), (again, "hourly", 1525))
    h.hire("Clement", "Osei", here)
    h.hire("Nadia", "Ferrante", here, (opened, "hourly", 1475))
    h.hire("Olek", "Winterbourne", here, (opened, "hourly", 1425), (raised, "hourly", 1450))
    h.hire("Thandiwe", "Kessler", here, (opened, "hourly", 1500))
    return h.odd_ones(site, opened)
