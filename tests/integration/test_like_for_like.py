"""Like for like by day, week and month, while days and decisions change one by one: no facet is missed.

A changed day touches its own day, week and month, and those compared with it: 364 days later, or as a business decided.
After each change the tables must hold what their SELECTs give from everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from orchestration.dbt_worker import DbtProject
from orchestration.results import Job
from orchestration.transform import target_of
from orchestration.verify import _compare
from sharding.comparisons import Comparison, PeriodKind, remove_comparison, set_comparison
from sharding.ids import make_id
from sharding.model import Shard

BUSINESS, LOCATION = 1001, make_id(1001, 1)
MODELS = ("sum_sales_like_for_like_day", "sum_sales_like_for_like_week", "sum_sales_like_for_like_month")
DAYS = [first + timedelta(n) for first in (date(2023, 2, 1), date(2024, 2, 1)) for n in range(70)]


class Shop:
    """A shard whose days of sales are written by hand, and told in their feed as a build does."""

    def __init__(self, shard: Shard, warehouse: DbtProject) -> None:
        self.shard, self.warehouse, self.target = shard, warehouse, target_of(shard)
        self.amounts = count(100)
        self.build(*(f"+{model}" for model in MODELS))
        self.selects, error = warehouse.compiled(self.target, " ".join(MODELS))
        assert error is None and set(self.selects) == set(MODELS)
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute("insert into keys.route (business, name, display_name) values (%s, 'a', 'A')", (BUSINESS,))
            cursor.execute("select * from marts.sum_sales_day")
            self.columns = [column.name for column in cursor.description or ()]
            cursor.execute("select * from meta.feed__sum_sales_day")
            self.told = [column.name for column in cursor.description or () if column.name != "xid"]
        self.trade(*DAYS)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.shard.dsn)) as connection, connection:
            yield connection

    def build(self, *select: str) -> None:
        here = Path.cwd()
        result = self.warehouse.build(Job(self.target, select=select, tests=False))
        os.chdir(here)
        assert result.ok, result.error or [(node.name, node.message) for node in result.failed]

    def trade(self, *days: date) -> None:
        """Another amount than before is sold on each day."""
        with self.connected() as connection, connection.cursor() as cursor:
            for day in days:
                row = dict.fromkeys(self.columns, 0) | {
                    "location_id": LOCATION, "business_date": day, "currency": "USD",
                    "business_id": make_id(BUSINESS, 0), "week_begins_on": day - timedelta(day.weekday()),
                    "month_start": day.replace(day=1), "order_count": 1, "net_sales": next(self.amounts),
                }  # fmt: skip
                cursor.execute("delete from marts.sum_sales_day where business_date = %s", (day,))
                for table, names in (("marts.sum_sales_day", self.columns), ("meta.feed__sum_sales_day", self.told)):
                    values = tuple(row[name] for name in names)
                    cursor.execute(f"insert into {table} ({', '.join(names)}) values %s", (values,))

    def compare(self, period: PeriodKind, begins_on: date, compared_with: date | None) -> None:
        with self.connected() as connection:
            if compared_with is None:
                remove_comparison(connection, self.shard, BUSINESS, period, begins_on)
            else:
                decision = Comparison(period, begins_on, compared_with, "a test", "a test")
                set_comparison(connection, self.shard, BUSINESS, decision)

    def unequal(self) -> list[str]:
        with self.connected() as connection, connection.cursor() as cursor:
            return [str(found) for model in MODELS if (found := _compare(cursor, model, *self.selects[model]))]


@pytest.fixture
def shop(shard: Shard, warehouse: DbtProject) -> Shop:
    return Shop(shard, warehouse)


# The week of Monday, 26 February 2024 has three days of March; that of 20 February 2023 is all of one month.
WEEK, DAY = date(2024, 2, 26), date(2024, 3, 30)
CHANGES: dict[str, Callable[[Shop], None]] = {
    "at first": lambda shop: None,
    "a day of March, beside one of February": lambda shop: shop.trade(date(2023, 3, 1)),
    "the week, over the end of a month": lambda shop: shop.compare("week", WEEK, date(2023, 2, 20)),
    "a day of February, beside one of March by that": lambda shop: shop.trade(date(2023, 2, 24)),
    "a day of the month in which that week ends": lambda shop: shop.trade(date(2024, 3, 12)),
    "a day, with one of another month": lambda shop: shop.compare("day", DAY, date(2023, 2, 11)),
    "the day it is beside by that": lambda shop: shop.trade(date(2023, 2, 11)),
    "a day that is beside another as ever": lambda shop: shop.trade(date(2024, 3, 13)),
    "the week, as ever": lambda shop: shop.compare("week", WEEK, None),
    "the one day, as ever": lambda shop: shop.compare("day", DAY, None),
}


def test_a_change_reaches_all_that_is_compared_with_it(shop: Shop) -> None:
    for name, change in CHANGES.items():
        change(shop)
        shop.build("sum_sales_week", *MODELS)
        assert shop.unequal() == [], name
    with shop.connected() as connection, connection.cursor() as cursor:
        cursor.execute("select model, bool_or(facets is null) from meta.model_change group by model")
        assert dict(cursor.fetchall()).items() >= dict.fromkeys(MODELS, False).items(), "by facets, never whole"
        cursor.execute(
            "select is_like_for_like, first_date_before, last_date_before, trading_days, trading_days_before"
            " from marts.sum_sales_like_for_like_month where month_start = '2024-03-01'"
        )
        assert cursor.fetchall() == [(True, date(2023, 3, 3), date(2023, 4, 2), 31, 31)]
