"""Slows a copy down while the other businesses of either server notice it: by what a statement like theirs takes."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.model import Shard
from sharding.moving.copying import connect
from sharding.moving.layout import relation

PROBE = """
select coalesce((select extract(epoch from max(replay_lag)) from pg_stat_replication), 0), (select count(*) from {})
"""
_EVERY = 0.1  # seconds between probes
_FIRST = 5  # probes before the copy, whose median is the quiet time
_LAST = 5  # probes whose median is how it is now
TIMES = 5.0
FLOOR = 0.05
"""A statement may take five times as long as before the copy, or 50 ms: what takes less, nobody notices."""
LAG = 5.0  # seconds that a replica may be behind
_LONGEST = 0.5  # seconds of one pause; then it is looked at once more


class Throttle:
    """How others fare on one or two servers, and how long a copy has to wait for that.

    Args:
        probes: each runs a statement and returns how many seconds replicas are behind; how long it takes is measured.
    """

    def __init__(self, probes: list[Callable[[], float]], times: float = TIMES, floor: float = FLOOR) -> None:
        self._probes, self._times = probes, times
        self._quiet = [floor] * len(probes)
        self._recent = [deque[float](maxlen=_LAST) for _ in probes]
        self._lags = [0.0] * len(probes)
        self.waited = 0.0
        """Seconds that all workers have waited so far."""
        for number in range(len(probes)):
            self._quiet[number] = max(floor / times, statistics.median(self._probe(number) for _ in range(_FIRST)))

    def excess(self) -> float:
        """How many times longer than allowed the slowest server takes; up to 1 nobody waits."""
        found = [0.0]
        for number, recent in enumerate(self._recent):
            if recent:
                found.append(statistics.median(recent) / (self._quiet[number] * self._times))
            found.append(self._lags[number] / LAG)
        return max(found)

    def breath(self) -> None:
        """Wait as long as the others' statements take too long by: called between the pieces of a copy."""
        excess = self.excess()
        if excess > 1:
            pause = min(_LONGEST, 0.02 * excess)
            time.sleep(pause)  # of the copy's own making; others get the servers meanwhile
            self.waited += pause

    def look(self) -> None:
        """Probe every server once."""
        for number, recent in enumerate(self._recent):
            recent.append(self._probe(number))

    def _probe(self, number: int) -> float:
        began = time.monotonic()
        self._lags[number] = self._probes[number]()
        return time.monotonic() - began


@contextmanager
def throttled(*shards: Shard) -> Iterator[Throttle]:
    """A throttle that looks at shards' servers by itself until the end of the block, over connections of its own."""
    stop = threading.Event()
    with closing(_Statements(shards)) as statements:
        throttle = Throttle(statements.probes)

        def watch() -> None:
            while not stop.wait(_EVERY):
                try:
                    throttle.look()
                except psycopg2.Error:  # the copy meets the same, and says so
                    return

        watcher = threading.Thread(target=watch, name="throttle", daemon=True)
        watcher.start()
        try:
            yield throttle
        finally:
            stop.set()
            watcher.join()


class _Statements:
    def __init__(self, shards: tuple[Shard, ...]) -> None:
        self._connections = [connect(shard, "larder throttle") for shard in shards]
        self.probes: list[Callable[[], float]] = []
        for conn, shard in zip(self._connections, shards, strict=True):
            conn.autocommit = True

            def probe(conn: Connection = conn, shard: Shard = shard) -> float:
                with conn.cursor() as cursor:
                    cursor.execute(sql.SQL(PROBE).format(relation(shard, "keys.route")))
                    [(lag, _)] = cursor.fetchall()
                return float(lag)

            self.probes.append(probe)

    def close(self) -> None:
        for conn in self._connections:
            conn.close()
