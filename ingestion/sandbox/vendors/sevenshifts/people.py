"""The staff of the two companies of the sandbox, and how 7shifts lists them."""

from __future__ import annotations

from datetime import date
from typing import Any

from ingestion.sandbox.staff import BAR, Hiring, Person, Wage


def wage_record(wage: Wage) -> dict[str, Any]:
    """The wage as the API gives it; it does not say whose it is."""
    return {
        "id": wage.number,
        "effective_date": wage.effective.isoformat(),
        "role_id": wage.role,
        "wage_type": wage.kind,
        "wage_cents": wage.cents,
        "created": wage.recorded,
        "modified": wage.recorded,
    }


def user_record(person: Person, company: int, today: date) -> dict[str, Any]:
    """The user as the API lists them."""
    own = [w for w in person.wages if w.effective <= today and w.role is None]
    latest = max(own, key=lambda w: w.effective, default=None)
    return {
        "id": person.number,
        "identity_id": person.number + 900000,
        "company_id": company,
        "first_name": person.first,
        "last_name": person.last,
        "preferred_first_name": person.first,
        "preferred_last_name": person.last,
        "pronouns": None,
        "email": person.email,
        "mobile_number": "",
        "home_number": "",
        "address": "",
        "postal_zip": "",
        "city": "",
        "prov_state": "",
        "invite_status": "accepted" if person.email else "not_invited",
        "last_login": None,
        "active": True,
        "photo": "",
        "notes": "Synthetic: an invented person",
        "hire_date": "2018-09-01" if person.payroll else None,
        "timezone": None,
        "type": person.kind,
        "punch_id": person.payroll[-4:],
        "employee_id": person.payroll,
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


def jaffle_shop(opened: date, raised: date, again: date) -> tuple[Person, ...]:
    """Two sites that share two of their crew; everybody was there at `opened`, some got a rise later, a few `again`."""
    philadelphia, brooklyn = ("Philadelphia",), ("Brooklyn",)
    h = Hiring(7100000, 6100000, "JS", "jaffleshop.example")
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
    h = Hiring(7200000, 6200000, "PP", "pizzaplace.example")
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
