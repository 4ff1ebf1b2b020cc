"""The way to a business's shard. Code that touches a shard goes through here, so a move needs no other change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import business_of
from sharding.model import Business, Shard

NOT_HERE = "LD001"
"""SQLSTATE of {keys}.write_gate: the business is paused or lives elsewhere; ask the catalogue again."""

SETTLE_SECONDS = 1.0
"""How long the catalogue and a shard may disagree while a business changes over: that takes some ten milliseconds."""
PAUSE_SECONDS = 30.0
"""How long a write waits for a paused business: a move's drain takes seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a function gave on one shard: its value, or the error it ended with."""

    shard: Shard
    value: T | None
    error: Exception | None


class Router:
    """Connections to the shard where a business lives now, by the catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def shard_of(self, business: str | int) -> Shard:
        """The shard of a business by name or number."""
        return self.catalogue.shard(self.catalogue.business(business).shard)

    def for_id(self, id_: int) -> Shard:
        """The shard that holds the row with this id."""
        return self.shard_of(business_of(id_))

    @contextmanager
    def pinned(self, business: str | int) -> Iterator[Connection]:
        """A connection to a business's shard, in one transaction: committed at the end, rolled back on an error.

        The shard must agree that the business lives there, at the epoch the catalogue names; where it does not, a move
        may be just ending, and the catalogue is read again for a second.

        Raises:
            LarderError: turn `us`: catalogue and shard disagree.
        """
        with closing(self._agreed(business)) as connection, connection:
            yield connection

    def run(self, business: str | int, fn: Callable[[Connection], T], patience: float = PAUSE_SECONDS) -> T:
        """Call `fn` with a pinned connection; where the write gate refuses, route again and repeat.

        `fn` may run more than once and is rolled back each time but the last.

        Args:
            patience: seconds to wait for a business that is paused.

        Raises:
            LarderError: turn `us`: still paused, or catalogue and shard disagree.
        """
        give_up, pause = time.monotonic() + patience, 0.05
        while True:
            try:
                with self.pinned(business) as connection:
                    return fn(connection)
            except psycopg2.Error as error:
                if error.pgcode != NOT_HERE:
                    raise
                if time.monotonic() + pause > give_up:
                    raise LarderError(str(error.diag.message_primary), "us", "larder business list") from error
            time.sleep(pause)  # the end of a pause is not announced; ask again, less and less often
            pause = min(pause * 2, 1.0)

    def _agreed(self, business: str | int) -> Connection:
        give_up = time.monotonic() + SETTLE_SECONDS
        while True:
            placed = self.catalogue.business(business)
            shard = self.catalogue.shard(placed.shard)
            connection = psycopg2.connect(shard.dsn, application_name="larder")
            try:
                seen = _disagreement(connection, shard, placed)
            except BaseException:
                connection.close()
                raise
            if not seen:
                return connection
            connection.close()
            if time.monotonic() > give_up:
                raise LarderError(seen, "us", "larder business moves")
            time.sleep(0.01)  # until the catalogue or the shard has been told


def fan_out(fn: Callable[[Shard], T], shards: Sequence[Shard], workers: int = 4) -> list[Outcome[T]]:
    """Call `fn` on every shard, some at a time; one shard's failure does not stop the others."""

    def one(shard: Shard) -> Outcome[T]:
        try:
            return Outcome(shard, fn(shard), None)
        except (LarderError, psycopg2.Error) as error:
            return Outcome(shard, None, error)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(one, shards))


def _disagreement(connection: Connection, shard: Shard, placed: Business) -> str:
    with connection, connection.cursor() as cursor:
        cursor.execute(shard.render("select state, epoch from {keys}.route where business = %s"), (placed.id,))
        row = cursor.fetchone()
    if row is None or row[0] == "out":
        return f"the catalogue places {placed.name} on {shard.name}, which does not hold it"
    if row[1] != placed.epoch:
        return f"{shard.name} holds {placed.name} at epoch {row[1]}, the catalogue says {placed.epoch}"
    return ""
