"""What the control database keeps of moves: their state, a journal of steps, and who drives one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Business, Shard
from sharding.moving import copying

log = logging.getLogger(__name__)

State = Literal[
    "planned", "copying", "catching_up", "ready", "flipping", "flipped", "done", "rolled_back", "aborted"
]  # fmt: skip
STATES: tuple[State, ...] = get_args(State)
FINISHED: tuple[State, ...] = ("done", "rolled_back", "aborted")
BEAT_SECONDS = 0.5
SILENT_SECONDS = 5.0
"""A driver that has not been heard of for so long is stopped or cut off: another one may take over from it."""
_LEASE = 19455  # advisory lock class of "this business's move is being driven"
_DYING_SECONDS = 0.5  # until the server has noticed that a driver was killed
_LIST = "larder business moves"
_COLUMNS = """
    m.move_id, m.business, b.name, m.from_shard, m.to_shard, m.state, m.epoch, m.started_at, m.flipped_at, m.keep_until,
    m.error
"""


@dataclass(frozen=True)
class Move:
    """A business on its way. `epoch` is that of the business when the move began."""

    id: int
    business: int
    business_name: str
    from_shard: str
    to_shard: str
    state: State
    epoch: int
    started_at: datetime
    flipped_at: datetime | None
    keep_until: datetime | None
    error: str | None


_PLACE = "set local synchronous_commit = off; update control.businesses set shard = %s, epoch = %s where business = %s"


class Journal:
    """Moves in the control database. While it is held, this process drives the business's move and no other does.

    The lease is a lock of a session, which the server gives up with the process. A driver that is stopped, or cut off,
    keeps it but is not heard any more: the next one ends that session and then every other of that driver (`fence`).
    Whatever the old one opens after it went on, it asks for its lease first (`connect`), and finds it gone.
    """

    def __init__(self, catalogue: Catalogue, lease: Connection, business: Business) -> None:
        self.catalogue, self._lease, self._business = catalogue, lease, business

    @classmethod
    @contextmanager
    def driving(cls, catalogue: Catalogue, business: Business) -> Iterator[Journal]:
        """Take the business's moves for this process until the end of the block.

        Raises:
            LarderError: turn `you`: another driver has it.
        """
        with closing(psycopg2.connect(catalogue.dsn, application_name=_label(business.id))) as lease:
            lease.autocommit = True
            _take(lease, business)
            with _heard(lease):
                yield cls(catalogue, lease, business)

    def connect(self, shard: Shard) -> Connection:
        """A connection to a shard that another driver ends when it takes over.

        The lease is asked for after the connection stands: then either the other driver sees it, or it is not given.
        """
        conn = copying.connect(shard, _label(self._business.id))
        try:
            self.still_ours()
        except BaseException:
            conn.close()
            raise
        return conn

    def fence(self, *shards: Shard) -> None:
        """End what earlier drivers of this business left running on shards, and wait until it is gone.

        Raises:
            LarderError: turn `us`: a session does not end.
        """
        for shard in shards:
            with closing(copying.connect(shard)) as conn, conn, conn.cursor() as cursor:
                cursor.execute(
                    "select pid from pg_stat_activity where application_name = %s and datname = current_database()",
                    (_label(self._business.id),),
                )
                for (pid,) in cursor.fetchall():
                    cursor.execute("select pg_terminate_backend(%s, 10000)", (pid,))
                    if cursor.fetchone() != (True,):
                        raise LarderError(
                            f"session {pid} of an earlier driver does not end on {shard.name}", "us", self.again
                        )

    def still_ours(self) -> None:
        """Raise psycopg2.Error unless this process still holds the lease."""
        with self._lease.cursor() as cursor:
            cursor.execute("select 1")

    @property
    def again(self) -> str:
        """The command that goes on."""
        return f"larder business move {self._business.name}"

    def open_move(self) -> Move | None:
        """The business's move that is not finished."""
        found = moves(self.catalogue, self._business.id, open_only=True)
        return found[0] if found else None

    def begin(self, to_shard: str) -> Move:
        """Write down that the business is to move."""
        with self._lease.cursor() as cursor:
            cursor.execute(
                "insert into control.moves (business, from_shard, to_shard, epoch) values (%s, %s, %s, %s)"
                " returning move_id",
                (self._business.id, self._business.shard, to_shard, self._business.epoch),
            )
            [(move_id,)] = cursor.fetchall()
        return move_of(self.catalogue, move_id)

    def step(self, move: Move, step: str, state: State | None = None, **detail: Any) -> Move:
        """Write a step of the move, and its new state where it has one, at once. Only the driver can."""
        with self._lease.cursor() as cursor:
            cursor.execute(
                """
                with stepped as (
                    update control.moves set
                        state = %(state)s, error = null,
                        finished_at = case when %(state)s = any(%(finished)s) then clock_timestamp() end
                    where move_id = %(move)s and %(state)s is not null
                )
                insert into control.move_journal (move_id, step, detail) values (%(move)s, %(step)s, %(detail)s)
                """,
                {"state": state, "finished": list(FINISHED), "move": move.id, "step": step, "detail": Json(detail)},
            )
        return move_of(self.catalogue, move.id)

    def place_now(self, shard: str, epoch: int) -> None:
        """Tell the catalogue where the business lives now, and nothing else: writers wait. `place` makes it last."""
        with self._lease.cursor() as cursor:
            cursor.execute(_PLACE, (shard, epoch, self._business.id))

    def rehearse_place(self, shard: str) -> None:
        """Tell it and take it back: the first time, a session takes twice as long."""
        with self._lease.cursor() as cursor:
            cursor.execute(f"begin; {_PLACE}; rollback", (shard, self._business.epoch, self._business.id))

    def place(self, move: Move, shard: str, epoch: int, keep: timedelta | None) -> Move:
        """Tell the catalogue where the business lives now, and that the move has flipped, at once."""
        with self._lease.cursor() as cursor:
            cursor.execute(
                """
                with placed as (
                    update control.businesses set shard = %(shard)s, epoch = %(epoch)s where business = %(business)s
                ),
                flipped as (
                    update control.moves set
                        state = 'flipped', error = null, flipped_at = coalesce(flipped_at, clock_timestamp()),
                        keep_until = coalesce(keep_until, clock_timestamp() + %(keep)s)
                    where move_id = %(move)s
                )
                insert into control.move_journal (move_id, step, detail) values (%(move)s, 'placed', %(detail)s)
                """,
                {
                    "shard": shard,
                    "epoch": epoch,
                    "business": move.business,
                    "keep": keep,
                    "move": move.id,
                    "detail": Json({"shard": shard, "epoch": epoch}),
                },
            )
        return move_of(self.catalogue, move.id)

    def failed(self, move: Move, error: BaseException) -> None:
        """Keep why the move stopped; it can be gone on with. Without the control database there is nobody to tell."""
        try:
            with self._lease.cursor() as cursor:
                cursor.execute(
                    "update control.moves set error = %s where move_id = %s", (" ".join(str(error).split()), move.id)
                )
        except psycopg2.Error as lost:
            log.warning("the control database does not keep why the move of %s stopped: %s", move.business_name, lost)


def moves(catalogue: Catalogue, business: int | None = None, *, open_only: bool = False) -> list[Move]:
    """Moves, newest first."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_COLUMNS} from control.moves as m inner join control.businesses as b using (business)
            where m.business = coalesce(%s, m.business) and (not %s or m.state <> all(%s))
            order by m.move_id desc
            """,
            (business, open_only, list(FINISHED)),
        )
        return [Move(*row) for row in cursor.fetchall()]


def move_of(catalogue: Catalogue, move_id: int) -> Move:
    """One move by its number."""
    return next(move for move in moves(catalogue) if move.id == move_id)


def steps(catalogue: Catalogue, move_id: int) -> list[tuple[datetime, str, Mapping[str, Any]]]:
    """The journal of a move, oldest first."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select at, step, detail from control.move_journal where move_id = %s order by at", (move_id,))
        return list(cursor.fetchall())


def has_step(catalogue: Catalogue, move: Move, *names: str) -> bool:
    """Whether a move's journal has one of these steps."""
    return any(step in names for _, step, _ in steps(catalogue, move.id))


def _label(business: int) -> str:
    return f"larder move {business}"


def _take(lease: Connection, business: Business) -> None:
    """Lock the business's moves for this session; from a driver that is not heard any more by ending its session."""
    give_up = time.monotonic() + _DYING_SECONDS
    with lease.cursor() as cursor:
        while True:
            cursor.execute("select pg_try_advisory_lock(%s, %s)", (_LEASE, business.id))
            [(taken,)] = cursor.fetchall()
            if taken:
                return
            cursor.execute(
                """
                select a.pid, clock_timestamp() - a.state_change > make_interval(secs => %s)
                from pg_locks as l
                inner join pg_stat_activity as a using (pid)
                where l.locktype = 'advisory' and l.granted and a.datname = current_database()
                    and l.classid = %s and l.objid = %s and l.objsubid = 2
                """,
                (SILENT_SECONDS, _LEASE, business.id),
            )
            for pid, silent in cursor.fetchall():
                if silent:
                    cursor.execute("select pg_terminate_backend(%s, 5000)", (pid,))
                elif time.monotonic() > give_up:
                    raise LarderError(f"another process is moving {business.name}", "you", _LIST)
            time.sleep(0.05)  # a killed driver's session is about to end, which is not announced


@contextmanager
def _heard(lease: Connection) -> Iterator[None]:
    """Let the server hear of this session twice a second while the block runs. Whether the session still stands shows
    where it is used: a beat that fails says no more than that."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            try:
                with lease.cursor() as cursor:
                    cursor.execute("select 1")
            except psycopg2.Error:
                return

    heart = threading.Thread(target=beat, name="move lease", daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()
