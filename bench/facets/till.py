"""A till's sale items and shifts, made in Postgres and the same in every run; and what happens to them in a cycle."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2

TODAY = "2026-06-30"  # also in project/dbt_project.yml
LOCATIONS, BUSINESSES, ITEMS_OF_A_SALE = 250, 50, 5
ITEMS_OF_A_DAY = 55  # at one location. A larger table has more days, as in life: 10 M items are two years
NEW_SALES, LATE = 2 * LOCATIONS, 50  # ten items for each location, a fifth of its day, and old days to put right

# Sales come in the order of time, as they do in production, so that a day's rows lie together. `draw` is a number below
# `below` that only depends on what it is asked for.
_TABLES = """
create schema till;
create function till.draw(what bigint, seed bigint, below int) returns int language sql immutable parallel safe
return ((hashint8extended(what, seed) & 9223372036854775807) % below)::int;

create table till.sale_item (
    sale_id bigint not null,
    line smallint not null,
    business_id int not null,
    location_id int not null,
    business_date date not null,
    business_hour smallint not null,
    sold_at timestamptz not null,
    menu_item_id int not null,
    quantity numeric(9, 2) not null,
    net_amount numeric(18, 4) not null,
    is_voided boolean not null
);
create table till.shift (
    shift_id bigint not null,
    business_id int not null,
    location_id int not null,
    business_date date not null,
    hours numeric(9, 2) not null,
    cost numeric(18, 4) not null
)
"""

# 30 dishes a location, some liked more than others.
_ITEMS_OF_SALES = f"""
insert into till.sale_item
select
    sale_id, line, (location_id - 1) / {LOCATIONS // BUSINESSES} + 1, location_id, business_date, business_hour,
    business_date + make_interval(hours => business_hour, secs => till.draw(sale_id, 3, 3600)),
    location_id * 100 + menu_item, quantity, quantity * (3 + mod(menu_item, 13) + 0.50), false
from (%s) as sale (sale_id, location_id, business_date, business_hour)
cross join generate_series(1, {ITEMS_OF_A_SALE}) as line
cross join lateral (
    select
        till.draw(sale_id * 10 + line, 4, 30) * till.draw(sale_id * 10 + line, 5, 30) / 30 as menu_item,
        case till.draw(sale_id * 10 + line, 6, 10) when 0 then 2 else 1 end as quantity
) as chosen
"""

_SALES_SO_FAR = f"""
select
    n, 1 + till.draw(n, 1, {LOCATIONS}), date '{TODAY}' - %(days)s + (n * %(days)s / (%(sales)s + 1))::int,
    10 + till.draw(n, 2, 12)
from generate_series(1, %(sales)s::bigint) as n
"""

_SHIFTS_SO_FAR = f"""
insert into till.shift
select
    (day * {LOCATIONS} + location_id) * 2 + employee, (location_id - 1) / {LOCATIONS // BUSINESSES} + 1, location_id,
    date '{TODAY}' - %(days)s + day, 4 + till.draw(day * {LOCATIONS} + location_id, employee, 17) / 4.0, 120
from generate_series(0, %(days)s - 1) as day, generate_series(1, {LOCATIONS}) as location_id,
    generate_series(1, 2) as employee
"""

_INDEXES = """
alter table till.sale_item add primary key (sale_id, line);
create index on till.sale_item (location_id, business_date, business_hour);
create index on till.sale_item (business_date);
alter table till.shift add primary key (shift_id);
create index on till.shift (location_id, business_date);
create index on till.shift (business_date)
"""

_SHOW_INDEXES = """
update pg_index set indisvalid = %s where indrelid = 'till.sale_item'::regclass and not indisprimary
"""

_SALES_NOW = f"""
select 1000000000000 + %(cycle)s * {NEW_SALES} + n, 1 + mod(n, {LOCATIONS}), date '{TODAY}', %(hour)s
from generate_series(1, {NEW_SALES}) as n
"""

_SHIFTS_NOW = f"""
insert into till.shift
select
    1000000000000 + %(cycle)s * {LOCATIONS} + location_id, (location_id - 1) / {LOCATIONS // BUSINESSES} + 1,
    location_id, date '{TODAY}', 0.5, 8
from generate_series(1, {LOCATIONS}) as location_id
"""

# Old sales: 25 voided, 20 refunded, 5 lose a line; and the shifts of that day are put right.
_LATE = (
    f"""
    create temporary table late on commit drop as
    select sale_id, n, location_id, business_date
    from generate_series(1, {LATE}) as n
    inner join till.sale_item on sale_id = 1 + till.draw(%(cycle)s * 1000 + n, 7, %(old)s) and line = 1
    """,
    "update till.sale_item set is_voided = true from late where sale_item.sale_id = late.sale_id and n <= 25",
    """
    insert into till.sale_item
    select
        sale_id, 100 + %(cycle)s, business_id, location_id, business_date, business_hour, sold_at, menu_item_id,
        -quantity, -net_amount, false
    from till.sale_item
    inner join late using (sale_id, location_id, business_date)
    where line = 1 and n between 26 and 45
    """,
    "delete from till.sale_item using late where sale_item.sale_id = late.sale_id and n > 45 and line = 2",
    """
    update till.shift set hours = hours + 0.25, cost = cost + 4
    from late
    where
        shift.location_id = late.location_id
        and shift.business_date = late.business_date
        and mod(shift_id, 2) = 0
    """,
)

_TEN_TIMES_TODAY = f"""
insert into till.sale_item
select
    sale_id + 1000000000::bigint * copy, line, business_id, location_id, business_date, business_hour, sold_at,
    menu_item_id, quantity, net_amount, is_voided
from till.sale_item cross join generate_series(1, 9) as copy
where business_date = date '{TODAY}'
"""


@dataclass
class Till:
    """The tables in one database, and how many cycles they have seen."""

    dsn: str
    items: int
    cycles: int = 0

    @property
    def days(self) -> int:
        """Days of history."""
        return max(1, self.items // (LOCATIONS * ITEMS_OF_A_DAY))

    def generate(self) -> None:
        """Make the sales and shifts until yesterday, with their indexes, statistics and a checkpoint behind them."""
        given = {"sales": self.items // ITEMS_OF_A_SALE, "days": self.days}
        with closing(psycopg2.connect(self.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(_TABLES)
            cur.execute(_ITEMS_OF_SALES % _SALES_SO_FAR, given)
            cur.execute(_SHIFTS_SO_FAR, given)
            cur.execute(_INDEXES)
        settle(self.dsn)

    def cycle(self, hour: int | None = None) -> float:
        """Two sales of today at each location, 50 late corrections, the shifts of both: 300 facets. Seconds taken.

        The sales fall into one hour, by default each cycle's into the next.
        """
        self.cycles += 1
        # the oldest 90 %: corrections that a lookback of three days might see would not be late
        old = self.items // ITEMS_OF_A_SALE * 9 // 10
        given = {"cycle": self.cycles, "old": old, "hour": hour or min(9 + self.cycles, 19)}
        statements = (_ITEMS_OF_SALES % _SALES_NOW, _SHIFTS_NOW, *_LATE)
        began = time.perf_counter()
        with closing(psycopg2.connect(self.dsn)) as conn, conn, conn.cursor() as cur:
            for statement in statements:
                cur.execute(statement, given)
        return time.perf_counter() - began

    def ten_times_today(self) -> None:
        """Nine more sales beside each of today's, in the same hour."""
        with closing(psycopg2.connect(self.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(_TEN_TIMES_TODAY)
        settle(self.dsn)

    @contextmanager
    def without_indexes(self) -> Iterator[None]:
        """The planner sees no index on the sale items but their key's: what dbt users have who made none.

        One that begins with the location would be scanned for its dates, in a tenth of the time that the table takes.
        """
        self._show_indexes(False)
        try:
            yield
        finally:
            self._show_indexes(True)

    def _show_indexes(self, shown: bool) -> None:
        with closing(psycopg2.connect(self.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(_SHOW_INDEXES, (shown,))

    def sales_today(self) -> int:
        """Sales of today so far."""
        [row] = rows(
            self.dsn, f"select count(distinct sale_id) from till.sale_item where business_date = date '{TODAY}'"
        )
        return int(row[0])


def rows(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cur:
        cur.execute(statement)
        return list(cur.fetchall())


def settle(dsn: str) -> None:
    """What autovacuum and the checkpointer would do meanwhile, done now so that it falls into nobody's measurement."""
    with closing(psycopg2.connect(dsn)) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute("vacuum (analyze)")
            cur.execute("checkpoint")
