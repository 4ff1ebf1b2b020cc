"""Pools of connections to primaries and replicas, and how a pin's transaction begins and ends on one.

Its first statement travels with `begin`, its last with `commit`: a pin costs as many round trips as psycopg2's own
transaction.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property

import psycopg2
from psycopg2.extensions import connection as Connection

from sharding import replicas
from sharding.model import ROUTER, Address, Business, Shard
from sharding.pool import IDLE_SECONDS, RESET, RESET_AFTER_ROLLBACK, Pool
from sharding.replicas import REPLAYED, SYSTEM, Progress
from sharding.settings import Settings


@dataclass(frozen=True)
class Placement:
    """Where a business lives, as the catalogue said when it was last asked."""

    business: Business
    shard: Shard

    @cached_property
    def dsn(self) -> str:
        """Of the primary, with the router's own role."""
        return self.shard.as_role(ROUTER).dsn

    @cached_property
    def route(self) -> str:
        """The relation that says on the shard who lives there, and the condition for this business."""
        return f"{self.shard.schema('keys')}.route as route where route.business = {self.business.id}"


@dataclass(frozen=True)
class Opened:
    """A taken connection with a transaction begun."""

    placement: Placement
    connection: Connection
    pool: Pool
    on_replica: bool = False


class _ForeignError(Exception):
    """A replica's data are another cluster's."""


class Connections:
    """The pools of one router."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pools: dict[str, Pool] = {}
        self._progress: dict[str, Progress] = {}
        self._resting: dict[tuple[str, Address], float] = {}
        self._written: dict[tuple[str, int], int] = {}
        self._turn = 0
        self._swept = time.monotonic()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close what no pin holds."""
        for pool in list(self._pools.values()):
            pool.forget_idle()

    def write(self, placement: Placement) -> tuple[Opened | None, str]:
        """Begin a transaction behind the business's write gate; None, and why, where it lives there at another epoch.

        Raises:
            psycopg2.Error LD001: the business takes no writes there.
        """
        shard, number = placement.shard, placement.business.id
        opened, row = self._begin(
            placement,
            self._primary(placement),
            f"begin; select set_config('larder.business', '{number}', true);"
            f" select 'active', {shard.schema('keys')}.write_gate({number})",
        )
        return self._agreed(opened, row)

    def read(self, placement: Placement, *, may_lag: bool) -> tuple[Opened | None, str]:
        """Begin a transaction that reads: on a replica that is fresh enough, else on the primary."""
        if may_lag and placement.shard.replicas and self._settings.replica_lag > 0:
            opened = self._on_replica(placement)
            if opened is not None:
                return opened, ""
        statement = f"begin read only; select route.state, route.epoch from {placement.route}"
        opened, row = self._begin(placement, self._primary(placement), statement)
        return self._agreed(opened, row)

    def commit(self, opened: Opened) -> None:
        """Commit, and give the connection back as it was taken."""
        placement = opened.placement
        position = f"; {replicas.WRITTEN}" if placement.shard.replicas else ""
        try:
            with opened.connection.cursor() as cursor:
                cursor.execute("commit" + RESET + position)
                if position:
                    [(text,)] = cursor.fetchall()
                    self._written[placement.dsn, placement.business.id] = replicas.lsn(text)
        finally:
            self._give(opened)

    def roll_back(self, opened: Opened) -> None:
        """Take everything back, and give the connection back as it was taken."""
        try:
            if not opened.connection.closed:
                with opened.connection.cursor() as cursor:
                    cursor.execute("rollback" + RESET_AFTER_ROLLBACK)
        except psycopg2.Error:
            opened.connection.close()  # broken, or in the midst of a statement: the server takes back what it did
        self._give(opened)

    # ----------------------------------------------------------------------------------------------------------------

    def _agreed(self, opened: Opened, row: tuple[object, ...] | None) -> tuple[Opened | None, str]:
        seen = _disagreement(opened.placement, row)
        if seen:
            self.roll_back(opened)
            return None, seen
        return opened, ""

    def _begin(
        self, placement: Placement, pool: Pool, statement: str, *, on_replica: bool = False
    ) -> tuple[Opened, tuple[object, ...] | None]:
        """Take a connection and send its first statements. One that died while it waited is replaced."""
        while True:
            connection, is_new = pool.take()
            opened = Opened(placement, connection, pool, on_replica)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    return opened, cursor.fetchone()
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                died = bool(connection.closed)
                self.roll_back(opened)
                if is_new or not died:
                    raise
                pool.forget_idle()
            except BaseException:
                self.roll_back(opened)
                raise

    def _on_replica(self, placement: Placement) -> Opened | None:
        """A transaction on the first replica that is proved fresh enough, beginning with another one each time."""
        addresses, now = placement.shard.replicas, time.monotonic()
        progress = self._asked(placement, now)
        self._turn += 1
        start = self._turn % len(addresses)
        for address in addresses[start:] + addresses[:start]:
            if self._resting.get((placement.dsn, address), 0.0) > now:
                continue
            try:
                opened, rest = self._try_replica(placement, address, progress)
            except (psycopg2.Error, _ForeignError):  # down, starting, or not a copy of this primary
                opened, rest = None, replicas.REST_SECONDS
            if opened is not None:
                return opened
            self._resting[placement.dsn, address] = time.monotonic() + rest
        return None

    def _try_replica(self, placement: Placement, address: Address, progress: Progress) -> tuple[Opened | None, float]:
        """A transaction on one replica, or for how long it is left alone."""
        opened, row = self._begin(
            placement,
            self._replica(placement, address, progress.positions[-1].system),
            f"begin read only; select {REPLAYED}, route.state, route.epoch"
            f" from (select) as nothing left join (select * from {placement.route}) as route on true",
            on_replica=True,
        )
        assert row is not None
        replays, replayed, replayed_at, state, epoch = row
        if not replays:
            rest = replicas.REST_SECONDS  # promoted: it takes writes of its own
        elif (
            not isinstance(replayed, str)
            or _disagreement(placement, (state, epoch))
            or replicas.lsn(replayed) < self._written.get((placement.dsn, placement.business.id), 0)
            or not progress.proves(replicas.lsn(replayed), _number(replayed_at), time.monotonic())
        ):
            rest = replicas.BEHIND_SECONDS
        else:
            return opened, 0.0
        self.roll_back(opened)
        return None, rest

    def _asked(self, placement: Placement, now: float) -> Progress:
        """What is known of the primary's log, after asking it where that has become old."""
        progress = self._progress.setdefault(placement.dsn, Progress(self._settings.replica_lag))
        if progress.due(now):
            pool = self._primary(placement)
            connection, is_new = pool.take()
            try:
                progress.note(replicas.position(lambda query: _row(connection, query)))
            except BaseException:
                died = bool(connection.closed)
                pool.drop(connection)
                if is_new or not died:
                    raise
                pool.forget_idle()
                return self._asked(placement, now)
            pool.give(connection)
        return progress

    def _primary(self, placement: Placement) -> Pool:
        return self._pools.get(placement.dsn) or self._add(Pool(placement.shard.name, placement.dsn, *self._limits))

    def _replica(self, placement: Placement, address: Address, system: int) -> Pool:
        shard = placement.shard
        dsn = replicas.on_replica(shard, address).as_role(ROUTER).dsn
        known = self._pools.get(dsn)
        if known is not None:
            return known

        def greet(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.execute(SYSTEM)
                if cursor.fetchone() != (system,):
                    raise _ForeignError(f"{address} is no replica of {shard.instance}")

        name = f"{shard.name}'s replica {address}"
        return self._add(Pool(name, dsn, *self._limits, replicas.CONNECT_SECONDS, greet))

    def _add(self, pool: Pool) -> Pool:
        with self._lock:
            return self._pools.setdefault(pool.dsn, pool)

    @property
    def _limits(self) -> tuple[int, float]:
        return self._settings.pool_size, self._settings.pool_wait

    def _give(self, opened: Opened) -> None:
        opened.pool.give(opened.connection)
        now = time.monotonic()
        if now - self._swept > IDLE_SECONDS / 4:
            self._swept = now
            for pool in list(self._pools.values()):
                pool.forget_idle(IDLE_SECONDS)


def _disagreement(placement: Placement, row: tuple[object, ...] | None) -> str:
    placed, shard = placement.business, placement.shard
    if row is None or row[0] in (None, "out"):
        return f"the catalogue places {placed.name} on {shard.name}, which does not hold it"
    if row[1] != placed.epoch:
        return f"{shard.name} holds {placed.name} at epoch {row[1]}, the catalogue says {placed.epoch}"
    return ""


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _row(connection: Connection, query: str) -> tuple[str, float, int]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        [(text, clock, system)] = cursor.fetchall()
    return text, clock, system
