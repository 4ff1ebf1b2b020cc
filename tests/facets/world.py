"""The sources of the test project, and random changes to them.

Everything a change does follows from its `random.Random` and from what the tables hold, so that a seed reproduces a
round, but for what six writers at once make of each other.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg2
from psycopg2.errors import DeadlockDetected, LockNotAvailable, UniqueViolation
from psycopg2.extras import execute_values

TABLES = """
create schema raw;
create sequence raw.block;
create table raw.sale_version (
    block_seq bigint, sale_id int, line int, location_id int not null, item_id int, quantity int, net numeric(12, 2),
    sold_at timestamptz, is_void boolean, deleted boolean, primary key (sale_id, block_seq, line)
);
create index on raw.sale_version (location_id);
create table raw.shift (
    shift_id int primary key, location_id int not null, started_at timestamptz, hours numeric(6, 2),
    cost numeric(12, 2), source json -- a type that cannot be compared
);
create index on raw.shift (location_id);
create table raw.spend (
    location_id int, business_date date, channel text, amount numeric(12, 2),
    primary key (location_id, business_date, channel)
);
create table raw.item (item_id int primary key, name text, category text);
create table raw.location_setting (location_id int primary key, business_id int, time_zone text, day_start int);
create table raw.budget (business_id int primary key, monthly numeric(12, 2));
"""

SALES, SHIFTS = 140, 50  # small spaces of ids: changes meet each other
LOCATIONS, ITEMS, BUSINESSES = range(1, 7), range(1, 13), (1, 2, 3)
ZONES = ("UTC", "America/New_York", "Europe/Paris", "Asia/Tokyo")
CATEGORIES = ("food", "drinks", "merchandise", "gifts")
CHANNELS = ("search", "social", "mail")
# Two windows 364 days apart, each over a change of month and, in the zones above, one to daylight saving time.
FIRST_DAY, WINDOW, YEARS = date(2024, 3, 20), 16, (0, 364)
GAP = 10  # between the numbers of blocks, so that a block can arrive out of order
# A change that waits for an open transaction gives up: that transaction belongs to the same thread.
LOCK_TIMEOUT = "100ms"

Cursor = Any
Operation = Callable[[random.Random, Cursor], None]
Line = tuple[Any, ...]  # block_seq, sale_id, line, location_id, item_id, quantity, net, sold_at, is_void, deleted


@dataclass(frozen=True)
class Change:
    """A transaction of the sources: what it did, and how it ended."""

    what: tuple[str, ...]
    end: str


def connect(dsn: str) -> Any:
    """A connection of a writer."""
    return psycopg2.connect(dsn, options=f"-c lock_timeout={LOCK_TIMEOUT} -c timezone=UTC")


def fill(dsn: str, rng: random.Random) -> None:
    """The tables, with their dimensions and some sales, shifts and spend."""
    with connection(dsn) as made, made.cursor() as cursor:
        cursor.execute(TABLES)
        items = [(i, f"item {i}", rng.choice(CATEGORIES)) for i in ITEMS]
        execute_values(cursor, "insert into raw.item values %s", items)
        execute_values(cursor, "insert into raw.budget values %s", [(i, _money(rng)) for i in BUSINESSES])
        settings = [(i, rng.choice(BUSINESSES), rng.choice(ZONES), rng.choice((0, 4, 6))) for i in LOCATIONS]
        execute_values(cursor, "insert into raw.location_setting values %s", settings)
        for _ in range(60):
            sell(rng, cursor)
        for _ in range(25):
            clock_in(rng, cursor)
            advertise(rng, cursor)
        made.commit()


@contextmanager
def connection(dsn: str) -> Iterator[Any]:
    """A writer's connection, closed in the end; what it did not commit is rolled back."""
    made = connect(dsn)
    try:
        yield made
    finally:
        made.close()


def change(rng: random.Random, connection: Any) -> Change:
    """One transaction of one to three random operations; one in eight rolls back."""
    # Only here, where it ends at once: a cycle would wait for the lock of a truncation that is left open.
    what = work(rng, connection, (start_over,) if rng.random() < 0.04 else ())
    if what is None:
        return Change((), "gave up")
    if rng.random() < 0.125:
        connection.rollback()
        return Change(what, "rolled back")
    connection.commit()
    return Change(what, "committed")


def work(rng: random.Random, connection: Any, first: Sequence[Operation] = ()) -> tuple[str, ...] | None:
    """`first` and one to three random operations, in a transaction left open; None if another was in the way."""
    operations = (*first, *rng.choices(tuple(OPERATIONS), tuple(OPERATIONS.values()), k=rng.choice((1, 1, 2, 3))))
    try:
        with connection.cursor() as cursor:
            for operation in operations:
                operation(rng, cursor)
    except (LockNotAvailable, DeadlockDetected, UniqueViolation):  # of writers at the same time
        connection.rollback()
        return None
    return tuple(operation.__name__ for operation in operations)


# What happens to sales. Versions are only ever added, but for compaction and erasure.


def sell(rng: random.Random, cursor: Cursor) -> None:
    """Sales of one to four lines; an id that exists gets a version that has nothing to do with its last one."""
    rows = []
    block = _next_block(cursor)
    for sale in rng.sample(range(1, SALES + 1), rng.randint(1, 3)):
        location, sold_at = rng.choice(LOCATIONS), _instant(rng)
        for line in range(1, rng.randint(1, 4) + 1):
            quantity = rng.randint(1, 3)
            void = rng.random() < 0.1
            rows.append(
                (block, sale, line, location, rng.choice(ITEMS), quantity, _money(rng), sold_at, void, False),
            )
    _write(cursor, rows)


def refund(rng: random.Random, cursor: Cursor) -> None:
    """A line is taken back: one more line, negative."""
    lines = _newest(rng, cursor)
    if lines:
        _, sale, _, location, item, quantity, net, sold_at, _, _ = rng.choice(lines)
        taken_back = (0, sale, len(lines) + 1, location, item, -(quantity or 0), -(net or 0), sold_at, False, False)
        _rewrite(cursor, [*lines, taken_back])


def void(rng: random.Random, cursor: Cursor) -> None:
    """A line, or all of them, voided or not any more."""
    lines = _newest(rng, cursor)
    chosen = {line[2] for line in (lines if rng.random() < 0.5 else lines[:1])}
    _rewrite(cursor, [(*line[:8], line[2] in chosen and not line[8], line[9]) for line in lines])


def move(rng: random.Random, cursor: Cursor) -> None:
    """A sale goes to another time, another location, or both."""
    lines = _newest(rng, cursor)
    location = rng.choice(LOCATIONS) if rng.random() < 0.6 else None
    sold_at = _instant(rng) if location is None or rng.random() < 0.5 else None
    _rewrite(cursor, [(*line[:3], location or line[3], *line[4:7], sold_at or line[7], *line[8:]) for line in lines])


def reprice(rng: random.Random, cursor: Cursor) -> None:
    """Lines of a sale get another price or item, or go missing."""
    lines = _newest(rng, cursor)
    kept = [line for line in lines if rng.random() < 0.8] or lines[:1]
    _rewrite(cursor, [(*line[:4], rng.choice(ITEMS), line[5], _money(rng), *line[7:]) for line in kept])


def reimport(rng: random.Random, cursor: Cursor) -> None:
    """A location's day is fetched again: most sales come as they were, the others are gone and get a tombstone."""
    location, day = rng.choice(LOCATIONS), _day(rng)
    cursor.execute(
        "select distinct sale_id from raw.sale_version where location_id = %s and sold_at::date = %s order by 1",
        (location, day),
    )
    for (sale,) in cursor.fetchall():
        lines = _newest(rng, cursor, sale)
        gone = rng.random() < 0.4
        _rewrite(cursor, [(*line[:9], gone) for line in (lines[:1] if gone else lines)])


def cancel(rng: random.Random, cursor: Cursor) -> None:
    """A tombstone for a sale."""
    _rewrite(cursor, [(*line[:9], True) for line in _newest(rng, cursor)[:1]])


def replay(rng: random.Random, cursor: Cursor) -> None:
    """A version arrives again: not written, written over itself, or in a new block."""
    lines = _newest(rng, cursor)
    way = rng.choice(("ignored", "overwritten", "new block"))
    if way == "new block":
        _rewrite(cursor, lines)
    elif way == "ignored":
        _write(cursor, lines)
    elif lines:
        cursor.execute("update raw.sale_version set net = net where sale_id = %s", (lines[0][1],))


def out_of_order(rng: random.Random, cursor: Cursor) -> None:
    """A block arrives after later ones: some of its sales are newer than what is there, others are not."""
    block = _next_block(cursor) - rng.randint(0, 30) * GAP + rng.randint(1, GAP - 1)
    rows = []
    for _ in range(3):
        rows += [(block, *line[1:5], line[5], _money(rng), *line[7:]) for line in _newest(rng, cursor)]
    _write(cursor, rows)


def compact(rng: random.Random, cursor: Cursor) -> None:
    """Versions that newer ones replaced are deleted."""
    cursor.execute(
        """delete from raw.sale_version as old where sale_id between %s and %s
        and block_seq < (select max(block_seq) from raw.sale_version as new where new.sale_id = old.sale_id)""",
        _span(rng, SALES),
    )


def erase(rng: random.Random, cursor: Cursor) -> None:
    """All versions of a sale are deleted."""
    cursor.execute("delete from raw.sale_version where sale_id = %s", (rng.randint(1, SALES),))


# What happens to the other sources, in place.


def clock_in(rng: random.Random, cursor: Cursor) -> None:
    """A shift, new or over the one of that id."""
    shift = (rng.randint(1, SHIFTS), rng.choice(LOCATIONS), _instant(rng), Decimal(rng.randint(0, 40)) / 4, _money(rng))
    cursor.execute(
        """insert into raw.shift values (%s, %s, %s, %s, %s, '{"by": "clock"}') on conflict (shift_id) do update set
        location_id = excluded.location_id, started_at = excluded.started_at, hours = excluded.hours""",
        shift,
    )


def correct_shifts(rng: random.Random, cursor: Cursor) -> None:
    """Hours, start or location of some shifts."""
    what = rng.choice(
        ("hours = hours + 0.25", "started_at = started_at + interval '9 hours'", "location_id = location_id %% 6 + 1")
    )
    cursor.execute(f"update raw.shift set {what} where shift_id between %s and %s", _span(rng, SHIFTS, 4))


def delete_shifts(rng: random.Random, cursor: Cursor) -> None:
    """Some shifts are gone."""
    cursor.execute("delete from raw.shift where shift_id between %s and %s", _span(rng, SHIFTS, 4))


def renumber(rng: random.Random, cursor: Cursor) -> None:
    """A row gets another key: an update that leaves one facet and enters another."""
    if rng.random() < 0.5:
        old, new = rng.randint(1, SHIFTS), rng.randint(1, SHIFTS)
        cursor.execute(
            """update raw.shift set shift_id = %s where shift_id = %s
            and not exists (select from raw.shift where shift_id = %s)""",
            (new, old, new),
        )
    else:
        cursor.execute(
            """update raw.spend as old set business_date = business_date + 1 where location_id = %s and not exists (
                select from raw.spend as other where other.location_id = old.location_id
                and other.business_date in (old.business_date - 1, old.business_date + 1)
            )""",
            (rng.choice(LOCATIONS),),
        )


def plan(rng: random.Random, cursor: Cursor) -> None:
    """A business' budget."""
    cursor.execute("update raw.budget set monthly = %s where business_id = %s", (_money(rng), rng.choice(BUSINESSES)))


def advertise(rng: random.Random, cursor: Cursor) -> None:
    """Spend of a day and location: replaced, merged into what is there, or taken away."""
    location, day = rng.choice(LOCATIONS), _day(rng)
    way = rng.choice(("replace", "merge", "delete"))
    if way != "merge":
        cursor.execute("delete from raw.spend where location_id = %s and business_date = %s", (location, day))
    if way != "delete":
        rows = [(location, day, channel, _money(rng)) for channel in rng.sample(CHANNELS, rng.randint(1, 3))]
        execute_values(
            cursor,
            """insert into raw.spend values %s
            on conflict (location_id, business_date, channel) do update set amount = excluded.amount""",
            rows,
        )


def edit_item(rng: random.Random, cursor: Cursor) -> None:
    """An item is renamed, put elsewhere, taken off the menu, or comes back."""
    item = rng.choice(ITEMS)
    if rng.random() < 0.25:
        cursor.execute("delete from raw.item where item_id = %s", (item,))
        return
    cursor.execute(
        """insert into raw.item values (%s, %s, %s)
        on conflict (item_id) do update set name = excluded.name, category = excluded.category""",
        (item, f"item {item}" + rng.choice(("", " (large)", " (new)")), rng.choice(CATEGORIES)),
    )


def edit_setting(rng: random.Random, cursor: Cursor) -> None:
    """A location gets another time zone, day start or business, or closes, or opens again."""
    location = rng.choice(LOCATIONS)
    if rng.random() < 0.15:
        cursor.execute("delete from raw.location_setting where location_id = %s", (location,))
        return
    setting = {
        "business_id": rng.choice(BUSINESSES),
        "time_zone": rng.choice(ZONES),
        "day_start": rng.choice((0, 4, 6)),
    }
    changed = rng.choice(tuple(setting))
    cursor.execute(
        f"""insert into raw.location_setting values (%s, %s, %s, %s)
        on conflict (location_id) do update set {changed} = excluded.{changed}""",
        (location, *setting.values()),
    )


def start_over(rng: random.Random, cursor: Cursor) -> None:
    """Spend is truncated and partly loaded again, in bulk."""
    cursor.execute("select * from raw.spend order by 1, 2, 3")
    kept = [row for row in cursor.fetchall() if rng.random() < 0.8]
    cursor.execute("truncate raw.spend")
    lines = "\n".join("\t".join(map(str, row)) for row in kept)
    cursor.copy_expert("copy raw.spend from stdin", io.StringIO(lines))


def made_anew(rng: random.Random, cursor: Cursor) -> None:
    """Another table takes the place of that of spend, with other rows and without triggers, as a loader may do it."""
    cursor.execute("create table raw.spend_next (like raw.spend including all)")
    cursor.execute("insert into raw.spend_next select * from raw.spend where business_date <> %s", (_day(rng),))
    cursor.execute("update raw.spend_next set amount = amount + 1 where location_id = %s", (rng.choice(LOCATIONS),))
    cursor.execute("drop table raw.spend")
    cursor.execute("alter table raw.spend_next rename to spend")


def there_and_back(rng: random.Random, cursor: Cursor) -> None:
    """Changes that cancel out in one transaction."""
    location, day, shift = rng.choice(LOCATIONS), _day(rng), rng.randint(1, SHIFTS)
    cursor.execute("insert into raw.spend values (%s, %s, 'fair', 1)", (location, day))
    cursor.execute("delete from raw.spend where channel = 'fair'")
    cursor.execute("update raw.shift set hours = hours + 1 where shift_id = %s", (shift,))
    cursor.execute("update raw.shift set hours = hours - 1 where shift_id = %s", (shift,))


OPERATIONS: dict[Operation, int] = {
    sell: 4, refund: 2, void: 2, move: 3, reprice: 2, reimport: 2, cancel: 1, replay: 2, out_of_order: 2, compact: 1,
    erase: 1, clock_in: 2, correct_shifts: 1, delete_shifts: 1, renumber: 2, plan: 1, advertise: 2, edit_item: 2,
    edit_setting: 1, there_and_back: 1,
}  # fmt: skip


def _next_block(cursor: Cursor) -> int:
    cursor.execute("select nextval('raw.block')")
    return int(cursor.fetchone()[0]) * GAP


def _newest(rng: random.Random, cursor: Cursor, sale: int | None = None) -> list[Line]:
    """The lines of a sale's newest version; of a random sale if none is named, which may not exist."""
    sale = sale if sale is not None else rng.randint(1, SALES)
    cursor.execute(
        """select * from raw.sale_version where sale_id = %s
        and block_seq = (select max(block_seq) from raw.sale_version where sale_id = %s) order by line""",
        (sale, sale),
    )
    return list(cursor.fetchall())


def _rewrite(cursor: Cursor, lines: Sequence[Line]) -> None:
    """Write the lines as a version of a new block."""
    if lines:
        block = _next_block(cursor)
        _write(cursor, [(block, *line[1:]) for line in lines])


def _write(cursor: Cursor, rows: Sequence[Line]) -> None:
    if rows:
        execute_values(cursor, "insert into raw.sale_version values %s on conflict do nothing", rows)


def _span(rng: random.Random, size: int, length: int = 20) -> tuple[int, int]:
    first = rng.randint(1, size)
    return first, first + rng.randint(0, length - 1)


def _day(rng: random.Random) -> date:
    return FIRST_DAY + timedelta(days=rng.choice(YEARS) + rng.randrange(WINDOW))


def _instant(rng: random.Random) -> datetime:
    day = _day(rng)
    return datetime(day.year, day.month, day.day, rng.randrange(24), rng.choice((0, 30)), tzinfo=UTC)


def _money(rng: random.Random) -> Decimal:
    """A few round prices, so that equal sums and ties occur."""
    return Decimal(rng.choice((100, 250, 250, 499, 1000, 1250, rng.randint(1, 3000)))) / 100
