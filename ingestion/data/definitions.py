"""Tables of a source's own: their columns travel as records of the stream `tables`, and make views in schema `custom`.

`custom.<business>__<table>` shows the current rows, typed, with the ids that the marts have (business, source,
location) and where each is from (block, version, file, line).
"""

import json
from collections.abc import Mapping

import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ingestion.data.entities import Type
from ingestion.data.mapping import DEFINITIONS

SCHEMA = "custom"
_POSTGRES: dict[str, str] = {
    "text": "text", "integer": "bigint", "number": "numeric", "boolean": "boolean", "date": "date",
    "timestamp": "timestamptz", "currency": "text", "interval": "interval",
}  # fmt: skip
_OURS = frozenset(
    {"business_id", "source_id", "location_id", "row_key", "file", "line", "block_id", "version_id", "observed_at"}
)
_ROLE_READS = """
do $$ begin
    if exists (select from pg_roles where rolname = 'larder_reader') then
        grant usage on schema {schema} to larder_reader;
        grant select on {view} to larder_reader;
    end if;
end $$
"""
_VIEW = """
create view {view} as
select
    {keys}.make_id({number}, 0) as business_id,
    rows.source_id,
    placed.location_id,
    rows.natural_key as row_key,
    {columns}
    rows.payload ->> 'file' as file,
    (rows.payload ->> 'line')::bigint as line,
    rows.block_id,
    rows.version_id,
    rows.observed_at
from {current} as rows
left join lateral (
    select coalesce(
        (
            select mapped.location_id
            from {keys}.source_location as site
            inner join {keys}.location_map as mapped on mapped.source_location_id = site.id
            where site.source_id = rows.source_id and site.natural_key = rows.payload ->> 'location'
            order by mapped.valid_from desc limit 1
        ),
        (
            select location.id
            from {keys}.location as location
            where {keys}.business_of(location.id) = {number} and location.name = rows.payload ->> 'location'
            order by location.id limit 1
        )
    ) as location_id
) as placed on true
where
    {keys}.business_of(rows.source_id) = {number}
    and exists (select from {keys}.route as route where route.business = {number} and route.state <> 'out')
"""


def merged(known: Mapping[str, Type] | None, met: Mapping[str, Type]) -> dict[str, Type]:
    """Columns that were known and those that were met; one of two types is text."""
    both = dict(known or {})
    for name, kind in met.items():
        both[name] = kind if both.get(name, kind) == kind else "text"
    return both


def record(table: str, columns: Mapping[str, Type], business: str) -> bytes:
    """The record that tells a table's columns, in their order: JSON in Postgres keeps none of an object's members."""
    said = {"key": table, "business": business, "columns": {}, "types": list(columns.items())}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def refresh_views(conn: Connection, schemas: Mapping[str, str], *, renew: bool = True) -> list[str]:
    """Make, or renew too, the views of all tables that the shard's sources have of their own; returns their names.

    `schemas` maps `raw` and `keys` to the shard's names. After a load, and after a move.
    """
    raw = f"{schemas['raw']}_data"
    schema = sql.Identifier(f"{schemas['raw'].removesuffix('raw')}{SCHEMA}")
    made: list[str] = []
    with conn, conn.cursor() as cur:
        cur.execute("select to_regclass(%s) is not null", (f'"{raw}".{DEFINITIONS}_current',))
        if not (cur.fetchone() or (False,))[0]:
            return made
        cur.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"larder views {raw}",))
        cur.execute(
            sql.SQL(
                "select {keys}.business_of(d.source_id), r.name, d.natural_key, d.payload -> 'types'"
                " from {raw}.{tables} as d inner join {keys}.route as r on r.business = {keys}.business_of(d.source_id)"
                " order by d.observed_at, d.source_id"
            ).format(
                keys=sql.Identifier(schemas["keys"]),
                raw=sql.Identifier(raw),
                tables=sql.Identifier(f"{DEFINITIONS}_current"),
            )
        )
        tables: dict[tuple[int, str, str], dict[str, Type]] = {}
        for business, name, table, types in cur.fetchall():
            tables[business, name, table] = merged(tables.get((business, name, table)), dict(types))
        if tables:
            cur.execute(sql.SQL("create schema if not exists {}").format(schema))
        for (business, name, table), types in tables.items():
            cur.execute("select to_regclass(%s) is not null", (f'"{raw}".{table}_current',))
            if not (cur.fetchone() or (False,))[0]:
                continue  # its rows come with a later load
            view = sql.SQL(".").join([schema, sql.Identifier(f"{name}__{table}"[:63])])
            cur.execute("select to_regclass(%s) is not null", (view.as_string(cur),))
            if (cur.fetchone() or (False,))[0] and not renew:
                continue
            columns = [
                sql.SQL("(rows.payload -> 'columns' ->> {})::{} as {},\n").format(
                    sql.Literal(column),
                    sql.SQL(_POSTGRES[kind]),
                    sql.Identifier(f"{column}_" if column in _OURS else column),
                )
                for column, kind in types.items()
            ]
            text = sql.SQL(_VIEW).format(
                view=view,
                keys=sql.Identifier(schemas["keys"]),
                number=sql.Literal(business),
                columns=sql.SQL("    ").join(columns),
                current=sql.SQL(".").join([sql.Identifier(raw), sql.Identifier(f"{table}_current")]),
            )
            _renew(cur, view, text)
            cur.execute(sql.SQL(_ROLE_READS).format(schema=schema, view=view))
            open_it = sql.SQL("select {}.open_custom(%s::regclass, %s)").format(sql.Identifier(schemas["keys"]))
            cur.execute(open_it, (view.as_string(cur), business))
            made.append(f"{SCHEMA}.{name}__{table}")
    return made


def _renew(cur: Cursor, view: sql.Composed, text: sql.Composed) -> None:
    """Replace a view in place where its columns allow it, so that readers' views on it stay; else make it anew."""
    cur.execute("savepoint renew")
    try:
        cur.execute(sql.SQL("create or replace") + sql.SQL(text.as_string(cur).lstrip().removeprefix("create")))
    except psycopg2.errors.InvalidTableDefinition:
        cur.execute("rollback to savepoint renew")
        cur.execute(sql.SQL("drop view {} cascade").format(view))
        cur.execute(text)
