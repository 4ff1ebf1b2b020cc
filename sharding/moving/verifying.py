"""The stage before a business changes over: what changed since the copy is brought, and everything is compared."""

from __future__ import annotations

import time
from contextlib import closing

from sharding.errors import LarderError
from sharding.moving import copying
from sharding.moving.copying import copy_chunk
from sharding.moving.drain import drain, forget_drained, one_snapshot, waiting
from sharding.moving.journal import State
from sharding.moving.layout import feeds
from sharding.moving.stages import Way
from sharding.moving.verify import Verified, compare, differing_marts

_FEW = 500  # changed rows that a flip may bring
_CATCH_UPS = 50
_MART_ROUNDS = 5


def verify(way: Way) -> None:
    """Compare every row at a common snapshot, with nobody waiting; then the marts of both."""
    began, habits = time.monotonic(), way.habits
    way.no_late_tables()
    verified = _compare(way)
    habits.say(f"{verified.rows:,} rows compared")
    habits.reached("compared")
    seconds = round(time.monotonic() - began, 3)
    way.move = way.journal.step(
        way.move, "verified", _unless_back(way, "catching_up"), rows=verified.rows, seconds=seconds
    )
    for attempt in range(1, _MART_ROUNDS + 1):
        way.build(way.from_)
        catch_up(way)
        way.build(way.to)
        brought = waiting(way.source, way.from_, way.business)
        way.source.rollback()
        with way.source, way.target:
            differing = differing_marts(way.source, way.target, way.from_, way.to, way.business)
        if not differing:
            break
        if attempt == _MART_ROUNDS or (not brought and attempt > 1):
            mart, how = next(iter(differing.items()))
            raise LarderError(
                f"{len(differing)} marts differ on {way.from_.name} and {way.to.name}, such as {mart}: {how}",
                "us",
                "larder verify",
            )
    habits.say("the marts are equal")
    way.move = way.journal.step(way.move, "marts equal", _unless_back(way, "ready"))


def _compare(way: Way) -> Verified:
    """Bring all changes and compare everything at the snapshot of that drain. A chunk that differs is copied once
    more; one that differs then blocks the move."""
    catch_up(way)
    tables = way.tables()
    chunks = [chunk for chunk, _ in copying.journaled(way.target, way.to, way.business, tables)]
    if way.is_back:  # copied long ago, the other way
        rows = way.habits.chunk_rows
        chunks = [c for t in tables for c in copying.plan_chunks(way.source, way.from_, way.business, t, rows)]
    with one_snapshot(way.source) as snapshot:
        with way.target, way.target.cursor() as into:
            drain(way.source, into, way.from_, way.to, way.business, tables, feeds(way.target, way.to), snapshot)
        with closing(way.journal.connect(way.to)) as beside:  # nobody but this process writes the business's rows there
            there = (way.target, beside)
            verified = compare(way.source, there, way.from_, way.to, way.business, chunks, way.witnesses)
        way.target.rollback()
        if verified.differing:
            for chunk in verified.differing:
                copy_chunk(way.source, way.target, way.from_, way.to, way.business, chunk)
                way.journal.step(way.move, "repaired", relation=chunk.table.name, chunk=chunk.number)
            again = compare(way.source, (way.target,), way.from_, way.to, way.business, verified.differing)
            way.target.rollback()
            if again.differing:
                raise LarderError(
                    f"{again.differing[0].table.name}: rows on {way.to.name} are not those of {way.from_.name}, also"
                    " when copied anew",
                    "us",
                    f"larder business move {way.move.business_name} --{'finish' if way.is_back else 'abort'}",
                )
    forget_drained(way.source, way.from_, way.business, snapshot)
    return verified


def catch_up(way: Way) -> int:
    """Drain until few changes are left; returns how many the last drain brought."""
    for _ in range(_CATCH_UPS):
        tables, told = way.tables(), feeds(way.target, way.to)
        with one_snapshot(way.source) as snapshot, way.target, way.target.cursor() as into:
            drained = drain(way.source, into, way.from_, way.to, way.business, tables, told, snapshot)
        way.habits.reached("drained")
        forget_drained(way.source, way.from_, way.business, snapshot)
        if drained.keys <= _FEW:
            return drained.keys
    raise LarderError("the business changes faster than its changes can be brought", "us", "larder business moves")


def _unless_back(way: Way, state: State) -> State | None:
    return None if way.is_back else state
