"""Triggers that note what changes of a business on a shard while it, or the way back, is copied."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.layout import Feed, MovedTable, feeds, moved_tables, relation

_LOCK_TIMEOUT_MS = 100
"""A trigger's lock waits behind running writers and lets others wait behind it: no longer than this, then once more."""
_PATIENCE = 600.0
_ANY = "move\\_%"
_ON, _OFF = "O", "D"  # pg_trigger.tgenabled
_OPERATIONS = (
    ("insert", "referencing new table as new_rows"),
    ("update", "referencing old table as old_rows new table as new_rows"),
    ("delete", "referencing old table as old_rows"),
)


def start_capture(conn: Connection, shard: Shard, business: int) -> None:
    """Note every change of the business's rows from now on. Safe to repeat; tables that have their triggers keep them.

    When it returns, no transaction runs that changed a table without its trigger: each trigger's lock waited for it.

    Raises:
        LarderError: turn `us`: a table stayed locked by others for minutes.
    """
    have = _captured(conn, shard, business)
    for table in moved_tables(conn, shard):
        if table.name not in have:
            retried(conn, table.name, partial(_watch_table, shard=shard, business=business, table=table))
    for feed in feeds(conn, shard):
        if feed.name not in have:
            retried(conn, feed.name, partial(_watch_feed, shard=shard, business=business, feed=feed))


def stop_capture(conn: Connection, shard: Shard, business: int) -> None:
    """Switch the triggers off, drop them where nobody reads their table, and forget what they noted.

    To drop one waits for whoever reads the table, and a build may do so for an hour; to switch it off waits for writers
    only. What stays, switched off, is dropped by the shard's upkeep (`sweep`).

    Raises:
        LarderError: turn `us`: writers kept a table locked for minutes.
    """
    for name in _captured(conn, shard, business):
        retried(conn, name, partial(_switch_off, shard=shard, name=name, business=business))
    sweep(conn, shard)
    forget(conn, shard, business)


def sweep(conn: Connection, shard: Shard, patience: float = 2.0) -> int:
    """Drop triggers that are switched off, of whichever move; returns how many tables keep theirs, being read.

    Args:
        patience: seconds for all that are read; each is tried once at least.
    """
    give_up = time.monotonic() + patience
    with conn, conn.cursor() as cursor:
        names = list(_triggers(cursor, shard, _ANY, _OFF))
    drops = (partial(_drop, shard=shard, name=name) for name in names)
    return sum(not tried(conn, drop, give_up - time.monotonic()) for drop in drops)


def forget(conn: Connection, shard: Shard, business: int) -> None:
    """Forget what was noted so far."""
    with conn, conn.cursor() as cursor:
        for table in ("keys.move_change", "keys.move_entry"):
            cursor.execute(
                sql.SQL("delete from {} where business = %s").format(relation(shard, table)),
                (business,),
            )


def uncaptured(conn: Connection, shard: Shard, business: int) -> set[str]:
    """Tables of moving rows that came about since the capture began."""
    return {table.name for table in moved_tables(conn, shard)} - _captured(conn, shard, business)


def _captured(conn: Connection, shard: Shard, business: int) -> set[str]:
    """Tables that note what changes of a business."""
    with conn, conn.cursor() as cursor:
        return set(_triggers(cursor, shard, _of(business), _ON))


def _of(business: int) -> str:
    return f"move\\_{business}\\_%"


def _triggers(cursor: Cursor, shard: Shard, like: str, enabled: str) -> dict[str, list[str]]:
    """Table → its triggers of moves. Asked once the table is locked: another driver may have altered them."""
    prefix = f"{shard.namespace}_" if shard.namespace else ""
    cursor.execute(
        """
        select n.nspname || '.' || c.relname, array_agg(t.tgname::text)
        from pg_trigger as t
        inner join pg_class as c on c.oid = t.tgrelid
        inner join pg_namespace as n on n.oid = c.relnamespace
        where t.tgname like %s and t.tgenabled = %s and (n.nspname = any(%s) or n.nspname like %s)
        group by 1
        """,
        (like, enabled, [shard.schema(name) for name in ("keys", "raw", "meta")], f"{prefix}raw\\_%"),
    )
    return {name[len(prefix) :]: triggers for name, triggers in cursor.fetchall()}


def _switch_off(cursor: Cursor, shard: Shard, name: str, business: int) -> None:
    at = relation(shard, name)
    cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(at))
    for trigger in _triggers(cursor, shard, _of(business), _ON).get(name, ()):
        cursor.execute(sql.SQL("alter table {} disable trigger {}").format(at, sql.Identifier(trigger)))


def _drop(cursor: Cursor, shard: Shard, name: str) -> None:
    at = relation(shard, name)
    cursor.execute(sql.SQL("lock table {} in access exclusive mode").format(at))
    for trigger in _triggers(cursor, shard, _ANY, _OFF).get(name, ()):
        cursor.execute(sql.SQL("drop trigger {} on {}").format(sql.Identifier(trigger), at))


def _watch_table(cursor: Cursor, shard: Shard, business: int, table: MovedTable) -> None:
    arguments = [str(business), table.name, table.owner, *(name for name, _ in table.key)]
    for operation, transition in _OPERATIONS:
        _trigger(cursor, shard, business, table.name, operation, transition, "log_move_change", arguments)
    cursor.execute(
        sql.SQL("create or replace trigger {} before truncate on {} for each statement execute function {}({})").format(
            sql.Identifier(f"move_{business}_truncate"),
            relation(shard, table.name),
            relation(shard, "keys.refuse_truncate"),
            sql.Literal(str(business)),
        )
    )


def _watch_feed(cursor: Cursor, shard: Shard, business: int, feed: Feed) -> None:
    arguments = [str(business), feed.name, feed.owner]
    _trigger(cursor, shard, business, feed.name, *_OPERATIONS[0], "log_move_entry", arguments)


def _trigger(
    cursor: Cursor,
    shard: Shard,
    business: int,
    name: str,
    operation: str,
    transition: str,
    function: str,
    arguments: list[str],
) -> None:
    cursor.execute(
        sql.SQL("create or replace trigger {} after {} on {} {} for each statement execute function {}({})").format(
            sql.Identifier(f"move_{business}_{operation}"),
            sql.SQL(operation),
            relation(shard, name),
            sql.SQL(transition),
            relation(shard, f"keys.{function}"),
            sql.SQL(", ").join(map(sql.Literal, arguments)),
        )
    )


def retried(conn: Connection, name: str, change: Callable[[Cursor], None], patience: float = _PATIENCE) -> None:
    """Run a change of a table's triggers or indexes, again and again while others hold the table.

    Raises:
        LarderError: turn `us`: they held it for `patience` seconds.
    """
    if not tried(conn, change, patience):
        raise LarderError(f"{name} stays locked by others", "us", "larder business move list")


def tried(conn: Connection, change: Callable[[Cursor], None], patience: float) -> bool:
    """As `retried`, but False where others held the table all the time, and nothing was changed."""
    give_up, pause = time.monotonic() + patience, 0.05
    while not _once(conn, change):
        if time.monotonic() > give_up:
            return False
        time.sleep(pause)  # for who holds it; nothing announces its end
        pause = min(pause * 2, 1.0)
    return True


def _once(conn: Connection, change: Callable[[Cursor], None]) -> bool:
    try:
        with conn, conn.cursor() as cursor:
            cursor.execute("select set_config('lock_timeout', %s, true)", (f"{_LOCK_TIMEOUT_MS}ms",))
            change(cursor)
    except (errors.LockNotAvailable, errors.DeadlockDetected):
        return False
    except errors.UndefinedTable:
        pass  # a model's feed that was dropped meanwhile
    return True
