"""Which vendor's site, person, article or campaign is which of the business's own, and the settings of a location.

Rows are dated by business date. What a person sets has rule `approved`; builds add rows for what is new and never
change one. Triggers publish every edit to the feed of its table, so the next build knows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, NamedTuple, get_args

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError
from sharding.ids import business_of, id_range, make_id
from sharding.model import Shard
from sharding.periods import BEGINNING, END, Period, amend, to_date, to_text

Entity = Literal["location", "employee", "item", "campaign"]
ENTITIES: tuple[Entity, ...] = get_args(Entity)


class MapTable(NamedTuple):
    """Where the map of an entity is: a vendor's `thing` to the business's own `target`."""

    map: str
    thing: str
    target: str


TABLES: dict[Entity, MapTable] = {
    "location": MapTable("location_map", "source_location", "location"),
    "employee": MapTable("employee_map", "source_employee", "employee"),
    "item": MapTable("item_map", "source_item", "item"),
    "campaign": MapTable("campaign_location_map", "source_campaign", "location"),
}


@dataclass(frozen=True)
class MapRow:
    """One dated row of a map; a vendor's thing without one has None from `target_id` on."""

    thing_id: int
    source: str
    integration: str
    natural_key: str
    target_id: int | None
    target_name: str | None
    valid_from: str | None
    valid_to: str | None
    rule: str | None
    decided_by: str | None


@dataclass(frozen=True)
class MapValue:
    """What a map row says besides its dates."""

    target: int
    rule: str
    confidence: str
    decided_by: str
    decided_at: str


@dataclass(frozen=True)
class Setting:
    """What a location's numbers depend on besides its receipts."""

    timezone: str
    day_start: str
    overtime_weekly_hours: str
    overtime_multiplier: str
    decided_by: str
    decided_at: str


def list_map(connection: Connection, shard: Shard, entity: Entity, business: int) -> list[MapRow]:
    """Every thing of a business's vendors with what it is mapped to, by target, source and key."""
    table = TABLES[entity]
    query = f"""
        select thing.id, source.name, source.integration, thing.natural_key, map.{table.target}_id, target.name,
            map.valid_from::text, map.valid_to::text, map.rule, map.decided_by
        from {{keys}}.{table.thing} as thing
        inner join {{keys}}.source as source on source.id = thing.source_id
        left join {{keys}}.{table.map} as map on map.{table.thing}_id = thing.id
        left join {{keys}}.{table.target} as target on target.id = map.{table.target}_id
        where thing.id between %s and %s
        order by target.name nulls first, source.name, thing.natural_key, map.valid_from
    """
    with connection.cursor() as cursor:
        cursor.execute(shard.render(query), id_range(business))
        return [MapRow(*row) for row in cursor.fetchall()]


def set_map(
    connection: Connection,
    shard: Shard,
    entity: Entity,
    thing_id: int,
    target_id: int,
    decided_by: str,
    valid_from: date = BEGINNING,
    valid_to: date = END,
) -> list[Period[MapValue]]:
    """Map a vendor's thing to a target on the days of [valid_from, valid_to); returns all its periods.

    Raises:
        LarderError: turn `you` where thing and target are of two businesses or the dates are reversed.
        psycopg2.Error LD001: the business takes no writes here (`Router.run` repeats it elsewhere).
    """
    if business_of(thing_id) != business_of(target_id):
        raise LarderError(f"{thing_id} and {target_id} are of two businesses", "you", f"larder map list {entity}")
    table, business = TABLES[entity], business_of(thing_id)
    with connection.cursor() as cursor:
        now = _open(cursor, shard, business)
        key = f"{table.thing}_id"
        columns = (f"{table.target}_id", "rule", "confidence", "decided_by", "decided_at")
        before = [
            Period(start, end, MapValue(int(values[0]), *values[1:]))
            for start, end, values in _read(cursor, shard, table.map, key, thing_id, columns)
        ]
        value = MapValue(target_id, "approved", "1", decided_by, now)
        after = _amended(before, valid_from, valid_to, lambda _: value)
        rows = [(p.start, p.end, (p.value.target, *_fields(p.value)[1:])) for p in after]
        _write(cursor, shard, table.map, key, thing_id, columns, rows)
    return after


def list_settings(connection: Connection, shard: Shard, business: int) -> list[dict[str, Any]]:
    """Settings of a business's locations, by location and date; one without any has None in every field."""
    query = """
        select location.id as location_id, location.name as location, s.valid_from::text, s.valid_to::text, s.timezone,
            s.day_start::text, s.overtime_weekly_hours, s.overtime_multiplier, s.decided_by
        from {keys}.location as location
        left join {keys}.location_setting as s on s.location_id = location.id
        where location.id between %s and %s
        order by location.name, s.valid_from
    """
    with connection.cursor() as cursor:
        cursor.execute(shard.render(query), id_range(business))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def set_setting(
    connection: Connection,
    shard: Shard,
    location_id: int,
    decided_by: str,
    changes: dict[str, str],
    valid_from: date = BEGINNING,
    valid_to: date = END,
) -> list[Period[Setting]]:
    """Change fields of a location's setting on the days of [valid_from, valid_to); the others stay as they are.

    Args:
        changes: `timezone` (IANA name), `day_start` (such as `4 hours`), `overtime_weekly_hours`,
            `overtime_multiplier`. Days that have no setting yet need the time zone.

    Raises:
        LarderError: turn `you`: no such time zone, or reversed dates.
    """
    with connection.cursor() as cursor:
        now = _open(cursor, shard, business_of(location_id))
        if zone := changes.get("timezone"):
            cursor.execute("select 1 from pg_timezone_names where name = %s", (zone,))
            if cursor.fetchone() is None:
                raise LarderError(f"there is no time zone {zone!r}", "you", "larder map set-location --help")
        columns = ("timezone", "day_start", "overtime_weekly_hours", "overtime_multiplier", "decided_by", "decided_at")
        before = [
            Period(start, end, Setting(*values))
            for start, end, values in _read(cursor, shard, "location_setting", "location_id", location_id, columns)
        ]
        new = {**changes, "decided_by": decided_by, "decided_at": now}
        default = Setting(changes.get("timezone", ""), "04:00:00", "40", "1.5", decided_by, now)

        def change(old: Setting | None) -> Setting | None:
            if old is None:
                return replace(default, **new) if zone else None
            return replace(old, **new)

        after = _amended(before, valid_from, valid_to, change)
        rows = [(p.start, p.end, _fields(p.value)) for p in after]
        _write(cursor, shard, "location_setting", "location_id", location_id, columns, rows)
    return after


def find_thing(cursor: Cursor, shard: Shard, entity: Entity, business: int, reference: str) -> int:
    """Id of a vendor's thing, from its id or `source:natural key`."""
    source, _, key = reference.partition(":")
    query = f"""
        select thing.id from {{keys}}.{TABLES[entity].thing} as thing
        inner join {{keys}}.source as source on source.id = thing.source_id
        where thing.id between %s and %s and (thing.id::text = %s or (source.name = %s and thing.natural_key = %s))
    """
    return _one(cursor, shard, query, (*id_range(business), reference, source, key), f"{entity} {reference!r}", entity)


def expect_thing(cursor: Cursor, shard: Shard, entity: Entity, source_id: int, natural_key: str) -> int:
    """Id of a vendor's thing that may not have been seen yet: it can be mapped before its first record comes."""
    _open(cursor, shard, business_of(source_id))
    table = f"{{keys}}.{TABLES[entity].thing}"
    statement = f"""
        insert into {table} (parent_id, source_id, natural_key) values (%s, %s, %s) on conflict do nothing
    """
    cursor.execute(shard.render(statement), (source_id, source_id, natural_key))
    cursor.execute(
        shard.render(f"select id from {table} where source_id = %s and natural_key = %s"), (source_id, natural_key)
    )
    [(id_,)] = cursor.fetchall()
    return int(id_)


def find_target(cursor: Cursor, shard: Shard, entity: Entity, business: int, reference: str) -> int:
    """Id of a business's own location, employee or item, from its id or its name."""
    target = TABLES[entity].target
    query = f"""
        select id from {{keys}}.{target} where id between %s and %s and (id::text = %s or name = %s)
    """
    what = f"{target} {reference!r} of its own"
    return _one(cursor, shard, query, (*id_range(business), reference, reference), what, entity)


def add_target(cursor: Cursor, shard: Shard, entity: Entity, business: int, name: str) -> int:
    """A new location, employee or item of the business's own; returns its id."""
    _open(cursor, shard, business)
    statement = f"insert into {{keys}}.{TABLES[entity].target} (parent_id, name) values (%s, %s) returning id"
    cursor.execute(shard.render(statement), (make_id(business, 0), name))
    [(id_,)] = cursor.fetchall()
    return int(id_)


def _one(cursor: Cursor, shard: Shard, query: str, values: Sequence[Any], what: str, entity: Entity) -> int:
    cursor.execute(shard.render(query), values)
    found = cursor.fetchall()
    if len(found) != 1:
        count = "no" if not found else "more than one"
        raise LarderError(f"there is {count} {what}", "you", f"larder map list {entity}")
    return int(found[0][0])


def _open(cursor: Cursor, shard: Shard, business: int) -> str:
    """Pass the write gate, first of all; returns the transaction's time."""
    cursor.execute(shard.render("select {keys}.write_gate(%s), now()::text"), (business,))
    [(_, now)] = cursor.fetchall()
    return str(now)


def _amended(periods: list[Period[Any]], start: date, end: date, change: Any) -> list[Period[Any]]:
    try:
        return amend(periods, start, end, change)
    except ValueError as error:
        raise LarderError(str(error), "you", "larder map --help") from error


def _read(
    cursor: Cursor, shard: Shard, table: str, key: str, key_value: int, columns: Sequence[str]
) -> list[tuple[date, date, tuple[str, ...]]]:
    wanted = ", ".join(f"{column}::text" for column in columns)
    query = f"select valid_from::text, valid_to::text, {wanted} from {{keys}}.{table} where {key} = %s for update"
    cursor.execute(shard.render(query), (key_value,))
    return [(to_date(row[0]), to_date(row[1]), row[2:]) for row in cursor.fetchall()]


def _write(
    cursor: Cursor,
    shard: Shard,
    table: str,
    key: str,
    key_value: int,
    columns: Sequence[str],
    rows: Sequence[tuple[date, date, tuple[Any, ...]]],
) -> None:
    cursor.execute(shard.render(f"delete from {{keys}}.{table} where {key} = %s"), (key_value,))
    places = ", ".join(["%s"] * (len(columns) + 3))
    insert = shard.render(
        f"insert into {{keys}}.{table} ({key}, valid_from, valid_to, {', '.join(columns)}) values ({places})"
    )
    try:
        for start, end, values in rows:
            cursor.execute(insert, (key_value, to_text(start), to_text(end), *values))
    except (psycopg2.errors.ForeignKeyViolation, psycopg2.errors.CheckViolation, psycopg2.DataError) as error:
        raise LarderError(f"not accepted: {error.diag.message_primary}", "you", "larder map --help") from error


def _fields(value: MapValue | Setting) -> tuple[Any, ...]:
    return tuple(vars(value).values())
