"""The moment in which a business changes shards: the only time its writes wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg2 import errors, sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.drain import drain, snapshot_of
from sharding.moving.layout import Feed, MovedTable, feeds, moved_tables, relation

CAP_SECONDS = 0.25
_TRIES = 200
_NUMBER_GAP = 1_000
"""Numbers that are left out, so that one drawn on the old shard in a transaction that failed is never drawn again."""
_GATE = 19450  # advisory lock class of the write gate


class TooLongError(Exception):
    """The flip could not be done within its cap; nothing has changed."""


@dataclass(frozen=True)
class Flipped:
    """How long writes of the business waited, and in which try it succeeded."""

    seconds: float
    tries: int
    keys: int


def flip(
    source: Connection,
    target: Connection,
    cutover: Connection,
    from_: Shard,
    to: Shard,
    business: int,
    still_ours: Callable[[], None],
    placed: Callable[[int], None],
    before_try: Callable[[], None],
    reached: Callable[[str], None],
) -> Flipped:
    """Give the business to the new shard.

    Writers hold the business's gate as a shared lock for their transaction; the flip takes it alone, brings the last
    changes, and closes the route here before it opens the one there: at no time have both. Where the lock or the rest
    takes longer than the cap, everything is rolled back and tried again a little later.

    Args:
        cutover: another connection to the new shard; at the end its open transaction sees what the flip left there.
        still_ours: raises if another driver may have begun.
        placed: tells the catalogue the new epoch; until then writers are sent back to the old shard, and come again.
        before_try: brings what has changed so far, so that little is left to bring inside.
        reached: told each point at which a kill leaves another state behind.

    Raises:
        LarderError: turn `us`: every try took too long.
    """
    tables, there, streams = moved_tables(source, from_), feeds(target, to), _streams(source, from_)
    source.rollback()
    target.rollback()
    for attempt in range(1, _TRIES + 1):
        before_try()
        _close_there(cutover, business)
        began = time.monotonic()
        try:
            keys, epoch = _once(source, target, from_, to, business, still_ours, tables, there, streams, began, reached)
        except (TooLongError, errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected):
            source.rollback()
            target.rollback()
            time.sleep(min(0.02 * attempt, 1.0))  # lets those through that waited behind this try
            continue
        except BaseException:
            _roll_back(source, target)
            raise
        keep_cutover(cutover, business)
        placed(epoch)
        return Flipped(time.monotonic() - began, attempt, keys)
    raise LarderError(
        f"writers keep the business longer than {CAP_SECONDS * 1000:.0f} ms each time ({_TRIES} tries)",
        "us",
        "larder business moves",
    )


def _once(
    source: Connection,
    target: Connection,
    from_: Shard,
    to: Shard,
    business: int,
    still_ours: Callable[[], None],
    tables: Sequence[MovedTable],
    there: Sequence[Feed],
    streams: int,
    began: float,
    reached: Callable[[str], None],
) -> tuple[int, int]:
    with source.cursor() as here, target.cursor() as into:
        milliseconds = int(CAP_SECONDS * 1000)
        here.execute("set local lock_timeout = %s", (milliseconds,))
        here.execute("set local statement_timeout = %s", (milliseconds,))
        into.execute("set local lock_timeout = %s", (milliseconds,))
        here.execute("select pg_advisory_xact_lock(%s, %s)", (_GATE, business))
        # From here on nobody writes the business, so each statement of this READ COMMITTED transaction sees the same.
        if _streams(source, from_) != streams:
            raise LarderError(f"a stream came about on {from_.name} just now", "you", "larder business moves")
        drained = drain(source, into, from_, to, business, tables, there, snapshot_of(here))
        epoch = _open_there(here, into, from_, to, business)
        here.execute(
            sql.SQL("update {} set state = 'out', epoch = %s where business = %s").format(
                relation(from_, "keys.route")
            ),
            (epoch, business),
        )
        still_ours()
        if time.monotonic() - began > CAP_SECONDS:
            raise TooLongError
    reached("both open")
    source.commit()  # the point of no return: after it the business goes on there, whatever happens to this process
    reached("closed here")
    target.commit()
    reached("open there")
    return drained.keys, epoch


def finish(source: Connection, target: Connection, from_: Shard, to: Shard, business: int) -> int:
    """Go on after a driver died between both commits, when the route here is `out`. Returns the epoch there."""
    with source.cursor() as here, target.cursor() as into:
        into.execute(
            sql.SQL("select state, epoch from {} where business = %s").format(relation(to, "keys.route")), (business,)
        )
        row = into.fetchone()
        if row and row[0] == "active":
            target.rollback()
            source.rollback()
            return int(row[1])
        drain(source, into, from_, to, business, moved_tables(source, from_), feeds(target, to), snapshot_of(here))
        epoch = _open_there(here, into, from_, to, business, already_out=True)
    target.commit()
    source.rollback()
    return epoch


def _streams(conn: Connection, shard: Shard) -> int:
    with conn.cursor() as cursor:
        cursor.execute(sql.SQL("select count(*) from {}").format(relation(shard, "raw.stream")))
        [(count,)] = cursor.fetchall()
    return int(count)


def _open_there(
    here: Cursor, into: Cursor, from_: Shard, to: Shard, business: int, *, already_out: bool = False
) -> int:
    """The route and the counter on the new shard, in its open transaction; returns the new epoch."""
    here.execute(
        sql.SQL(
            "select r.name, r.display_name, r.epoch, r.first_weekday, r.reporting_currency, c.next"
            " from {} as r inner join {} as c using (business) where r.business = %s"
        ).format(relation(from_, "keys.route"), relation(from_, "keys.counter")),
        (business,),
    )
    [(name, display_name, epoch, first_weekday, currency, next_number)] = here.fetchall()
    epoch = int(epoch) if already_out else int(epoch) + 1
    into.execute("set local session_replication_role = origin")  # models are told that the business is here now
    into.execute(
        sql.SQL(
            "update {} set state = 'active', name = %s, display_name = %s, epoch = %s, first_weekday = %s,"
            " reporting_currency = %s where business = %s and state = 'arriving'"
        ).format(relation(to, "keys.route")),
        (name, display_name, epoch, first_weekday, currency, business),
    )
    if into.rowcount != 1:
        raise LarderError(f"{to.name} does not expect the business {name}", "us", "larder business moves")
    into.execute(
        sql.SQL(
            "insert into {} as c (business, next) values (%s, %s)"
            " on conflict (business) do update set next = greatest(c.next, excluded.next)"
        ).format(relation(to, "keys.counter")),
        (business, next_number + _NUMBER_GAP),
    )
    # What was noted there for the way back begins now.
    for table in ("keys.move_change", "keys.move_entry"):
        into.execute(sql.SQL("delete from {} where business = %s").format(relation(to, table)), (business,))
    return epoch


def _roll_back(*connections: Connection) -> None:
    for connection in connections:
        if not connection.closed:
            connection.rollback()


def _close_there(cutover: Connection, business: int) -> None:
    """Hold the business's gate on the new shard, for the session: its first write there waits for the snapshot."""
    with cutover, cutover.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(%s, %s)", (_GATE, business))


def keep_cutover(cutover: Connection, business: int) -> None:
    """Take a snapshot that lasts until the connection's transaction ends, then let writers in."""
    cutover.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
    with cutover.cursor() as cursor:
        snapshot_of(cursor)
        cursor.execute("select pg_advisory_unlock_all()")
