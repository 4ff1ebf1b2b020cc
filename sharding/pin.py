"""What `Router.pinned` hands out: a connection for one transaction of one business, which ends with its block.

It looks like psycopg2's, as far as a transaction needs it. Beneath may be a replica: a statement that this one cancels
is sent again to the primary, and so is all that follows. The primary is never behind the replica: each statement sees
what the one before it saw, or later, as in any READ COMMITTED transaction.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import psycopg2
from psycopg2.extensions import ConnectionInfo
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError

_CANCELLED = frozenset({"40001", "40P01", "57P01", "57P02", "57P03", "57P04"})
"""SQLSTATEs of a replica that gives way to what it replays (40001, 40P01, 57P04), or stops. Not 57014: a statement that
took too long, or that somebody cancelled, is not sent again."""


def is_gone(error: psycopg2.Error, connection: Connection) -> bool:
    """Whether the server ended the connection rather than refuse a statement."""
    return bool(connection.closed) or isinstance(error, psycopg2.InterfaceError) or error.pgcode in _CANCELLED


class Pin:
    """A business's connection within its block.

    Args:
        on_replica: whether `connection` is a replica's.
        to_primary: gives a connection of the primary with a read transaction in which the business lives there.
    """

    def __init__(
        self,
        business: int,
        connection: Connection,
        *,
        primary: bool,
        on_replica: bool,
        to_primary: Callable[[], Connection],
    ) -> None:
        self.business, self.primary, self.on_replica = business, primary, on_replica
        self.depth = 0
        self._connection: Connection | None = connection
        self._to_primary = to_primary
        self.pid = os.getpid()

    @property
    def connection(self) -> Connection:
        """The connection beneath.

        Raises:
            LarderError: turn `us`: the pin has ended, or another process made it.
        """
        if self._connection is None:
            raise _misused(f"the pin of business {self.business} has ended", "use it inside its `with`")
        if os.getpid() != self.pid:
            raise _misused(f"the pin of business {self.business} is of the parent process", "pin it again after a fork")
        return self._connection

    def end(self) -> None:
        """No statement goes through it any more."""
        self._connection = None

    def leave_replica(self) -> Connection:
        """Go on at the primary."""
        if self.on_replica:
            self._connection = self._to_primary()
            self.on_replica = False
        return self.connection

    def cursor(self) -> PinCursor:
        """A cursor that keeps its rows in this process; several may be open."""
        return PinCursor(self)

    @property
    def closed(self) -> bool:
        """Whether the pin has ended, or its connection broke."""
        return self._connection is None or bool(self._connection.closed)

    @property
    def info(self) -> ConnectionInfo:
        """What libpq knows of the connection."""
        return self.connection.info

    @property
    def encoding(self) -> str:
        """The client encoding; psycopg2.extras asks for it."""
        return self.connection.encoding

    @property
    def notices(self) -> list[str]:
        """What the server said."""
        return self.connection.notices

    def commit(self) -> NoReturn:
        """Refused: the end of the block commits."""
        raise _misused("a pin is one transaction: it commits at the end of its block", "leave the `with`, or use run()")

    def rollback(self) -> NoReturn:
        """Refused: an error that leaves the block rolls back."""
        raise _misused(
            "a pin is one transaction: an error that leaves its block rolls it back", "raise inside the `with`"
        )


class PinCursor:
    """A cursor of a pin, with what callers of psycopg2 use of one."""

    def __init__(self, pin: Pin) -> None:
        self.connection = pin
        self._cursor: Cursor = pin.connection.cursor()

    def execute(self, query: Any, vars: Any = None) -> None:
        """Run a statement; once more on the primary where a replica gives it up."""
        pin = self.connection
        connection = pin.connection
        if self._cursor.connection is not connection:  # another cursor of this pin has left the replica
            self._cursor = connection.cursor()
        try:
            self._cursor.execute(query, vars)
        except psycopg2.Error as error:
            if not pin.on_replica or not is_gone(error, connection):
                raise
            self._cursor = pin.leave_replica().cursor()
            self._cursor.execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """Run a statement for each set of parameters."""
        for vars in vars_list:
            self.execute(query, vars)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """COPY, always on the primary: half a file cannot be taken back when a replica gives up."""
        self._cursor = self.connection.leave_replica().cursor()
        self._cursor.copy_expert(sql, file, size)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return self._cursor.fetchone()

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows."""
        return self._cursor.fetchmany(self._cursor.arraysize if size is None else size)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)

    def __enter__(self) -> PinCursor:
        return self

    def __exit__(self, *error: object) -> None:
        self._cursor.close()

    def close(self) -> None:
        """Forget the rows."""
        self._cursor.close()

    def mogrify(self, query: Any, vars: Any = None) -> bytes:
        """The statement as it would be sent."""
        return self._cursor.mogrify(query, vars)

    @property
    def description(self) -> Any:
        """Columns of the rows, None where there are none."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """Rows of the last statement."""
        return self._cursor.rowcount

    @property
    def statusmessage(self) -> str | None:
        """What the server said was done."""
        return self._cursor.statusmessage


def _misused(cause: str, help_: str) -> LarderError:
    return LarderError(cause, "us", help_)
