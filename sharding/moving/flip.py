"""The moment in which a business changes shards: the only time its writes wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.model import WRITE_GATE, Shard
from sharding.moving import late
from sharding.moving.copying import flush
from sharding.moving.drain import drain, snapshot_of
from sharding.moving.late import Left
from sharding.moving.layout import Feed, MovedTable, feeds, moved_tables, relation
from sharding.moving.stages import Way

CAP_SECONDS = 0.25
BUDGET_SECONDS = 0.15
"""Of the cap, for the gate and the last changes; the rest is for the commits, which cannot be broken off."""
_LONG_SECONDS = 0.05
_PATIENCE = 600.0
_QUICK_SECONDS, _LOOKS_AT_THE_DISK = 0.02, 200
_MANY = 5_000  # changed rows with which a try is given up at once


class TooLongError(Exception):
    """The flip could not be done within its budget; nothing has changed."""


@dataclass(frozen=True)
class Flipped:
    """How long writes of the business waited, and in which try it succeeded. `epoch`: of the business from now on;
    `kept`: whether the connection `cutover` sees the new shard as the flip left it."""

    epoch: int
    seconds: float
    tries: int
    keys: int
    kept: bool


def flip(way: Way, cutover: Connection, before_try: Callable[[], None]) -> Flipped:
    """Give the business to the new shard.

    Writers hold the business's gate as a shared lock for their transaction; the flip takes it alone, brings the last
    changes, and closes the route here before it opens the one there: at no time have both. Where the lock or the rest
    takes longer than the budget, everything is rolled back and tried again a little later. A driver that stops inside
    is thrown out by both servers. Until the catalogue is told, writers are sent back to the old shard, and come again.

    Args:
        cutover: another connection to the new shard; at the end its open transaction sees what the flip left there.
        before_try: brings what has changed so far, so that little is left to bring inside; raises where a table came
            about that is not copied.

    Raises:
        LarderError: turn `us`: for minutes every try took too long.
    """
    source, target, business = way.source, way.target, way.business
    give_up = time.monotonic() + _PATIENCE
    for attempt in count(1):
        _wait_for_long_writers(source, business, give_up)
        _wait_for_the_disk(source)
        # Asked before the last drain: after it every millisecond counts.
        shape, there = moved_tables(source, way.from_), feeds(target, way.to)
        _roll_back(source, target)
        before_try()
        tables, streams = _keep_shape(source, way.from_, shape), _streams(source, way.from_)
        _limit(source, target)
        # In one database both shards have the same gate, and the source's transaction holds it.
        closed = not _one_database(way.from_, way.to) and _close_there(cutover, business)
        began = time.monotonic()
        try:
            with _within(BUDGET_SECONDS, source, target) as in_time:
                left = _once(way, tables, there, streams, in_time)
        except (TooLongError, errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected) as error:
            _roll_back(source, target)
            _let_in(cutover)
            if time.monotonic() > give_up:
                raise LarderError(
                    f"the last changes could not be brought within {BUDGET_SECONDS * 1000:.0f} ms in {attempt} tries",
                    "us",
                    "larder business moves",
                ) from error
            time.sleep(min(BUDGET_SECONDS * attempt, 1.0))  # lets those through that waited behind this try
            continue
        except BaseException:
            _roll_back(source, target)
            raise
        kept = closed and keep_cutover(cutover)
        way.journal.place_now(way.to.name, left.epoch)
        return Flipped(left.epoch, time.monotonic() - began, attempt, left.keys, kept)
    raise AssertionError("not reached")


def _once(
    way: Way, tables: Sequence[MovedTable], there: Sequence[Feed], streams: int, in_time: Callable[[], bool]
) -> Left:
    """One try; TooLongError, with nothing changed, where `in_time` says that the budget is spent before the commits."""
    with way.source.cursor() as here, way.target.cursor() as into:
        left = late.close(here, way.from_, way.business, WRITE_GATE)
        # From here on nobody writes the business, so each statement of this READ COMMITTED transaction sees the same.
        if left.streams != streams:
            raise LarderError(f"a stream came about on {way.from_.name} just now", "you", "larder business moves")
        if left.keys > _MANY:
            raise TooLongError
        late.hand_over(way, here, into, tables, there, left)
        way.journal.still_ours()  # another driver may have begun
        if not in_time():
            raise TooLongError
    way.habits.reached("both open")
    way.source.commit()  # the point of no return: after it the business goes on there, whatever happens to this process
    way.habits.reached("closed here")
    way.target.commit()
    way.habits.reached("open there")
    return left


def _limit(source: Connection, target: Connection) -> None:
    """A driver that stops inside a try must not keep the writers waiting."""
    limits = (
        f"set local lock_timeout = {BUDGET_SECONDS * 1000:.0f};"
        f" set local idle_in_transaction_session_timeout = {CAP_SECONDS * 1000:.0f}"
    )
    with source.cursor() as here, target.cursor() as into:
        # Lost in a crash, it is done again: what was noted here is given up after the new shard has been flushed.
        into.execute(f"{limits}; set local synchronous_commit = off")
        here.execute(limits)


def finish(way: Way, cutover: Connection) -> tuple[int, bool]:
    """Go on after a driver died between both commits, when the route here is `out`.

    Returns the epoch there, and whether `cutover` sees the new shard as it was at its opening.
    """
    source, target, from_, to, business = way.source, way.target, way.from_, way.to, way.business
    with source.cursor() as here, target.cursor() as into:
        into.execute(
            sql.SQL("select state, epoch from {} where business = %s").format(relation(to, "keys.route")), (business,)
        )
        row = into.fetchone()
        if row and row[0] == "active":
            _roll_back(source, target)
            return int(row[1]), False
        closed = _close_there(cutover, business)
        drain(source, into, from_, to, business, moved_tables(source, from_), feeds(target, to), snapshot_of(here))
        epoch = late.open_there(way, here, into)
    target.commit()
    source.rollback()
    return epoch, closed and keep_cutover(cutover)


def _streams(conn: Connection, shard: Shard) -> int:
    with conn.cursor() as cursor:
        cursor.execute(sql.SQL("select count(*) from {}").format(relation(shard, "raw.stream")))
        [(count,)] = cursor.fetchall()
    return int(count)


def _keep_shape(source: Connection, from_: Shard, tables: Sequence[MovedTable]) -> list[MovedTable]:
    """The tables that move, whose columns nobody changes before the source's transaction ends."""
    with source.cursor() as cursor:
        cursor.execute("set local lock_timeout = %s", (int(_PATIENCE * 1000),))
        names = sql.SQL(", ").join(table.at(from_) for table in tables)
        cursor.execute(sql.SQL("lock table {} in access share mode").format(names))
    return moved_tables(source, from_)


def _wait_for_long_writers(source: Connection, business: int, give_up: float) -> None:
    """Until no transaction holds the gate for a while: who waits for it lets all others wait behind."""
    known = set[str]()
    while True:
        with source, source.cursor() as cursor:
            cursor.execute(
                "select virtualtransaction, pid from pg_locks where locktype = 'advisory' and granted"
                " and database = (select oid from pg_database where datname = current_database())"
                " and classid = %s and objid = %s and objsubid = 2",
                (WRITE_GATE, business),
            )
            holders = dict(cursor.fetchall())
        known = known & holders.keys() if known else set(holders)
        if not known:
            return
        if time.monotonic() > give_up:
            pid = holders[min(known)]
            raise LarderError(f"session {pid} has kept the business for minutes", "us", "larder business moves")
        time.sleep(_LONG_SECONDS)  # its end is not announced


def _wait_for_the_disk(source: Connection) -> None:
    """Until a commit is quick: the one that closes the route waits for the same disk, and all writers with it. Builds
    write in bursts; where there is no end to them, the flip goes on all the same."""
    for _ in range(_LOOKS_AT_THE_DISK):
        began = time.monotonic()
        flush(source)
        if time.monotonic() - began < _QUICK_SECONDS:
            return
        time.sleep(_LONG_SECONDS)  # its end is not announced


@contextmanager
def _within(seconds: float, *connections: Connection) -> Iterator[Callable[[], bool]]:
    """Break off what the connections run when the time is up. The yielded function ends that, and says whether it was
    in time: after it, commits are safe from being broken off."""
    spent, lock = threading.Event(), threading.Lock()

    def break_off() -> None:
        with lock:
            if not over.is_set():
                spent.set()
                for connection in connections:
                    with suppress(psycopg2.Error):  # lost: then nothing of it runs
                        connection.cancel()

    def in_time() -> bool:
        with lock:
            over.set()
        return not spent.is_set()

    over = threading.Event()
    timer = threading.Timer(seconds, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield in_time
    finally:
        in_time()
        timer.cancel()


def _roll_back(*connections: Connection) -> None:
    for connection in connections:
        if not connection.closed:
            try:
                connection.rollback()
            except errors.QueryCanceled:  # broken off so late that it met this
                connection.rollback()


def _one_database(one: Shard, other: Shard) -> bool:
    return (one.host, one.port, one.database) == (other.host, other.port, other.database)


def _close_there(cutover: Connection, business: int) -> bool:
    """Hold the business's gate on the new shard, for the session: its first write there waits for the snapshot. A
    driver that stops meanwhile loses the session, and with it the snapshot."""
    with cutover, cutover.cursor() as cursor:
        cursor.execute("set idle_session_timeout = %s", (int(CAP_SECONDS * 1000),))
        cursor.execute("select pg_advisory_lock(%s, %s)", (WRITE_GATE, business))
    return True


def _let_in(cutover: Connection) -> None:
    if not cutover.closed:
        with cutover, cutover.cursor() as cursor:
            cursor.execute("set idle_session_timeout = 0")
            cursor.execute("select pg_advisory_unlock_all()")


def keep_cutover(cutover: Connection) -> bool:
    """Take a snapshot that lasts until the connection's transaction ends, then let writers in. False if the session was
    lost, so that writers were let in before."""
    try:
        cutover.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
        with cutover.cursor() as cursor:
            cursor.execute("select pg_current_snapshot(); select pg_advisory_unlock_all()")
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        return False
    return True
