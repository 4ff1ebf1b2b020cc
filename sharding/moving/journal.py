"""What the control database keeps of moves: their state, a journal of steps, and who drives one."""

from __future__ import annotations

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
from sharding.model import Business

State = Literal[
    "planned", "copying", "catching_up", "ready", "flipping", "flipped", "done", "rolled_back", "aborted"
]  # fmt: skip
STATES: tuple[State, ...] = get_args(State)
_LEASE = 19455  # advisory lock class of "this business's move is being driven"
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


class Journal:
    """Moves in the control database. While it is held, this process drives the business's move and no other does."""

    def __init__(self, catalogue: Catalogue, lease: Connection, business: Business) -> None:
        self.catalogue, self._lease, self._business = catalogue, lease, business

    @classmethod
    @contextmanager
    def driving(cls, catalogue: Catalogue, business: Business) -> Iterator[Journal]:
        """Take the business's moves for this process until the end of the block.

        Raises:
            LarderError: turn `you`: another driver has it.
        """
        with closing(psycopg2.connect(catalogue.dsn, application_name="larder move")) as lease:
            lease.autocommit = True
            with lease.cursor() as cursor:
                cursor.execute("select pg_try_advisory_lock(%s, %s)", (_LEASE, business.id))
                [(taken,)] = cursor.fetchall()
            if not taken:
                raise LarderError(f"another process is moving {business.name}", "you", _LIST)
            yield cls(catalogue, lease, business)

    def still_ours(self) -> None:
        """Raise unless this process still holds the lease: a second driver may have begun when its connection broke."""
        try:
            with self._lease.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error as error:
            raise LarderError(
                f"the control database was lost while {self._business.name} moved", "us", self.again
            ) from error

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
        with self.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "insert into control.moves (business, from_shard, to_shard, epoch) values (%s, %s, %s, %s)",
                (self._business.id, self._business.shard, to_shard, self._business.epoch),
            )
        move = self.open_move()
        assert move is not None
        return move

    def step(self, move: Move, step: str, state: State | None = None, **detail: Any) -> Move:
        """Write a step of the move, and its new state where it has one."""
        with self.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "insert into control.move_journal (move_id, step, detail) values (%s, %s, %s)",
                (move.id, step, Json(detail)),
            )
            if state is not None:
                cursor.execute(
                    "update control.moves set state = %s, error = null,"
                    " finished_at = case when %s in ('done', 'rolled_back', 'aborted') then clock_timestamp() end"
                    " where move_id = %s",
                    (state, state, move.id),
                )
        return move_of(self.catalogue, move.id)

    def place_now(self, shard: str, epoch: int) -> None:
        """Tell the catalogue where the business lives now, and nothing else: writers wait for it."""
        with self._lease.cursor() as cursor:
            cursor.execute(
                "update control.businesses set shard = %s, epoch = %s where business = %s",
                (shard, epoch, self._business.id),
            )

    def place(self, move: Move, shard: str, epoch: int, state: State, keep: timedelta | None) -> Move:
        """Tell the catalogue where the business lives now, with the move's new state in the same transaction."""
        with self.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "update control.businesses set shard = %s, epoch = %s where business = %s",
                (shard, epoch, move.business),
            )
            cursor.execute(
                "update control.moves set state = %s, error = null,"
                " flipped_at = coalesce(flipped_at, clock_timestamp()),"
                " keep_until = coalesce(keep_until, clock_timestamp() + %s)"
                " where move_id = %s",
                (state, keep, move.id),
            )
            cursor.execute(
                "insert into control.move_journal (move_id, step, detail) values (%s, %s, %s)",
                (move.id, "placed", Json({"shard": shard, "epoch": epoch})),
            )
        return move_of(self.catalogue, move.id)

    def failed(self, move: Move, error: BaseException) -> None:
        """Keep why the move stopped; it can be gone on with."""
        with self.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "update control.moves set error = %s where move_id = %s", (" ".join(str(error).split()), move.id)
            )


def moves(catalogue: Catalogue, business: int | None = None, *, open_only: bool = False) -> list[Move]:
    """Moves, newest first."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_COLUMNS} from control.moves as m inner join control.businesses as b using (business)
            where m.business = coalesce(%s, m.business)
                and (not %s or m.state not in ('done', 'rolled_back', 'aborted'))
            order by m.move_id desc
            """,
            (business, open_only),
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
