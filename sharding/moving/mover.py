"""Drives a move: copy, catch up, verify, flip, keep the way back, clean up. A kill in any step can be gone on from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Literal

from psycopg2 import errors

from sharding.access.tenants import leave_access
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Business
from sharding.moving import capture, copying, indexes
from sharding.moving.changeover import VERIFIED, change_over, roll_forward
from sharding.moving.erase import erase
from sharding.moving.journal import FINISHED, Journal, Move, move_of, moves, steps
from sharding.moving.outlook import Plan, obstacles, outlook
from sharding.moving.persistence import PATIENCE, is_lost, one_line, persistently
from sharding.moving.stages import Build, Habits, Say, Way, copy, forget_chunks, make_room, on_the_way, route_state
from sharding.moving.verifying import verify

KEEP = timedelta(days=7)
POINTS = (
    "expected there", "noting changes", "a chunk copied", "rows copied", "models told", "drained", "compared",
    "flipping", "both open", "closed here", "open there", "catalogue told", "flipped",
)  # fmt: skip
"""Where a kill leaves another state behind, in order; each is played in tests."""
RETURN_POINTS = (
    "returning", "drained", "compared", "both open", "closed here", "open there", "catalogue told", "flipped",
)  # fmt: skip
CLEANING, GIVING_UP, RETURNING = "cleaning up", "giving up", "returning"

Rest = Literal["move", "roll_back", "finish", "abort"]


class Mover:
    """Moves of one business. `build` brings the models of a shard up to date."""

    def __init__(
        self,
        catalogue: Catalogue,
        business: str | int,
        build: Build,
        say: Say = lambda text: None,
        *,
        workers: int = 2,
        chunk_rows: int = copying.CHUNK_ROWS,
        keep: timedelta = KEEP,
        patience: float = PATIENCE,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.catalogue, self.name, self.say, self.patience = catalogue, business, say, patience
        self.habits = Habits(build, say, reached, workers, chunk_rows, keep)
        self._began: int | None = None  # the move that this process has driven

    # -- what a person asks for --------------------------------------------------------------------------------------

    def plan(self, to_shard: str) -> Plan:
        """Rows, bytes, an estimate, and what is in the way; changes nothing."""
        return outlook(self.catalogue, self.catalogue.business(self.name), to_shard)

    def move(self, to_shard: str | None = None) -> Move:
        """Move the business, or go on with the move that has begun. `to_shard` may be left out to go on.

        Raises:
            LarderError: what is in the way, what differed, or what took too long; the move can be gone on with.
        """

        def act(journal: Journal, business: Business) -> Move:
            move = journal.open_move()
            if move is None:
                if to_shard is None:
                    raise LarderError(
                        f"{business.name} is not on its way", "you", "larder business move NAME --to SHARD"
                    )
                move = self._begin(journal, business, to_shard)
            elif to_shard not in (None, move.to_shard):
                raise LarderError(
                    f"{business.name} is on its way to {move.to_shard} ({move.state})", "you", "larder business moves"
                )
            told = self._told(move)
            if move.state == "flipped" and VERIFIED in told:
                if move.id == self._began:
                    return move
                raise LarderError(
                    f"{business.name} has moved to {move.to_shard}; the way back is kept until {move.keep_until}",
                    "you",
                    f"larder business move {business.name} --finish",
                )
            if GIVING_UP in told:
                raise LarderError(
                    f"the move of {business.name} to {move.to_shard} is being given up",
                    "you",
                    f"{journal.again} --abort",
                )
            return self._noting(journal, move, self._go_on)

        return self._driven(act)

    def book(self, to_shard: str) -> Move:
        """Write down that the business is to move, where nothing is in the way and it is not on its way already; `move`
        begins it."""

        def act(journal: Journal, business: Business) -> Move:
            move = journal.open_move()
            if move is not None and move.state == "flipped":
                raise LarderError(
                    f"the way back of {business.name} to {move.from_shard} is kept until {move.keep_until}",
                    "you",
                    f"{journal.again} --finish",
                )
            return move or self._begin(journal, business, to_shard)

        return self._driven(act)

    def roll_back(self) -> Move:
        """Take the business back to where it came from, with all that was written since."""

        def act(journal: Journal, business: Business) -> Move:
            move = self._kept(journal, business)
            if CLEANING in self._told(move):
                raise LarderError(
                    f"{business.name} has no way back: its copy on {move.from_shard} is being deleted",
                    "you",
                    f"{journal.again} --finish",
                )
            return self._noting(journal, move, self._return)

        return self._driven(act)

    def finish(self) -> Move:
        """Give up the way back: delete the copy on the old shard."""
        return self._driven(
            lambda journal, business: self._noting(journal, self._kept(journal, business), self._clean_up)
        )

    def abort(self) -> Move:
        """Give up a move before its flip: the business stays where it is, the copy is deleted."""

        def act(journal: Journal, business: Business) -> Move:
            move = journal.open_move()
            if move is None or move.state == "flipped":
                raise LarderError(f"{business.name} has no move that could be given up", "you", "larder business moves")
            return self._noting(journal, move, self._give_up)

        return self._driven(act)

    def rest(self) -> Rest | None:
        """What has to go on without being asked: nobody could write the business, something was begun that cannot be
        taken back, or the time of the way back is over.

        A move that was cut off before its flip is left to who began it: the business trades on where it was.
        """
        business = self.catalogue.business(self.name)
        found = moves(self.catalogue, business.id, open_only=True)
        if not found:
            return None
        move, told = found[0], self._told(found[0])
        if GIVING_UP in told:
            return "abort"
        if CLEANING in told:
            return "finish"
        if move.state == "flipping":
            return "move" if self._state_on(move.from_shard, move) == "out" else None
        if move.state != "flipped":
            return None
        if RETURNING in told and self._state_on(move.to_shard, move) in ("out", None):
            return "roll_back"
        if VERIFIED not in told:
            return "move"
        return "finish" if move.keep_until is not None and move.keep_until <= datetime.now(UTC) else None

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _begin(self, journal: Journal, business: Business, to_shard: str) -> Move:
        from_, to = self.catalogue.shard(business.shard), self.catalogue.shard(to_shard)
        with closing(journal.connect(to)) as target:
            in_the_way = list(obstacles(business, from_, to, target))
        if in_the_way:
            raise LarderError(
                f"{business.name} cannot move to {to.name}: {in_the_way[0]}",
                "you",
                f"larder business move {business.name} --to {to.name} --dry-run",
            )
        return journal.begin(to_shard)

    def _go_on(self, way: Way) -> Move:
        if way.state() == "out":
            roll_forward(way)
            return way.move
        if way.move.state in ("planned", "copying"):
            copy(way)
        verify(way)
        change_over(way)
        return way.move

    def _return(self, there: Way) -> Move:
        """The same way back, over what the new shard has noted since."""
        way = there.back()
        if way.state() == "active":
            way.move = way.journal.step(way.move, RETURNING)
            make_room(way)
            capture.stop_capture(way.target, way.to, way.business)
            self.habits.reached("returning")
            verify(way)
            change_over(way)
        elif way.state() == "out":
            roll_forward(way)
        rows = erase(way.source, way.from_, way.business, way.build)
        capture.stop_capture(way.target, way.to, way.business)
        leave_access(self.catalogue, way.business, way.from_)
        self.say(f"{rows:,} rows deleted on {way.from_.name}")
        return way.journal.step(way.move, "rolled back", "rolled_back", rows=rows)

    def _clean_up(self, way: Way) -> Move:
        owner, other = way.state(there=True), way.state()
        if owner != "active" or other not in ("out", "arriving", None):
            raise LarderError(
                f"{way.move.business_name} is on its way back: {owner} on {way.to.name}, {other} on {way.from_.name}",
                "you",
                f"larder business move {way.move.business_name} --rollback",
            )
        roll_forward(way)
        way.move = way.journal.step(way.move, CLEANING)
        capture.stop_capture(way.target, way.to, way.business)
        capture.stop_capture(way.source, way.from_, way.business)
        rows = erase(way.source, way.from_, way.business, way.build)
        forget_chunks(way.target, way.to, way.business)
        leave_access(self.catalogue, way.business, way.from_)
        self.say(f"{rows:,} rows deleted on {way.from_.name}")
        return way.journal.step(way.move, "cleaned up", "done", rows=rows)

    def _give_up(self, way: Way) -> Move:
        if way.state() == "out":
            raise LarderError(
                f"{way.move.business_name} has left {way.from_.name} and can only go on", "you", way.journal.again
            )
        way.move = way.journal.step(way.move, GIVING_UP)
        capture.stop_capture(way.source, way.from_, way.business)
        capture.stop_capture(way.target, way.to, way.business)
        indexes.restore(way.target, way.to, way.business, self.habits.workers, way.journal.connect)
        rows = erase(way.target, way.to, way.business, way.build)  # refuses where the business is active
        leave_access(self.catalogue, way.business, way.to)
        self.say(f"{rows:,} rows deleted on {way.to.name}")
        return way.journal.step(way.move, "given up", "aborted", rows=rows)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _driven(self, act: Callable[[Journal, Business], Move]) -> Move:
        """Act as the only driver. Where a server goes away meanwhile, wait until all answer and go on."""

        def as_driver() -> Move:
            business = self.catalogue.business(self.name)
            with Journal.driving(self.catalogue, business) as journal:
                if self._began is not None and (move := move_of(self.catalogue, self._began)).state in FINISHED:
                    return move  # its end was written, and the answer to that was lost
                return act(journal, self.catalogue.business(business.id))

        again = f"larder business move {self.name}"
        return persistently(as_driver, self._all_answer, self.patience, self.say, again)

    def _all_answer(self) -> None:
        self.catalogue.business(self.name)
        if self._began is not None:
            move = move_of(self.catalogue, self._began)
            for name in (move.from_shard, move.to_shard):
                copying.connect(self.catalogue.shard(name)).close()

    def _noting(self, journal: Journal, move: Move, act: Callable[[Way], Move]) -> Move:
        self._began = move.id
        from_, to = self.catalogue.shard(move.from_shard), self.catalogue.shard(move.to_shard)
        journal.fence(from_, to)
        try:
            with on_the_way(journal, move, from_, to, self.habits) as way:
                return act(way)
        except errors.DiskFull as error:
            journal.failed(move, error)
            raise LarderError(f"a disk is full: {one_line(error)}", "us", journal.again) from error
        except Exception as error:
            if not is_lost(error):
                journal.failed(move, error)
            raise

    def _told(self, move: Move) -> set[str]:
        return {step for _, step, _ in steps(self.catalogue, move.id)}

    def _state_on(self, shard_name: str, move: Move) -> str | None:
        shard = self.catalogue.shard(shard_name)
        with closing(copying.connect(shard)) as conn:
            return route_state(conn, shard, move.business)

    def _kept(self, journal: Journal, business: Business) -> Move:
        move = journal.open_move()
        if move is not None and move.state == "flipped":
            return move
        if move is not None:
            why = f"its move to {move.to_shard} is {move.state}"
        elif not (earlier := moves(self.catalogue, business.id)):
            why = "it was not moved"
        else:
            at = steps(self.catalogue, earlier[0].id)[-1][0]
            why = {
                "done": f"its copy on {earlier[0].from_shard} was deleted at {at:%Y-%m-%d %H:%M} UTC",
                "rolled_back": f"it went back to {earlier[0].from_shard} at {at:%Y-%m-%d %H:%M} UTC",
            }.get(earlier[0].state, f"its move to {earlier[0].to_shard} was given up")
        raise LarderError(f"{business.name} has no way back: {why}", "you", "larder business moves")
