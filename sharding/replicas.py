"""Whether a replica is fresh enough to be read, proved by positions in the log and never by its own word alone.

A replica that has replayed nothing for an hour may be an hour behind, or beside a primary where nobody writes. So the
primary's position is noted every few seconds: a replica that has replayed a position noted T seconds ago is at most T
seconds behind. Where a replica has not come that far, the time of the last transaction it replayed, by the primary's
clock, can still prove it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import psycopg2
from psycopg2.extensions import connection as Connection

from sharding.model import ROUTER, Address, Shard

CONNECT_SECONDS = 2
REST_SECONDS = 5.0
"""How long a replica that did not answer, or is none any more, is left alone."""
BEHIND_SECONDS = 0.25
"""The same for one that is too far behind."""

SYSTEM = "select system_identifier from pg_control_system()"
"""Which cluster the data are of: the same on its replicas."""
WRITTEN = """
    select (inserted - case
        when (inserted - '0/0') % pg_size_bytes(current_setting('wal_segment_size')) = 40 then 40
        when (inserted - '0/0') % current_setting('wal_block_size')::integer = 24 then 24
        else 0
    end)::text
    from pg_current_wal_insert_lsn() as inserted
"""
"""Where a primary's log ends. Postgres says where the next entry will begin: at the end of a page that is behind the
next one's header (24 bytes, 40 in a new file), where no replica comes before something more is written."""
POSITION = f"""
    select ({WRITTEN}), extract(epoch from clock_timestamp())::float8, ({SYSTEM})
"""
REPLAYED = """
    pg_is_in_recovery() as replays, pg_last_wal_replay_lsn()::text as replayed,
    extract(epoch from pg_last_xact_replay_timestamp())::float8 as replayed_at
"""
"""Columns to ask a replica for, in the statement that begins the reading transaction."""

State = Literal["fresh", "behind", "down", "promoted", "foreign"]


@dataclass(frozen=True)
class Position:
    """Where a primary's log was: `at` by this process's monotonic clock, `clock` by the primary's."""

    at: float
    lsn: int
    clock: float
    system: int


@dataclass
class Progress:
    """A primary's positions, as far as they can prove something. Threads share it: a deque's steps are whole."""

    bound: float
    positions: deque[Position] = field(default_factory=lambda: deque(maxlen=16))

    def note(self, position: Position) -> None:
        """A position that was just read."""
        self.positions.append(position)

    def due(self, now: float) -> bool:
        """Whether the primary should be asked again: with nothing noted in half the bound, proofs run out."""
        return not self.positions or now - self.positions[-1].at > self.bound / 2

    def proves(self, replayed: int, replayed_at: float | None, now: float) -> bool:
        """Whether a replica that has come to `replayed` is no more than the bound behind."""
        known = list(self.positions)
        if any(replayed >= position.lsn and now - position.at <= self.bound for position in known):
            return True
        if replayed_at is None or not known:
            return False
        return known[-1].clock + (now - known[-1].at) - replayed_at <= self.bound


@dataclass(frozen=True)
class Lag:
    """How far a replica is behind. `seconds` and `bytes` are None where that cannot be known."""

    address: Address
    state: State
    seconds: float | None
    bytes: int | None
    message: str = ""


def lsn(text: str) -> int:
    """A position of the log as a number: `0/16B3748`."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def position(ask: Callable[[str], tuple[str, float, int]]) -> Position:
    """The primary's position now. `at` is taken before it is asked, so that no proof is too good."""
    at = time.monotonic()
    text, clock, system = ask(POSITION)
    return Position(at, lsn(text), clock, int(system))


def on_replica(shard: Shard, address: Address) -> Shard:
    """The shard as it is reached at a replica of its instance."""
    return replace(shard, host=address.host, port=address.port)


def lags(shard: Shard, bound: float) -> list[Lag]:
    """How far each replica of the shard's instance is behind, asked now."""
    if not shard.replicas:
        return []
    with closing(psycopg2.connect(shard.as_role(ROUTER).dsn, application_name="larder", connect_timeout=5)) as primary:
        here = position(lambda query: _row(primary, query))
    return [_lag(shard, address, here, bound) for address in shard.replicas]


def _lag(shard: Shard, address: Address, here: Position, bound: float) -> Lag:
    dsn = on_replica(shard, address).as_role(ROUTER).dsn
    try:
        with closing(psycopg2.connect(dsn, application_name="larder", connect_timeout=CONNECT_SECONDS)) as replica:
            replays, replayed, replayed_at, system = _row(replica, f"select {REPLAYED}, ({SYSTEM})")
    except psycopg2.Error as error:
        return Lag(address, "down", None, None, " ".join(str(error).split()))
    if system != here.system:
        return Lag(address, "foreign", None, None, "its data are another cluster's")
    if not replays:
        return Lag(address, "promoted", None, None, "it takes writes of its own now: it is no replica any more")
    missing = max(0, here.lsn - lsn(replayed)) if replayed else None
    if missing == 0:
        return Lag(address, "fresh", 0.0, 0)
    seconds = max(0.0, here.clock - replayed_at) if replayed_at is not None else None
    return Lag(address, "fresh" if seconds is not None and seconds <= bound else "behind", seconds, missing)


def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        [row] = cursor.fetchall()
    return tuple(row)
