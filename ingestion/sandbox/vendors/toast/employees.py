"""Who serves at a restaurant: those of the rota who have a code for the till."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ingestion.sandbox.data import BAR_SITE, PIZZA_SITE, Order
from ingestion.sandbox.trade import between
from ingestion.sandbox.vendors.toast.visit import known_guid

STAFF = {
    PIZZA_SITE: (
        ("Marguerite", "Dabrowski", "PP-0001", ""),
        ("Lorenzo", "Achterberg", "PP-0002", "lorenzo.achterberg@pizzaplace.example"),
        ("Siobhan", "Mwangi", "PP-0003", ""),
        ("Rafael", "Thorvaldsen", "PP-0004", ""),
        ("Yuki", "Bergstrom", "", "Yuki.Bergstrom@pizzaplace.example"),
        ("Clement", "Osei", "PP-0006", ""),
        ("Nadia", "Ferrante", "", ""),
    ),
    BAR_SITE: (
        ("Hugo", "Castellanos", "JS-0008", ""),
        ("Mei", "Castellanos", "JS-0003", ""),
        ("Folasade", "Brandt", "JS-0007", ""),
        ("Kwame", "Stoll", "", "kwame.stoll@jaffleshop.example"),
        ("Ingrid", "Nakamura", "JS-0011", ""),
        ("Bastien", "Adeyemi", "JS-0012", ""),
        ("Marisol", "Quigley", "JS-0013", ""),
    ),
}
"""First and last name, the payroll's number, e-mail: a manager, then six servers. One of the pizza place has only a
name, which proves nothing of who she is on the rota."""
MANAGER, LAST_SERVER = 0, 6


@lru_cache(64)
def _reference(site: str, number: int) -> dict[str, Any]:
    return {"guid": known_guid("server", site, number), "entityType": "RestaurantUser"}


def server_of(order: Order) -> dict[str, Any]:
    """Who took the order."""
    return _reference(order.site, between(1, LAST_SERVER, order.id, "server"))


def manager_of(order: Order) -> dict[str, Any]:
    """Who approves what is given away."""
    return _reference(order.site, MANAGER)


def employees(site: str) -> list[dict[str, Any]]:
    """Everybody with a code for the till."""
    return [
        {
            **_reference(site, number),
            "externalId": None,
            "createdDate": "2023-03-20T15:00:00.000+0000",
            "modifiedDate": "2023-03-20T15:00:00.000+0000",
            "deletedDate": None,
            "deleted": False,
            "firstName": first,
            "lastName": last,
            "chosenName": None,
            "email": email or None,
            "externalEmployeeId": payroll or None,
            "jobReferences": [],
            "wageOverrides": [],
        }
        for number, (first, last, payroll, email) in enumerate(STAFF[site])
    ]
