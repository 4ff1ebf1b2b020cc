"""The datasets as trade: who sold what, when, on the local wall clock; moved in time by whole weeks.

The datasets are years apart. Each is shifted by a whole number of weeks, so weekdays stay, and all end within days of
each other: jaffle 2019-03-01 … 04-16 by 261 weeks to 2024-03-01 … 04-16, pizza 2015 by 433 weeks to 2023-04-20 …
2024-04-18, coffee 2024-03-01 … 08-08 back by 16 weeks to 2023-11-10 … 2024-04-18. Prices, taxes and wall-clock times
stay as they are.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import zstandard

from ingestion.sandbox.trade import Site, between, draw, site

DATASETS = Path(__file__).parent / "datasets"
JAFFLE_SHIFT = timedelta(weeks=261)
PIZZA_SHIFT = timedelta(weeks=433)
COFFEE_SHIFT = timedelta(weeks=-16)
OPENS_AT = datetime(2024, 4, 2, 9, 0, tzinfo=UTC)
"""Where a new sandbox's clock stands: two weeks of trade are still to come."""
CLOSES_ON = date(2024, 4, 18)
"""The last day with trade."""

JAFFLE_ZONES = {"Philadelphia": "America/New_York", "Brooklyn": "America/New_York"}
PIZZA_SITE, PIZZA_ZONE = "Chicago", "America/Chicago"
BAR_SITE = "Brooklyn"
COFFEE_SITE, COFFEE_ZONE = "Kyiv", "Europe/Kyiv"


@dataclass(frozen=True)
class Product:
    """An article on the menu; `price` in cents of the business's currency."""

    sku: str
    name: str
    kind: str
    price: int
    description: str = ""


@dataclass(frozen=True)
class Line:
    """One line of an order."""

    id: str
    product: Product
    quantity: int = 1


@dataclass(frozen=True)
class Order:
    """One order of a dataset; money in cents, `at` on the local wall clock."""

    id: str
    site: str
    zone: str
    at: datetime
    lines: tuple[Line, ...]
    tax: int
    tender: str = ""  # card or cash, where the dataset tells

    @cached_property
    def instant(self) -> datetime:
        """When it was taken, in UTC."""
        return self.at.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)

    @property
    def subtotal(self) -> int:
        """Sum of the lines, in cents."""
        return sum(line.product.price * line.quantity for line in self.lines)


@dataclass(frozen=True)
class Trade:
    """All that was sold, by till."""

    jaffle: tuple[Order, ...]
    jaffle_products: tuple[Product, ...]
    jaffle_tax_rates: dict[str, Decimal]
    bar: tuple[Order, ...]
    bar_products: tuple[Product, ...]
    pizza: tuple[Order, ...]
    pizza_products: tuple[Product, ...]
    coffee: tuple[Order, ...]
    coffee_products: tuple[Product, ...]

    @cached_property
    def jaffle_sites(self) -> tuple[Site, ...]:
        """Both jaffle shops, as a rota sees them (the bar's guests included)."""
        orders = (*self.jaffle, *self.bar)
        return tuple(site(name, zone, (o.at for o in orders if o.site == name)) for name, zone in JAFFLE_ZONES.items())

    @cached_property
    def pizza_sites(self) -> tuple[Site, ...]:
        """The pizza place."""
        return (site(PIZZA_SITE, PIZZA_ZONE, (o.at for o in self.pizza)),)

    @cached_property
    def coffee_sites(self) -> tuple[Site, ...]:
        """The coffee machine."""
        return (site(COFFEE_SITE, COFFEE_ZONE, (o.at for o in self.coffee)),)


def load() -> Trade:
    """Read the datasets."""
    jaffle_products = {
        row["sku"]: Product(row["sku"], row["name"].strip(), row["type"], int(row["price"]), row["description"].strip())
        for row in _rows("jaffle_products.csv")
    }
    stores = {row["id"]: row for row in _rows("jaffle_stores.csv")}
    jaffle = tuple(_jaffle(jaffle_products, stores))
    rates = {row["name"]: Decimal(row["tax_rate"]) for row in stores.values() if row["name"] in JAFFLE_ZONES}
    pizza_products: dict[str, Product] = {}
    pizza = tuple(_pizza(pizza_products))
    bar = tuple(_bar(jaffle))
    coffee_products: dict[str, Product] = {}
    coffee = tuple(_coffee(coffee_products))
    return Trade(
        jaffle=jaffle,
        jaffle_products=tuple(jaffle_products.values()),
        jaffle_tax_rates=rates,
        bar=bar,
        bar_products=BAR_MENU,
        pizza=pizza,
        pizza_products=tuple(pizza_products.values()),
        coffee=coffee,
        coffee_products=tuple(coffee_products.values()),
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    data = (DATASETS / name).read_bytes()
    if name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    yield from csv.DictReader(io.StringIO(data.decode()))


def _jaffle(products: dict[str, Product], stores: dict[str, dict[str, str]]) -> Iterator[Order]:
    lines = defaultdict(list)
    for row in _rows("jaffle_items.csv.zst"):
        lines[row["order_id"]].append(Line(row["id"], products[row["sku"]]))
    for row in _rows("jaffle_orders.csv.zst"):
        name = stores[row["store_id"]]["name"]
        at = datetime.fromisoformat(row["ordered_at"]) + JAFFLE_SHIFT
        order = Order(row["id"], name, JAFFLE_ZONES[name], at, tuple(lines[row["id"]]), int(row["tax_paid"]))
        assert order.subtotal == int(row["subtotal"])
        yield order


def _pizza(products: dict[str, Product]) -> Iterator[Order]:
    """One line per kind of pizza of an order: the dataset's rows are single pizzas, side by side."""
    for number, rows in _grouped(_rows("pizzaplace.csv.zst")):
        lines: dict[str, int] = {}
        for row in rows:
            sku = f"{row['name']}_{row['size'].lower()}"
            if sku not in products:
                cents = int(Decimal(row["price"]) * 100)
                products[sku] = Product(
                    sku, f"{row['name'].replace('_', ' ').title()} {row['size']}", row["type"], cents
                )
            lines[sku] = lines.get(sku, 0) + 1
        at = datetime.fromisoformat(f"{rows[0]['date']}T{rows[0]['time']}") + PIZZA_SHIFT
        yield Order(
            number,
            PIZZA_SITE,
            PIZZA_ZONE,
            at,
            tuple(Line(f"{number}/{n}", products[sku], count) for n, (sku, count) in enumerate(lines.items(), 1)),
            0,
        )


def _coffee(products: dict[str, Product]) -> Iterator[Order]:
    """One cup each, to the millisecond. Prices moved, and cash is dearer than a card: a line bears the price as paid,
    the menu the latest one."""
    for number, row in enumerate(_rows("coffee_vending.csv.zst"), 1):
        sku = row["coffee_name"].lower().replace(" ", "-")
        products[sku] = Product(sku, row["coffee_name"], "coffee", int(Decimal(row["money"]) * 100))
        at = datetime.fromisoformat(row["datetime"]) + COFFEE_SHIFT
        order = f"cup-{number:04}"
        yield Order(
            order, COFFEE_SITE, COFFEE_ZONE, at, (Line(f"{order}/1", products[sku]),), 0, tender=row["cash_type"]
        )


def _grouped(rows: Iterator[dict[str, str]]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    group: list[dict[str, str]] = []
    for row in rows:
        if group and group[0]["id"] != row["id"]:
            yield group[0]["id"], group
            group = []
        group.append(row)
    if group:
        yield group[0]["id"], group


BAR_MENU = (
    Product("BAR-001", "House lager", "drink", 750),
    Product("BAR-002", "Dry cider", "drink", 800),
    Product("BAR-003", "Espresso martini", "drink", 1400),
    Product("BAR-004", "Salted nuts", "snack", 450),
)


def _bar(jaffle: tuple[Order, ...]) -> Iterator[Order]:
    """Brooklyn's bar has a till of its own: synthetic, a dozen orders an evening, the last ones after midnight."""
    days = sorted({o.at.date() for o in jaffle if o.site == BAR_SITE})
    for day in days:
        for n in range(between(8, 16, "bar", day)):
            key = ("bar", day, n)
            minutes = between(0, 8 * 60 + 45, *key, "at")  # 17:30 … 02:15
            at = datetime(day.year, day.month, day.day, 17, 30) + timedelta(minutes=minutes)
            kinds = {between(0, len(BAR_MENU) - 1, *key, k) for k in range(between(1, 3, *key))}
            number = f"bar-{day:%Y%m%d}-{n:02d}"
            lines = tuple(Line(f"{number}/{k}", BAR_MENU[k], 1 + (draw(*key, k, "two") < 0.3)) for k in sorted(kinds))
            order = Order(number, BAR_SITE, JAFFLE_ZONES[BAR_SITE], at, lines, 0)
            # New York's 8.875 % on drinks served, half up at the cent.
            yield Order(number, BAR_SITE, order.zone, at, lines, (order.subtotal * 8875 + 50_000) // 100_000)
