"""Every row of a business in a shard's database, wherever it is: found by columns that can name it, no list to keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.ids import id_range
from sharding.model import Shard

_BATCH = 20_000


@dataclass(frozen=True)
class Holder:
    """A table with columns that can name a business: by the bits of an id, or by its number."""

    schema: str
    table: str
    kind: str
    ids: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def name(self) -> str:
        """`schema.table`, as it is called in this database."""
        return f"{self.schema}.{self.table}"

    @property
    def is_feed(self) -> bool:
        """It tells models what changed; emptied last, since taking rows from others fills it."""
        return self.table.startswith("feed__") or self.table == "feed"

    @property
    def at(self) -> sql.Composed:
        """Its qualified name."""
        return sql.SQL("{}.{}").format(sql.Identifier(self.schema), sql.Identifier(self.table))

    def rows_of(self, business: int) -> sql.Composed:
        """Condition: one of its columns names the business."""
        low, high = map(sql.Literal, id_range(business))
        parts = [sql.SQL("{} between {} and {}").format(sql.Identifier(column), low, high) for column in self.ids]
        parts += [sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(business)) for column in self.numbers]
        return sql.SQL("({})").format(sql.SQL(" or ").join(parts))


def connect(shard: Shard) -> Connection:
    """A connection of the shard's owner: the mover's role does not see every schema of the database."""
    return psycopg2.connect(shard.dsn, application_name="larder erase", connect_timeout=10)


def traces(conn: Connection, shard: Shard, business: int, others: Sequence[Shard]) -> dict[str, int]:
    """Table → rows of the business in the shard's database; `others` are shards that share it and answer for theirs."""
    found = {}
    with conn, conn.cursor() as cursor:
        for holder in holders(cursor, shard, others):
            cursor.execute(sql.SQL("select count(*) from {} where {}").format(holder.at, holder.rows_of(business)))
            if (row := cursor.fetchone()) and row[0]:
                found[holder.name] = int(row[0])
    return found


def remove_traces(conn: Connection, shard: Shard, business: int, others: Sequence[Shard]) -> dict[str, int]:
    """Delete the rows that `traces` finds, feeds last; table → rows. A materialized view is made anew."""
    removed = {}
    with conn, conn.cursor() as cursor:
        tables = holders(cursor, shard, others)
    for holder in sorted(tables, key=lambda holder: holder.is_feed):
        if holder.kind == "m":
            with conn, conn.cursor() as cursor:
                cursor.execute(sql.SQL("refresh materialized view {}").format(holder.at))
        elif count := sum(_batches(conn, holder, business)):
            removed[holder.name] = count
    return removed


def _batches(conn: Connection, holder: Holder, business: int) -> Iterator[int]:
    while True:
        with conn, conn.cursor() as cursor:
            cursor.execute(
                sql.SQL("delete from {0} where ctid = any (array(select ctid from {0} where {1} limit %s))").format(
                    holder.at, holder.rows_of(business)
                ),
                (_BATCH,),
            )
            yield cursor.rowcount
            if cursor.rowcount < _BATCH:
                return


def forget_dead_rows(conn: Connection, tables: Sequence[str]) -> None:
    """Let the server reuse the room of deleted rows, and forget the values that its statistics kept of them."""
    conn.rollback()
    conn.autocommit = True
    try:
        with conn.cursor() as cursor:
            for name in tables:
                cursor.execute("select to_regclass(%s) is not null", (_quoted(name),))
                if cursor.fetchone() == (True,):
                    cursor.execute(f"vacuum (analyze) {_quoted(name)}")
    finally:
        conn.autocommit = False


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))


def holders(cursor: Cursor, shard: Shard, others: Sequence[Shard]) -> list[Holder]:
    """The tables of the shard's database that can name a business, but not those of `others`."""
    named = [schema for other in others for schema in other.schemas.values()]
    like = [other.schema("raw").replace("_", r"\_") + r"\_%" for other in others]
    cursor.execute(
        """
        select n.nspname, c.relname, c.relkind::text,
            array_agg(a.attname::text order by a.attnum) filter (where a.atttypid = 'bigint'::regtype),
            array_agg(a.attname::text order by a.attnum) filter (where a.attname = 'business')
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'm') and n.nspname !~ '^(pg_|information_schema)'
            and not (n.nspname = any(%s) or n.nspname like any(%s))
            and (
                a.atttypid = 'bigint'::regtype and (a.attname = 'id' or a.attname like '%%\\_id')
                or a.attname = 'business' and a.atttypid in ('int'::regtype, 'bigint'::regtype)
            )
        group by 1, 2, 3
        order by 1, 2
        """,
        (named, like),
    )
    found = []
    for schema, table, kind, wide, numbers in cursor.fetchall():
        ids = tuple(column for column in wide or () if column != "business")
        found.append(Holder(schema, table, kind, ids, tuple(numbers or ())))
    return found
