"""The way to a business's shard. Code that touches a shard goes through here, so a move needs no other change.

    with router.pinned("cafe") as connection: …                  reads; on a replica where one is fresh enough
    with router.pinned("cafe", primary=True) as connection: …    reads and writes, behind the write gate
    router.run("cafe", fn)                                       the same, and once more where a move came between

A pin is one transaction. Where the business lives is kept in this process, and the catalogue is asked again only when
the shard says otherwise: the first statement of each pin compares state and epoch of the shard's own route, so what is
kept can be old but never wrong.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.connections import Connections, Opened, Placement
from sharding.errors import LarderError
from sharding.ids import business_of
from sharding.model import Shard
from sharding.pin import Pin
from sharding.settings import Settings, get_settings

NOT_HERE = "LD001"
"""SQLSTATE of {keys}.write_gate: the business is paused or lives elsewhere; ask the catalogue again."""

SETTLE_SECONDS = 1.0
"""How long the catalogue and a shard may disagree while a business changes over: that takes some ten milliseconds."""
PAUSE_SECONDS = 30.0
"""How long a write waits for a paused business: a move's drain takes seconds."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a function gave on one shard: its value, or the error it ended with."""

    shard: Shard
    value: T | None
    error: Exception | None


class _Held(threading.local):
    """The open pins of a thread, outermost first."""

    def __init__(self) -> None:
        self.pins: list[Pin] = []


class Router:
    """Pins of businesses, over pools of connections to their servers. Threads share one; a fork begins with none."""

    def __init__(self, catalogue: Catalogue, settings: Settings | None = None) -> None:
        self.catalogue = catalogue
        self._settings = settings or get_settings()
        self._begin_anew()
        _routers.add(self)

    def _begin_anew(self) -> None:
        """In the child of a fork too: the connections there are its parent's, and their locks may be held for ever."""
        self._connections = Connections(self._settings)
        self._placements: dict[str | int, Placement] = {}
        self._held = _Held()

    def close(self) -> None:
        """Close the connections that no pin holds."""
        self._connections.close()

    def shard_of(self, business: str | int) -> Shard:
        """The shard of a business by name or number, by the catalogue."""
        return self.catalogue.shard(self.catalogue.business(business).shard)

    def for_id(self, id_: int) -> Shard:
        """The shard that holds the row with this id."""
        return self.shard_of(business_of(id_))

    @contextmanager
    def pinned(self, business: str | int, *, primary: bool = False) -> Iterator[Connection]:
        """A connection to a business's shard, in one transaction: committed at the end, rolled back on an error.

        Inside another pin of the same business it is the same transaction, with a savepoint of its own where it may
        write. Another business's rows may be read inside a pin, over a connection of their own.

        Args:
            primary: the transaction may write; it passes the write gate first. Without it nothing can be written, and a
                replica may answer that is `LARDER_REPLICA_LAG` seconds behind at most, but never behind what this
                router's pins have committed of the business.

        Returns what looks like a psycopg2 connection as far as one transaction needs it; see sharding/pin.py.

        Raises:
            LarderError: turn `us`: catalogue and shard disagree, the business is paused, all connections are in use; a
                pin that writes inside one that reads, or inside another business's that writes; a statement failed and
                the error was kept from the pin, so that nothing could be committed.
        """
        with self._pin(business, primary, time.monotonic() + SETTLE_SECONDS) as pin:
            yield cast(Connection, pin)

    def run(self, business: str | int, fn: Callable[[Connection], T], patience: float = PAUSE_SECONDS) -> T:
        """Call `fn` with a connection that may write; where the write gate refuses, route again and repeat.

        `fn` may run more than once and is rolled back each time but the last.

        Args:
            patience: seconds to wait for a business that is paused.

        Raises:
            LarderError: as `pinned`.
        """
        give_up, pause = time.monotonic() + patience, _FIRST_PAUSE
        while True:
            try:
                with self._pin(business, True, give_up) as pin:
                    return fn(cast(Connection, pin))
            except psycopg2.Error as error:
                if error.pgcode != NOT_HERE or self._held.pins:
                    raise
                if time.monotonic() + pause > give_up:
                    raise _refused(error) from error
            self._placements.pop(business, None)
            time.sleep(pause)  # the end of a pause is not announced; ask again, less and less often
            pause = min(pause * 2, _LONGEST_PAUSE)

    # ----------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _pin(self, business: str | int, primary: bool, give_up: float) -> Iterator[Pin]:
        held = self._held.pins
        if held:
            number = self._placement(business).business.id
            outer = next((pin for pin in held if pin.business == number), None)
            if primary and (outer is None or not outer.primary):
                _refuse_write_inside(held, number)
            if outer is not None:
                with _inside(outer, primary):
                    yield outer
                return
        opened = self._open(business, primary, give_up)
        number, all_opened = opened.placement.business.id, [opened]

        def leave_replica() -> Connection:
            all_opened.append(self._open(business, False, time.monotonic() + SETTLE_SECONDS, may_lag=False))
            return all_opened[-1].connection

        pin = Pin(number, opened.connection, primary=primary, on_replica=opened.on_replica, to_primary=leave_replica)
        held.append(pin)
        try:
            yield pin
        except BaseException:
            held.remove(pin)
            pin.end()
            if os.getpid() == pin.pid:
                for each in all_opened:
                    self._connections.roll_back(each)
            raise
        held.remove(pin)
        pin.end()
        if os.getpid() != pin.pid:
            return  # a child that came about inside the block: the transaction is its parent's
        for each in all_opened[:-1]:
            self._connections.roll_back(each)
        self._commit(all_opened[-1], primary)

    def _commit(self, opened: Opened, primary: bool) -> None:
        if not primary:
            self._connections.roll_back(opened)  # nothing was written; a failed statement has been seen by the block
            return
        if opened.connection.info.transaction_status != TRANSACTION_STATUS_INTRANS:
            self._connections.roll_back(opened)
            name = opened.placement.business.name
            raise LarderError(
                f"nothing of the pin of {name} was committed: a statement failed, or ended the transaction, and its"
                " block went on",
                "us",
                "larder business list",
            )
        self._connections.commit(opened)

    def _open(self, business: str | int, primary: bool, give_up: float, *, may_lag: bool = True) -> Opened:
        """A connection with a transaction begun, in which the business lives there at the epoch that we know."""
        pause = _FIRST_PAUSE
        while True:
            asked = business not in self._placements
            placement = self._placement(business)
            try:
                if primary:
                    opened, seen = self._connections.write(placement)
                else:
                    opened, seen = self._connections.read(placement, may_lag=may_lag)
                if opened is not None:
                    return opened
                disagreement: psycopg2.Error | None = None
            except psycopg2.OperationalError:
                if asked or self._replaced(business, placement):
                    raise  # the catalogue says so too
                continue
            except psycopg2.Error as error:
                if error.pgcode != NOT_HERE:
                    raise
                disagreement = error
            if self._placements.pop(business, None) is not None and not asked:
                continue  # what we know was old, perhaps
            if time.monotonic() + pause > give_up:
                if disagreement is not None:
                    raise _refused(disagreement) from disagreement
                raise LarderError(seen, "us", "larder business moves")
            time.sleep(pause)  # until the catalogue or the shard has been told
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _placement(self, business: str | int) -> Placement:
        known = self._placements.get(business)
        if known is None:
            placed = self.catalogue.business(business)
            known = Placement(placed, self.catalogue.shard(placed.shard))
            self._placements[business] = self._placements[placed.id] = known
        return known

    def _replaced(self, business: str | int, before: Placement) -> bool:
        """Ask the catalogue again; whether it still says the same."""
        self._placements.pop(business, None)
        return self._placement(business) == before


def fan_out(fn: Callable[[Shard], T], shards: Sequence[Shard], workers: int = 4) -> list[Outcome[T]]:
    """Call `fn` on every shard, some at a time; one shard's failure does not stop the others."""

    def one(shard: Shard) -> Outcome[T]:
        try:
            return Outcome(shard, fn(shard), None)
        except (LarderError, psycopg2.Error) as error:
            return Outcome(shard, None, error)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(one, shards))


@contextmanager
def _inside(outer: Pin, primary: bool) -> Iterator[None]:
    """A pin within one of the same business: an error that the outer block catches takes back what the inner wrote."""
    if not primary:
        yield
        return
    outer.depth += 1
    name = f"larder_{outer.depth}"
    with outer.connection.cursor() as cursor:
        cursor.execute(f"savepoint {name}")
        try:
            yield
        except BaseException:
            if not outer.closed:
                cursor.execute(f"rollback to savepoint {name}")
            raise
        finally:
            outer.depth -= 1
        cursor.execute(f"release savepoint {name}")


def _refuse_write_inside(held: Sequence[Pin], business: int) -> None:
    """Two transactions cannot be one: what the inner pin commits stays when the outer one fails."""
    writing = next((pin for pin in held if pin.primary and pin.business != business), None)
    if writing is not None:
        raise LarderError(
            f"business {business} cannot be written inside a pin that writes business {writing.business}",
            "us",
            "end the outer pin first",
        )
    if any(pin.business == business for pin in held):
        raise LarderError(
            f"business {business} cannot be written inside a pin that only reads it",
            "us",
            "pin it outside with primary=True",
        )


def _refused(error: psycopg2.Error) -> LarderError:
    return LarderError(str(error.diag.message_primary), "us", "larder business list")


_routers: weakref.WeakSet[Router] = weakref.WeakSet()


def _after_fork() -> None:
    for router in list(_routers):
        router._begin_anew()


os.register_at_fork(after_in_child=_after_fork)
