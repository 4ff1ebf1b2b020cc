"""Moves a business and dies, or stops, where it is told to: `python -m … BUSINESS ACT SIGNAL WHERE NTH`.

ACT is a shard to move to, or back, finish, abort. WHERE is a point of the mover, or `commit`: then the process gets the
signal right after its NTH commit, on whichever connection, so that every state that it leaves behind can be met.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.catalogue import Catalogue
from sharding.moving.mover import Mover
from sharding.settings import get_settings

_lock = threading.Lock()


class Countdown:
    """Sends this process a signal when it has been told NTH times."""

    def __init__(self, name: str, nth: int) -> None:
        self._signal, self._left = signal.Signals[name], nth

    def __call__(self) -> None:
        with _lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


def watch_commits(told: Countdown) -> None:
    """Tell of each commit of this process, also of those of statements outside a transaction."""
    true_connect = psycopg2.connect

    class WatchedCursor(Cursor):
        def execute(self, query: Any, values: Any = None) -> None:
            super().execute(query, values)
            if (
                self.connection.autocommit
                and self.statusmessage
                and self.statusmessage.startswith(("INSERT", "UPDATE"))
            ):
                told()

    class WatchedConnection(Connection):
        def commit(self) -> None:
            writes = self.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
            super().commit()
            if writes:
                told()

    def connect(*arguments: Any, **options: Any) -> Connection:
        made: Connection = true_connect(
            *arguments, **options, connection_factory=WatchedConnection, cursor_factory=WatchedCursor
        )
        return made

    psycopg2.connect = connect


def main(business: str, act: str, signal_name: str, where: str, nth: str) -> None:
    told = Countdown(signal_name, int(nth))
    if where == "commit":
        watch_commits(told)

    def reached(point: str) -> None:
        if point == where:
            told()

    dsn = get_settings().control_dsn
    assert dsn is not None
    way = Mover(Catalogue(dsn.get_secret_value()), business, lambda shard: None, chunk_rows=20, reached=reached)
    acts = {"back": way.roll_back, "finish": way.finish, "abort": way.abort}
    print((acts[act]() if act in acts else way.move(act)).state)


if __name__ == "__main__":
    main(*sys.argv[1:])
