"""A chain of restaurants on one till vendor: sites, a menu of which some dishes sell well, orders, payments."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bench.orders import encoded, line, money

DISHES = 55
_OPEN = timedelta(hours=11)  # of UTC: morning in New York
_HOURS = 11

Records = dict[str, list[bytes]]
"""Stream → its records."""


class Chain:
    """Makes the same records in every run."""

    def __init__(self, sites: int) -> None:
        self.sites = sites
        self._draw = random.Random(0)
        self._dishes = [(f"ITEM{n:020d}", f"Dish {n}", 500 + 37 * n) for n in range(DISHES)]

    def places(self) -> Records:
        """The sites, and the menu."""
        sites = [
            {
                "id": f"L{n}", "name": f"Site {n}", "timezone": "America/New_York", "currency": "USD", "country": "US",
                "status": "ACTIVE", "created_at": "2020-01-01T00:00:00Z",
            }
            for n in range(self.sites)
        ]  # fmt: skip
        menu = []
        for key, name, _ in self._dishes:
            only = {"name": "Regular", "item_id": f"I{key}"}
            variations = [{"type": "ITEM_VARIATION", "id": key, "item_variation_data": only}]
            menu.append(
                {
                    "type": "ITEM", "id": f"I{key}", "updated_at": "2025-01-01T00:00:00Z", "is_deleted": False,
                    "item_data": {"name": name, "variations": variations},
                }
            )  # fmt: skip
        return {"locations": list(map(encoded, sites)), "catalog": list(map(encoded, menu))}

    def day(self, date: datetime, orders: int) -> Records:
        """A day's trade: so many orders at each site, while it is open."""
        moments = (
            (site, date + _OPEN + timedelta(seconds=self._draw.randrange(_HOURS * 3600)))
            for site in range(self.sites)
            for _ in range(orders)
        )
        return self._sold(moments)

    def one_each(self, at: datetime) -> Records:
        """An order at each site."""
        return self._sold((site, at) for site in range(self.sites))

    def _sold(self, moments: Iterator[tuple[int, datetime]]) -> Records:
        made: Records = {"orders": [], "payments": []}
        for site, at in moments:
            order, payment = self._order(site, at)
            made["orders"].append(encoded(order))
            made["payments"].append(encoded(payment))
        return made

    def _order(self, site: int, moment: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
        at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = [self._line(place) for place in range(self._draw.choice((1, 2, 2, 3, 3, 4)))]
        net = sum(one["gross_sales_money"]["amount"] for one in lines)
        tax = sum(one["total_tax_money"]["amount"] for one in lines)
        key = f"{self._draw.getrandbits(96):024x}"
        when = {"location_id": f"L{site}", "created_at": at, "updated_at": at}
        nothing = {name: money(0) for name in ("discount_money", "tip_money", "service_charge_money")}
        amounts = {"total_money": money(net + tax), "tax_money": money(tax), **nothing}
        order = {
            "id": key, **when, "closed_at": at, "state": "COMPLETED", "version": 4, "line_items": lines, "tenders": [],
            **{name if name == "total_money" else f"total_{name}": amount for name, amount in amounts.items()},
            "net_amounts": amounts,
        }  # fmt: skip
        payment = {
            "id": f"P{key}", "order_id": key, **when, "amount_money": money(net + tax), "total_money": money(net + tax),
            "status": "COMPLETED", "source_type": "CARD",
        }  # fmt: skip
        return order, payment

    def _line(self, place: int) -> dict[str, Any]:
        key, name, price = self._dishes[min(int(self._draw.expovariate(4.4 / DISHES)), DISHES - 1)]
        tax = round(price * 0.08)
        of_price = dict.fromkeys(("base_price_money", "variation_total_price_money", "gross_sales_money"), money(price))
        return line(1, place, self._draw) | of_price | {
            "catalog_object_id": key, "name": name, "total_tax_money": money(tax), "total_money": money(price + tax),
        }  # fmt: skip
