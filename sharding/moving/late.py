"""What is done of a flip while writes wait: two questions to the old shard and one to the new one.

Rows travel as JSON inside these statements, where a COPY of each table would cost four round trips of its own; every
row that was brought is compared as anywhere else, so nothing that JSON could lose goes unseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.layout import Feed, MovedTable, relation
from sharding.moving.stages import Way

NUMBER_GAP = 1_000
"""Numbers that are left out, so that one drawn on the old shard in a transaction that failed is never drawn again."""
_LEAVE, _OPEN = "larder_leave", "larder_open"
_ROUTE = sql.SQL("r.name, r.display_name, r.epoch, r.first_weekday, r.reporting_currency, c.next")
"""`Left.route`, of a route `r` and a counter `c`; `_opening` takes these values in this order."""


@dataclass(frozen=True)
class Left:
    """What the old shard said when it closed: all that the new one has to know but the changed rows.

    Attributes:
        route: name, display name, epoch on the new shard, first weekday, currency, next number.
        told: feed → entries as JSON text.
        noted: table → keys of changed rows as JSON text; `keys`: how many.
        streams: how many there are.
    """

    route: tuple[Any, ...]
    told: Mapping[str, str]
    noted: Mapping[str, str]
    keys: int
    streams: int

    @property
    def epoch(self) -> int:
        """Of the business on the new shard."""
        return int(self.route[2])


@dataclass(frozen=True)
class _Part:
    """Changed rows of a table: their keys and the rows themselves as JSON text, and their digest on the old shard."""

    table: MovedTable
    keys: str
    rows: str
    digest: str


def close(here: Cursor, shard: Shard, business: int, gate: int) -> Left:
    """Take the gate, close the route, and see what was noted; after a rehearsal.

    Raises:
        LarderError: turn `us`: the business does not live here.
    """
    return _left(here, shard, business, f"select pg_advisory_xact_lock({gate}, {business});")


def rehearse(way: Way, tables: Sequence[MovedTable], there: Sequence[Feed]) -> None:
    """Hand over a row of each table, then none, and take it back: the first time, a session takes twice as long.

    Nobody waits for it: writers read the route, and none of them changes it.
    """
    with way.source, way.target, way.source.cursor() as here, way.target.cursor() as into:
        here.execute(_prepared(_LEAVE, _leaving(way.from_, way.business)))
        into.execute(_prepared(_OPEN, _opening(way.to, way.business)))
    any_key = sql.SQL(" union all ").join(_any_key(table, way.from_, way.business) for table in tables)
    for keys in (any_key, sql.SQL("select where false")):
        try:
            with way.source.cursor() as here, way.target.cursor() as into:
                # The business may be the last one in a table of millions of rows, which the planner takes for even.
                here.execute(sql.SQL("set local enable_seqscan = off; {}").format(keys))
                noted = dict(here.fetchall())
                left = replace(_left(here, way.from_, way.business), noted=noted)
                hand_over(way, here, into, tables, there, left)
        finally:
            way.source.rollback()
            way.target.rollback()


def _any_key(table: MovedTable, shard: Shard, business: int) -> sql.Composed:
    """A table's name and the key of some row of the business as JSON text."""
    key = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name, _ in table.key)
    return sql.SQL("(select {}, jsonb_build_array(jsonb_build_array({}))::text from {} where {} limit 1)").format(
        sql.Literal(table.name), key, table.at(shard), table.rows_of(business)
    )


def hand_over(
    way: Way, here: Cursor, into: Cursor, tables: Sequence[MovedTable], there: Sequence[Feed], left: Left
) -> None:
    """Bring the noted rows, compare them, and open the route there, in both open transactions.

    Raises:
        LarderError: turn `us`: a row is not as on the old shard, or a route is not as it must be; neither may commit.
    """
    by_name = {table.name: table for table in tables}
    noted = [(by_name[name], keys) for name, keys in left.noted.items()]
    parts = _read(here, way.from_, noted) if noted else []
    found = _arrive(into, way.to, way.business, left, parts, {feed.name: feed for feed in there})
    for part in parts:
        if found[part.table.name] != part.digest:
            raise LarderError(
                f"{part.table.name}: the last changed rows did not arrive on {way.to.name} as they were on"
                f" {way.from_.name}",
                "us",
                "larder business moves",
            )


def open_there(way: Way, here: Cursor, into: Cursor) -> int:
    """Open the route there after all, where a driver died when it had closed here; returns the new epoch.

    Raises:
        LarderError: turn `us`: the new shard does not expect the business.
    """
    here.execute(
        sql.SQL("select {} from {} as r inner join {} as c using (business) where r.business = {}").format(
            _ROUTE, relation(way.from_, "keys.route"), relation(way.from_, "keys.counter"), sql.Literal(way.business)
        )
    )
    [route] = here.fetchall()
    into.execute(_prepared(_OPEN, _opening(way.to, way.business)))
    into.execute(sql.SQL("set local session_replication_role = origin; {}").format(_open(route)))
    _opened(into, way.to, route[0])
    return int(route[2])


def _left(here: Cursor, shard: Shard, business: int, first: str = "") -> Left:
    here.execute(f"{first} execute {_LEAVE}")
    answer = here.fetchone()
    if answer is None:
        raise LarderError(f"business {business} does not take writes on {shard.name}", "us", "larder business moves")
    *route, told, noted, keys, streams = answer
    return Left(tuple(route), told or {}, noted or {}, int(keys), int(streams))


def _prepared(name: str, statement: sql.Composable) -> sql.Composed:
    """Parsed and planned once for the session, not for each set of values."""
    return sql.SQL("deallocate all; set plan_cache_mode = force_generic_plan; prepare {} as {}").format(
        sql.Identifier(name), statement
    )


def _leaving(shard: Shard, business: int) -> sql.Composed:
    """Closes the route; it, the entries and keys that were noted, and how many streams there are."""
    return sql.SQL(
        """
        with closed as (
            update {route} set state = 'out', epoch = epoch + 1
            where business = {business} and state = 'active' returning *
        )
        select
            {columns},
            (
                select jsonb_object_agg(relation, entries::text)
                from (
                    select relation, jsonb_agg(distinct entry) as entries
                    from {entries} where business = {business} group by relation
                ) as told
            ),
            noted.rows, noted.keys,
            (select count(*) from {streams})
        from closed as r
        inner join {counter} as c using (business)
        cross join (
            select jsonb_object_agg(relation, keys::text) as rows, coalesce(sum(jsonb_array_length(keys)), 0) as keys
            from (
                select relation, jsonb_agg(distinct to_jsonb(key)) as keys
                from {changes} where business = {business} group by relation
            ) as changed
        ) as noted
        """
    ).format(
        columns=_ROUTE,
        route=relation(shard, "keys.route"),
        counter=relation(shard, "keys.counter"),
        entries=relation(shard, "keys.move_entry"),
        changes=relation(shard, "keys.move_change"),
        streams=relation(shard, "raw.stream"),
        business=sql.Literal(business),
    )


def _opening(shard: Shard, business: int) -> sql.Composed:
    """Opens the route with what `Left.route` says; what was noted there for the way back begins now. A row, where the
    business was expected."""
    return sql.SQL(
        """
        with opened as (
            update {route} set
                state = 'active', name = $1, display_name = $2, epoch = $3, first_weekday = $4, reporting_currency = $5
            where business = {business} and state = 'arriving' returning business
        ),
        counted as (
            insert into {counter} as c (business, next) values ({business}, $6::bigint + {gap})
            on conflict (business) do update set next = greatest(c.next, excluded.next)
        ),
        without_changes as (delete from {changes} where business = {business}),
        without_entries as (delete from {entries} where business = {business})
        select array[]::text[] from opened
        """
    ).format(
        route=relation(shard, "keys.route"),
        counter=relation(shard, "keys.counter"),
        changes=relation(shard, "keys.move_change"),
        entries=relation(shard, "keys.move_entry"),
        business=sql.Literal(business),
        gap=sql.Literal(NUMBER_GAP),
    )


def _read(here: Cursor, shard: Shard, noted: Sequence[tuple[MovedTable, str]]) -> list[_Part]:
    """The noted rows of all tables, in one statement's time."""
    reads = [
        sql.SQL("(select array[{}, json_agg((select row_to_json(one) from (select {}) as one))::text] from {})").format(
            _digest(table),
            sql.SQL(", ").join(sql.SQL("here.{}").format(sql.Identifier(name)) for name in table.columns),
            _rows(table, shard, keys),
        )
        for table, keys in noted
    ]
    here.execute(sql.SQL("select array[{}]::text[]").format(sql.SQL(", ").join(reads)))
    [(found,)] = here.fetchall()
    return [
        _Part(table, keys, rows or "[]", digest) for (table, keys), (digest, rows) in zip(noted, found, strict=True)
    ]


def _arrive(
    into: Cursor,
    shard: Shard,
    business: int,
    left: Left,
    parts: Sequence[_Part],
    target_feeds: Mapping[str, Feed],
) -> dict[str, str]:
    """Everything that the new shard has to do, in one round trip; table → digest of the rows it now has."""
    statements: list[sql.Composable] = [
        *(statement for part in parts for statement in _replaced(part, shard)),
        *(_entries(shard, target_feeds[name], entries) for name, entries in left.told.items() if name in target_feeds),
    ]
    if statements:  # otherwise without: a change of role makes the session forget its plans
        statements.insert(0, sql.SQL("set local session_replication_role = replica"))  # rows come as triggers made them
        statements.append(sql.SQL("set local session_replication_role = origin"))
    statements.append(_open(left.route))
    if parts:
        found = (
            sql.SQL("(select {} from {})").format(_digest(part.table), _rows(part.table, shard, part.keys))
            for part in parts
        )
        statements.append(
            sql.SQL("select array[{}]::text[] from {} where business = {} and state = 'active' and epoch = {}").format(
                sql.SQL(", ").join(found), relation(shard, "keys.route"), *map(sql.Literal, (business, left.epoch))
            )
        )
    into.execute(sql.SQL(";\n").join(statements))
    digests = _opened(into, shard, left.route[0])
    return {part.table.name: digest for part, digest in zip(parts, digests, strict=True)}


def _open(route: Sequence[Any]) -> sql.Composed:
    """As the session's own role, not as a replica: models are told that the business is here now."""
    return sql.SQL("execute {} ({})").format(sql.SQL(_OPEN), sql.SQL(", ").join(map(sql.Literal, route)))


def _opened(into: Cursor, shard: Shard, name: str) -> Sequence[str]:
    answer = into.fetchone()
    if answer is None:
        raise LarderError(f"{shard.name} does not expect the business {name}", "us", "larder business moves")
    digests: Sequence[str] = answer[0]
    return digests


def _replaced(part: _Part, shard: Shard) -> list[sql.Composed]:
    at, columns = part.table.at(shard), part.table.column_list
    return [
        sql.SQL("delete from {} as there using {} where {}").format(
            at, _noted(part.keys), part.table.same_key("there", "noted.key")
        ),
        sql.SQL("insert into {0} ({1}) select {1} from json_populate_recordset(null::{0}, {2}::json)").format(
            at, columns, sql.Literal(part.rows)
        ),
    ]


def _entries(shard: Shard, feed: Feed, entries: str) -> sql.Composed:
    """What models of the old shard were told, for those of the new one; a feed that it lacks has no reader there."""
    if not feed.columns:
        return sql.SQL("insert into {} default values").format(relation(shard, feed.name))
    columns = sql.SQL(", ").join(map(sql.Identifier, feed.columns))
    return sql.SQL("insert into {0} ({1}) select {1} from jsonb_populate_recordset(null::{0}, {2}::jsonb)").format(
        relation(shard, feed.name), columns, sql.Literal(entries)
    )


def _digest(table: MovedTable) -> sql.Composed:
    return sql.SQL("count(*) || ':' || coalesce(sum(hash_record_extended(row({}), 0)), 0)").format(table.hashed)


def _rows(table: MovedTable, shard: Shard, keys: str) -> sql.Composed:
    return sql.SQL("{} as here inner join {} on {}").format(
        table.at(shard), _noted(keys), table.same_key("here", "noted.key")
    )


def _noted(keys: str) -> sql.Composed:
    return sql.SQL(
        "(select array(select jsonb_array_elements_text(value)) as key from jsonb_array_elements({}::jsonb)) as noted"
    ).format(sql.Literal(keys))
