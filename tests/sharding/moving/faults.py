"""What goes wrong in tests of moves, and what must hold meanwhile."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise

import psycopg2

from sharding import instances
from sharding.errors import LarderError
from sharding.moving.copying import connect
from sharding.settings import Settings
from tests.sharding.moving.conftest import BUSINESS, Town

ROUTE = "select state, epoch from keys.route where business = %s"


@dataclass
class Trader:
    """Sells through the router until it is told to stop, and remembers what was acknowledged, and when."""

    town: Town
    name: str = "t"
    acknowledged: list[tuple[float, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        return {key for _, key in self.acknowledged}

    @contextmanager
    def trading(self) -> Iterator[Trader]:
        stop = threading.Event()
        failures: list[BaseException] = []

        def trade() -> None:
            for number in count():
                if stop.wait(0.005):
                    return
                key = f"{self.name}{number:05d}"
                try:
                    self.town.sell(key)
                except (psycopg2.OperationalError, psycopg2.InterfaceError, LarderError) as error:
                    self.refused.append(" ".join(str(error).split()))
                    stop.wait(0.05)
                except BaseException as error:  # noqa: BLE001  # raised below
                    failures.append(error)
                    return
                else:
                    self.acknowledged.append((time.monotonic(), key))

        thread = threading.Thread(target=trade)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]

    def longest_gap(self) -> float:
        """Seconds between two acknowledged sales, the most."""
        times = [at for at, _ in self.acknowledged]
        return max(b - a for a, b in pairwise(times))


@contextmanager
def watched(town: Town) -> Iterator[list[str]]:
    """Looks all the time whether two shards own the business; yields what was seen of the owners, in order."""
    stop = threading.Event()
    seen: list[str] = []
    wrong: list[str] = []

    def look() -> None:
        while not stop.wait(0.002):
            with suppress(psycopg2.OperationalError, psycopg2.InterfaceError), ExitStack() as open_:
                old, new = (open_.enter_context(closing(connect(shard))) for shard in (town.old, town.new))
                old.autocommit = new.autocommit = True
                while not stop.wait(0.005):
                    # Twice the one and the other between: what has the same epoch twice held it all the time.
                    first, there, again = (_state(conn) for conn in (old, new, old))
                    if first == again and first[0] == "active" and there[0] == "active":
                        wrong.append(f"{first} and {there}")
                    owners = "old" if first[0] == "active" else "new" if there[0] == "active" else "nobody"
                    if first == again and (not seen or seen[-1] != owners):
                        seen.append(owners)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not wrong, f"two owners: {wrong[0]}"


def _state(conn: psycopg2.extensions.connection) -> tuple[str, int]:
    with conn.cursor() as cursor:
        cursor.execute(ROUTE, (BUSINESS,))
        row = cursor.fetchone()
    return (row[0], row[1]) if row else ("absent", 0)


def crash(name: str, settings: Settings, how: signal.Signals = signal.SIGQUIT) -> None:
    """End a server at once, as a crash would: SIGQUIT is its immediate shutdown, SIGKILL leaves orphans behind."""
    pid = instances.status(name, settings).pid
    assert pid is not None
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, how)
        select.select([handle], [], [], 30)
    finally:
        os.close(handle)


class Line:
    """A line between the driver and a server that can be cut: both ends see a reset."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Cut all connections; new ones can be made. Returns how many there were."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        return len(ends) // 2

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            with self._lock:
                self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
