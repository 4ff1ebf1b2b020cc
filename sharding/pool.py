"""A bounded pool of connections to one server: whoever finds none free waits, for some seconds and not for ever.

psycopg2's own pools raise at once when they are empty, hand a dead connection out again, and share a parent's with its
forks. Connections here are in autocommit: whoever takes one sends `begin` together with its first statement, and
gives it back outside a transaction and without session state (`RESET`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError

RESET = (
    "; reset session authorization; reset all; close all; unlisten *; deallocate all; discard temp; discard sequences"
    "; select pg_advisory_unlock_all()"
)
"""What a transaction can leave in its session; sent with its `commit`, in the same round trip. Not `discard all`, which
is refused there, and would throw the plans of functions away."""
RESET_AFTER_ROLLBACK = "; deallocate all; select pg_advisory_unlock_all()"
"""What a rollback leaves: all else is taken back with it."""

IDLE_SECONDS = 60.0
"""How long an unused connection is kept."""


class Pool:
    """Connections to one database, at most `size` at once.

    Args:
        name: of the server, for messages.
        connect_seconds: how long a new connection may take.
        greet: looks at each new connection, and raises where it is not what it should be.
    """

    def __init__(
        self,
        name: str,
        dsn: str,
        size: int,
        wait_seconds: float,
        connect_seconds: int = 5,
        greet: Callable[[Connection], None] = lambda connection: None,
    ) -> None:
        self.name, self.dsn, self.size = name, dsn, size
        self._wait_seconds, self._connect_seconds, self._greet = wait_seconds, connect_seconds, greet
        self._changed = threading.Condition()
        self._idle: list[tuple[Connection, float]] = []  # the last one given back is the next one taken
        self._taken = 0

    @property
    def counts(self) -> tuple[int, int]:
        """How many connections are taken, and how many wait to be."""
        with self._changed:
            return self._taken, len(self._idle)

    def take(self) -> tuple[Connection, bool]:
        """A connection, and whether it was made just now; one that was not may have died meanwhile.

        Raises:
            LarderError: turn `us`: all are in use, and none came back in time.
            psycopg2.OperationalError: the server does not answer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken < self.size, self._wait_seconds):
                raise LarderError(
                    f"all {self.size} connections to {self.name} were in use for {self._wait_seconds:g} s"
                    " (LARDER_POOL_SIZE)",
                    "us",
                    "larder status",
                )
            self._taken += 1
            while self._idle:
                connection, since = self._idle.pop()
                if not connection.closed and time.monotonic() - since < IDLE_SECONDS:
                    return connection, False
                connection.close()
        try:
            return self._connect(), True
        except BaseException:
            self._release()
            raise

    def give(self, connection: Connection) -> None:
        """Take a connection back. One that is inside a transaction, or broken, is closed instead."""
        if connection.closed or connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            self.drop(connection)
            return
        connection.notices.clear()
        with self._changed:
            self._taken -= 1
            self._idle.append((connection, time.monotonic()))
            self._changed.notify()

    def drop(self, connection: Connection) -> None:
        """Close a taken connection, and make room for another."""
        connection.close()
        self._release()

    def forget_idle(self, unused_for: float = 0.0) -> None:
        """Close the connections that nobody has used for as many seconds: all, when the server has gone away."""
        with self._changed:
            kept = [(c, since) for c, since in self._idle if time.monotonic() - since < unused_for]
            closed = [c for c, since in self._idle if time.monotonic() - since >= unused_for]
            self._idle = kept
        for connection in closed:
            connection.close()

    def _release(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def _connect(self) -> Connection:
        connection = psycopg2.connect(
            self.dsn,
            application_name="larder",
            connect_timeout=self._connect_seconds,
            options="-c timezone=UTC",
        )
        connection.autocommit = True
        try:
            self._greet(connection)
        except BaseException:
            connection.close()
            raise
        return connection
