"""The change-over as a stage of a way: the flip, what is told of it, and everything compared once more."""

from __future__ import annotations

from contextlib import closing

from psycopg2.extensions import connection as Connection

from sharding.access.tenants import carry_access
from sharding.errors import LarderError
from sharding.moving import capture, late
from sharding.moving.copying import Chunk, flush
from sharding.moving.flip import finish, flip
from sharding.moving.journal import has_step
from sharding.moving.layout import feeds, moved_tables
from sharding.moving.since import compare_since
from sharding.moving.stages import Way
from sharding.moving.verify import compare
from sharding.moving.verifying import catch_up

VERIFIED = "verified at the cutover"
VERIFIED_BACK = "verified at the return"
_LAST_DRAINS = 3
"""Each brings what came during the one before, in less time, so that most often nothing is left to bring inside."""


def change_over(way: Way) -> None:
    """Give the business to the other shard, then compare everything once more."""
    carry_access(way.journal.catalogue, way.business, way.to)
    capture.start_capture(way.target, way.to, way.business)
    if not way.is_back:
        way.move = way.journal.step(way.move, "flipping", "flipping")
        way.habits.reached("flipping")

    def before_try() -> None:
        way.no_late_tables()
        for _ in range(_LAST_DRAINS):
            if not catch_up(way):
                break

    late.rehearse(way, way.tables(), feeds(way.target, way.to))
    way.journal.rehearse_place(way.to.name)
    with closing(way.journal.connect(way.to)) as cutover:
        flipped = flip(way, cutover, before_try)
        way.habits.reached("catalogue told")
        _settle(way, flipped.epoch)
        way.habits.say(f"writes waited {flipped.seconds * 1000:.1f} ms (try {flipped.tries})")
        way.move = way.journal.step(
            way.move,
            "returned" if way.is_back else "flipped",
            milliseconds=round(flipped.seconds * 1000, 1),
            tries=flipped.tries,
            keys=flipped.keys,
        )
        _compare_again(way, cutover if flipped.kept else None)


def roll_forward(way: Way) -> None:
    """Go on where a driver died when the business had left here, or had arrived there without being compared."""
    if has_step(way.journal.catalogue, way.move, VERIFIED_BACK if way.is_back else VERIFIED):
        return
    with closing(way.journal.connect(way.to)) as cutover:
        epoch, kept = finish(way, cutover)
        _settle(way, epoch)
        way.habits.say("went on with a flip that had been cut off")
        way.move = way.journal.step(way.move, "rolled forward")
        _compare_again(way, cutover if kept else None)


def _settle(way: Way, epoch: int) -> None:
    flush(way.target)
    way.move = way.journal.place(way.move, way.to.name, epoch, None if way.is_back else way.habits.keep)
    way.habits.reached("flipped")
    capture.stop_capture(way.source, way.from_, way.business)


def _compare_again(way: Way, cutover: Connection | None) -> None:
    """Compare everything once more: the old shard, where nothing changes any more, with the new one as the flip left
    it. `cutover` still sees that, while the business trades on; without it, what has changed since is left out."""
    if cutover is None:
        rows, differing = compare_since(way.source, way.target, way.from_, way.to, way.business, way.tables())
    else:
        there = {table.name for table in moved_tables(cutover, way.to)}
        tables = [table for table in moved_tables(way.source, way.from_) if table.name in there]
        chunks = [Chunk(table, 0, None, None) for table in tables]
        verified = compare(way.source, (cutover,), way.from_, way.to, way.business, chunks)
        rows, differing = verified.rows, tuple(chunk.table.name for chunk in verified.differing)
        way.source.rollback()
        cutover.rollback()
    if differing:
        raise LarderError(
            f"{differing[0]} differed on {way.from_.name} and {way.to.name} at the cutover",
            "us",
            f"larder business move {way.move.business_name} --rollback",
        )
    way.habits.say(f"{rows:,} rows compared once more")
    way.move = way.journal.step(way.move, VERIFIED_BACK if way.is_back else VERIFIED, rows=rows)
