"""Indexes of a shard that a business has to itself: dropped for the copy, made again after it, side by side.

Into indexes that stand a row costs about twice as much. On a shard where others live they stand: they are theirs. What
is dropped is kept in `keys.move_index` until it is made again, and while anything is in it no other business comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.model import Shard
from sharding.moving.capture import retried, tried
from sharding.moving.layout import relation
from sharding.moving.workers import share_out

MEMORY = "256MB"  # for each index while it is made
WORTH_ROWS = 20_000  # from so many rows on a table's indexes are worth the dropping
_GIVE_WAY_SECONDS = 5.0  # how long a table's readers are asked for it; then it keeps its indexes


def defer(target: Connection, shard: Shard, business: int, tables: Iterable[str]) -> list[str]:
    """Drop the indexes of those of the tables that have no rows, where no other business lives on the shard.

    Indexes that a foreign key of another table needs stay. Returns the names of the tables that lost some.
    """
    deferred = []
    for name in tables:

        def drop(cursor: Cursor, name: str = name) -> None:
            if _alone(cursor, shard, business) and _drop(cursor, shard, business, name):
                deferred.append(name)

        tried(target, drop, _GIVE_WAY_SECONDS)
    return deferred


def restore(target: Connection, shard: Shard, business: int, workers: int, open_: Callable[[Shard], Connection]) -> int:
    """Make the dropped indexes again, some at a time, then their constraints. Returns how many. Safe to repeat.

    Raises:
        psycopg2.errors.UniqueViolation: what was copied is not what a unique index allows.
    """
    missing = _missing(target, shard, business)

    def make(conn: Connection, definition: str) -> None:
        with conn, conn.cursor() as cursor:
            cursor.execute("select set_config('maintenance_work_mem', %s, true)", (MEMORY,))
            cursor.execute(
                "set local max_parallel_maintenance_workers = 0"
            )  # as many are made at once as there are cores
            cursor.execute(definition.replace(" INDEX ", " INDEX IF NOT EXISTS ", 1))

    share_out([definition for _, _, definition, _ in missing], workers, lambda: open_(shard), make)
    for name, index, _, kind in missing:

        def settle(cursor: Cursor, name: str = name, index: str = index, kind: str | None = kind) -> None:
            if kind is not None:
                cursor.execute(
                    sql.SQL("alter table {} add constraint {index} {} using index {index}").format(
                        relation(shard, name),
                        sql.SQL("primary key" if kind == "p" else "unique"),
                        index=sql.Identifier(index),
                    )
                )
            cursor.execute(
                sql.SQL("delete from {} where relation = %s and index = %s").format(relation(shard, "keys.move_index")),
                (name, index),
            )

        retried(target, name, settle)
    return len(missing)


def analyze(shard: Shard, names: Iterable[str], workers: int, open_: Callable[[Shard], Connection]) -> None:
    """Let the planner know what has come."""

    def look(conn: Connection, name: str) -> None:
        with conn, conn.cursor() as cursor:
            cursor.execute(sql.SQL("analyze {}").format(relation(shard, name)))

    share_out(list(names), workers, lambda: open_(shard), look)


def filled_by(conn: Connection, shard: Shard) -> int | None:
    """The business for whose copy indexes of a shard are dropped."""
    with conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("select business from {} limit 1").format(relation(shard, "keys.move_index")))
        row = cursor.fetchone()
    return int(row[0]) if row else None


def _missing(target: Connection, shard: Shard, business: int) -> list[tuple[str, str, str, str | None]]:
    """(table, index, definition, kind of constraint) of what was dropped; of the largest tables first, so that the
    last ones to be made are short."""
    with target, target.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select relation, index, definition, constraint_kind from {} where business = %s order by 1, 2"
            ).format(relation(shard, "keys.move_index")),
            (business,),
        )
        found = cursor.fetchall()
        sizes = {}
        for name in {name for name, *_ in found}:
            cursor.execute("select pg_relation_size(%s)", (relation(shard, name).as_string(cursor),))
            [(sizes[name],)] = cursor.fetchall()
    return sorted(found, key=lambda index: -sizes[index[0]])


def _alone(cursor: Cursor, shard: Shard, business: int) -> bool:
    route = relation(shard, "keys.route")
    cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(route))  # none comes meanwhile
    cursor.execute(sql.SQL("select exists (select from {} where business <> %s)").format(route), (business,))
    [(others,)] = cursor.fetchall()
    return not others


def _drop(cursor: Cursor, shard: Shard, business: int, name: str) -> bool:
    table = relation(shard, name)
    cursor.execute(sql.SQL("lock table {} in access exclusive mode").format(table))
    cursor.execute(sql.SQL("select exists (select from {})").format(table))
    [(has_rows,)] = cursor.fetchall()
    if has_rows:
        return False
    cursor.execute(
        sql.SQL(
            """
            insert into {} (business, relation, index, definition, constraint_kind)
            select %s, %s, i.relname, pg_get_indexdef(i.oid), c.contype
            from pg_index as x
            inner join pg_class as i on i.oid = x.indexrelid
            left join pg_constraint as c on c.conindid = i.oid and c.conrelid = x.indrelid
            where x.indrelid = {}::regclass and not x.indisreplident and coalesce(c.contype, 'u') in ('p', 'u')
                and not coalesce(c.condeferrable, false)
                and not exists (select from pg_constraint as f where f.conindid = i.oid and f.contype = 'f')
            returning index, constraint_kind
            """
        ).format(relation(shard, "keys.move_index"), sql.Literal(table.as_string(cursor))),
        (business, name),
    )
    dropped = cursor.fetchall()
    for index, kind in dropped:
        if kind is None:
            cursor.execute(
                sql.SQL("drop index {}").format(
                    sql.SQL(".").join([sql.Identifier(shard.schema(name.partition(".")[0])), sql.Identifier(index)])
                )
            )
        else:
            cursor.execute(sql.SQL("alter table {} drop constraint {}").format(table, sql.Identifier(index)))
    return bool(dropped)
