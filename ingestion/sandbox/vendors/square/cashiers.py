"""Who stands at the tills of the jaffle shops. Their hours are on the rota: Square knows no jobs and no pay."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ingestion.sandbox.data import Order
from ingestion.sandbox.trade import between
from ingestion.sandbox.vendors.square.orders import location_id
from ingestion.sandbox.vendors.square.sale import token

CASHIERS = {
    "Philadelphia": (
        ("Tobias", "Lindqvist", "JS-0002", ""),
        ("Mei", "Castellanos", "JS-0003", ""),
        ("Idris", "Popov", "JS-0004", ""),
        ("Anneliese", "Okafor", "", "Anneliese.Okafor@jaffleshop.example"),
        ("Dmitri", "Vaughan", "", ""),
    ),
    "Brooklyn": (
        ("Paloma", "Reyes", "JS-0009", ""),
        ("Folasade", "Brandt", "JS-0007", ""),
        ("Kwame", "Stoll", "JS-0010", ""),
        ("Ingrid", "Nakamura", "JS-0011", ""),
    ),
}
"""First and last name, the payroll's number, e-mail: the lead of each shop first. One bears nothing but a name."""
SINCE = "2023-09-01T12:00:00.000Z"


@lru_cache(64)
def _member_id(person: tuple[str, ...]) -> str:
    return f"TM{token('team member', ' '.join(person))[:14]}"


def cashier_of(order: Order) -> str:
    """The id of who took the money."""
    crew = CASHIERS[order.site]
    return _member_id(crew[between(0, len(crew) - 1, order.id, "cashier")])


def lead_of(order: Order) -> str:
    """The id of who gives money back."""
    return _member_id(CASHIERS[order.site][0])


def team_members() -> list[dict[str, Any]]:
    """Everybody at a till; who is at both is listed once."""
    sites: dict[tuple[str, ...], list[str]] = {}
    for site, crew in CASHIERS.items():
        for person in crew:
            sites.setdefault(person, []).append(location_id(site))
    return [_team_member(person, where) for person, where in sites.items()]


def _team_member(person: tuple[str, ...], where: list[str]) -> dict[str, Any]:
    first, last, payroll, email = person
    record = {
        "id": _member_id(person),
        "reference_id": payroll,
        "is_owner": False,
        "status": "ACTIVE",
        "given_name": first,
        "family_name": last,
        "email_address": email,
        "created_at": SINCE,
        "updated_at": SINCE,
        "assigned_locations": {"assignment_type": "EXPLICIT_LOCATIONS", "location_ids": where},
    }
    return {key: value for key, value in record.items() if value != ""}
