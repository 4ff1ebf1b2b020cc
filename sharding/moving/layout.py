"""Which tables of a shard hold rows of a business, and what identifies one: read from the database, no list to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.ids import id_range
from sharding.model import Shard

# Written per shard or by the move itself.
_NOT_MOVED = frozenset(
    {
        "keys.route", "keys.counter", "keys.clock", "keys.move_change", "keys.move_entry", "keys.move_chunk",
        "keys.move_index",
        "keys.tenant", "keys.workspace",
        "keys.schema_history", "keys.schema_version",
        "raw.feed", "raw.stream", "raw.slice", "raw.build_mark",
    }
)  # fmt: skip
_OWN_FEEDS = frozenset({"keys.feed__route", "keys.feed__clock"})  # of what each shard says for itself
_OWNERS = ("id", "source_id", "location_id", "source_location_id", "source_employee_id", "source_item_id",
           "source_campaign_id", "employee_id", "item_id", "campaign_id", "business_id", "parent_id")  # fmt: skip
_EQUAL_IS_THE_SAME = frozenset(
    {"smallint", "integer", "bigint", "boolean", "uuid", "text", "character varying", "character(1)", "bytea", "date",
     "timestamp with time zone", "timestamp without time zone"}
)  # fmt: skip


@dataclass(frozen=True)
class MovedTable:
    """A table with rows of businesses. `name` is `schema.table` without the namespace's prefix.

    Attributes:
        owner: the column whose bits name the business.
        key: columns of the primary key with their types.
        columns: all that is copied, in order; not transaction ids, which mean nothing on another cluster.
        types: theirs.
    """

    name: str
    owner: str
    key: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    types: tuple[str, ...]

    def at(self, shard: Shard) -> sql.Composed:
        """Its qualified name on a shard."""
        return relation(shard, self.name)

    @property
    def column_list(self) -> sql.Composed:
        """The copied columns."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))

    @property
    def key_list(self) -> sql.Composed:
        """The key's columns."""
        return sql.SQL(", ").join(sql.Identifier(name) for name, _ in self.key)

    @property
    def hashed(self) -> sql.Composed:
        """Of a row `here`: the columns as a hash takes them in, so that every bit of each counts.

        Of types in which equal values can be written differently (1.0 and 1.00, also in jsonb; 1 day and 24 hours) it
        is the text.
        """
        return sql.SQL(", ").join(
            sql.SQL("here.{}" if type_ in _EQUAL_IS_THE_SAME else "here.{}::text").format(sql.Identifier(name))
            for name, type_ in zip(self.columns, self.types, strict=True)
        )

    def rows_of(self, business: int) -> sql.Composed:
        """Condition: the row is of the business."""
        low, high = id_range(business)
        return sql.SQL("{} between {} and {}").format(sql.Identifier(self.owner), sql.Literal(low), sql.Literal(high))

    def between(self, business: int, low: Sequence[str] | None, high: Sequence[str] | None) -> sql.Composed:
        """Condition: the row is of the business and its key in [low, high); None is open."""
        parts = [self.rows_of(business)]
        parts += [
            sql.SQL("({}) {} ({})").format(self.key_list, sql.SQL(operator), self._key_literal(bound))
            for operator, bound in ((">=", low), ("<", high))
            if bound is not None
        ]
        return sql.SQL(" and ").join(parts)

    def _key_literal(self, values: Sequence[str]) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(type_))
            for value, (_, type_) in zip(values, self.key, strict=True)
        )

    def same_key(self, one: str, key_array: str) -> sql.Composed:
        """Condition: the row `one` has the key that the text array `key_array` holds."""
        return sql.SQL(" and ").join(
            sql.SQL("{}.{} = ({}[{}])::{}").format(
                sql.Identifier(one), sql.Identifier(name), sql.SQL(key_array), sql.Literal(place), sql.SQL(type_)
            )
            for place, (name, type_) in enumerate(self.key, 1)
        )


@dataclass(frozen=True)
class Feed:
    """A table of entries that tell models what changed; `owner` is empty where none of its columns names a business."""

    name: str
    owner: str
    columns: tuple[str, ...]


def relation(shard: Shard, name: str) -> sql.Composed:
    """The qualified name on a shard of `schema.table`, without the namespace's prefix."""
    schema, _, table = name.partition(".")
    return sql.SQL("{}.{}").format(sql.Identifier(shard.schema(schema)), sql.Identifier(table))


def moved_tables(conn: Connection, shard: Shard, *, filled: bool = False) -> list[MovedTable]:
    """The tables with rows of businesses, what others refer to first.

    Args:
        filled: a copy is under way to the shard, and tables may lack their primary key until its end.
    """
    tables = []
    with conn.cursor() as cursor:
        cursor.execute(
            sql.SQL("select 'raw_' || integration || '.' || stream from {}").format(relation(shard, "raw.stream"))
        )
        streams = {name for (name,) in cursor.fetchall()}
    for name, columns, key in _tables(conn, shard):
        if name.partition(".")[0] not in ("keys", "raw") and name not in streams:
            continue
        if name in _NOT_MOVED or name.partition(".")[2].startswith("feed__"):
            continue
        owner = next((o for o in _OWNERS if columns.get(o) == "bigint"), None)
        if owner is None or not (key or filled):
            raise LarderError(f"{name} on {shard.name} names no business or has no primary key", "us", "larder doctor")
        copied = {column: type_ for column, type_ in columns.items() if type_ != "xid8"}
        typed_key = tuple((column, columns[column]) for column in key)
        tables.append(MovedTable(name, owner, typed_key, tuple(copied), tuple(copied.values())))
    return sorted(
        tables, key=lambda table: (not table.name.startswith("keys."), table.name != "keys.source", table.name)
    )


def feeds(conn: Connection, shard: Shard) -> list[Feed]:
    """The feeds of tables and models on a shard."""
    found = []
    for name, columns, _ in _tables(conn, shard):
        schema, _, table = name.partition(".")
        if name in _OWN_FEEDS:
            continue
        if (table.startswith("feed__") and schema in ("keys", "raw", "meta")) or name == "raw.feed":
            told = tuple(column for column in columns if column not in ("xid", "published_at"))
            owner = next((o for o in _OWNERS if columns.get(o) == "bigint"), "")
            found.append(Feed(name, owner, told))
    return found


def _tables(conn: Connection, shard: Shard) -> list[tuple[str, dict[str, str], list[str]]]:
    """(name without prefix, column → type, key columns) of every table in the shard's schemas."""
    prefix = f"{shard.namespace}_" if shard.namespace else ""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select
                n.nspname, c.relname,
                array_agg(a.attname::text order by a.attnum),
                array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum),
                (
                    select array_agg(k.attname::text order by place)
                    from pg_index as i
                    cross join lateral unnest(i.indkey) with ordinality as key (attnum, place)
                    inner join pg_attribute as k on k.attrelid = c.oid and k.attnum = key.attnum
                    where i.indrelid = c.oid and i.indisprimary
                )
            from pg_class as c
            inner join pg_namespace as n on n.oid = c.relnamespace
            inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            where c.relkind = 'r' and (n.nspname = any(%s) or n.nspname like %s)
            group by n.nspname, c.relname, c.oid
            order by 1, 2
            """,
            ([shard.schema(name) for name in ("keys", "raw", "meta")], f"{prefix}raw\\_%"),
        )
        return [
            (f"{schema[len(prefix) :]}.{table}", dict(zip(columns, types, strict=True)), key or [])
            for schema, table, columns, types, key in cursor.fetchall()
        ]
