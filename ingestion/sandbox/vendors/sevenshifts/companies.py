"""The two accounts of the sandbox: which site is which location, and how the trade becomes a rota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from ingestion.sandbox.rota import rota, shop
from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.sevenshifts import people
from ingestion.sandbox.vendors.sevenshifts.api import Company, Place

JAFFLE_SHOP, PIZZA_PLACE = 52418, 52419
TOKENS = {JAFFLE_SHOP: "sandbox-sevenshifts-jaffle-shop", PIZZA_PLACE: "sandbox-sevenshifts-pizza-place"}
JAFFLE_CAPACITY, PIZZA_CAPACITY = 70, 16
"""Orders that one of the crew handles in half a day: a jaffle is quicker than a pizza."""
LAST_RISE = timedelta(days=10)
"""The last rise takes effect this long before the trade ends, so that it is still ahead when the sandbox starts."""


def companies(jaffle_shop: Sequence[Site], pizza_place: Sequence[Site]) -> dict[int, Company]:
    """Both companies by number, from the trade of their sites."""
    hired, raised, again = _milestones(jaffle_shop)
    jaffle_people = people.jaffle_shop(hired, raised, again)
    jaffle_names = {
        "Philadelphia": (98101, "Jaffle Philly", "PA", "1 Sansom Street"),
        "Brooklyn": (98102, "Jaffle BK", "NY", "2 Bedford Avenue"),
    }
    hired, raised, again = _milestones(pizza_place)
    pizza_people = people.pizza_place(pizza_place[0].name, hired, raised, again)
    pizza_names = {pizza_place[0].name: (98201, "Pizza Place HQ", "IL", "3 Lake Street")}
    return {
        JAFFLE_SHOP: Company(
            JAFFLE_SHOP,
            TOKENS[JAFFLE_SHOP],
            _places(jaffle_shop, jaffle_names),
            jaffle_people,
            rota(jaffle_shop, jaffle_people, shop(JAFFLE_CAPACITY)),
            41000000,
        ),
        PIZZA_PLACE: Company(
            PIZZA_PLACE,
            TOKENS[PIZZA_PLACE],
            _places(pizza_place, pizza_names),
            pizza_people,
            rota(pizza_place, pizza_people, shop(PIZZA_CAPACITY)),
            42000000,
        ),
    }


def _places(sites: Sequence[Site], names: Mapping[str, tuple[int, str, str, str]]) -> tuple[Place, ...]:
    places = []
    for site in sites:
        number, name, state, street = names[site.name]
        address = f"{street}, {site.name}, {state}, USA"
        places.append(Place(number, site.name, name, site.name, state, address, site.timezone, *site.hours))
    return tuple(places)


def _milestones(sites: Sequence[Site]) -> tuple[date, date, date]:
    """When the crew was hired, when the first rise came (a Monday, a third into the trade), and when the last."""
    days = sorted(day for site in sites for day in site.orders)
    third = days[0] + (days[-1] - days[0]) / 3
    return days[0] - timedelta(days=365), third - timedelta(days=third.weekday()), days[-1] - LAST_RISE
