"""Drives a move: copy, catch up, verify, flip, keep the way back, clean up. A kill in any step can be gone on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import id_range
from sharding.migrate import shard_drift
from sharding.model import Business, Shard
from sharding.moving import capture, copying
from sharding.moving.copying import Chunk, connect, copy_all, copy_chunk
from sharding.moving.drain import drain, forget_drained, one_snapshot, waiting
from sharding.moving.erase import erase
from sharding.moving.flip import Flipped, finish, flip
from sharding.moving.journal import Journal, Move
from sharding.moving.layout import MovedTable, feeds, moved_tables, relation
from sharding.moving.verify import Verified, compare, differing_marts

KEEP = timedelta(days=7)
_FEW = 500  # changed rows that a flip may bring
_CATCH_UPS = 50
_MART_ROUNDS = 5

Build = Callable[[Shard], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a move would do. `obstacles`: what is in the way, each with what helps."""

    business: Business
    from_shard: str
    to_shard: str
    tables: dict[str, int]
    bytes: int
    seconds: float
    obstacles: tuple[str, ...]

    @property
    def rows(self) -> int:
        """All rows to be copied."""
        return sum(self.tables.values())


POINTS = (
    "expected there", "noting changes", "a chunk copied", "models told", "drained", "compared", "flipping", "both open",
    "closed here", "open there", "catalogue told", "flipped",
)  # fmt: skip
"""Where a kill leaves another state behind, in order; each is played in tests."""
RETURN_POINTS = ("returning", "drained", "both open", "closed here", "open there", "returned")


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
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.catalogue, self.name, self.build, self.say = catalogue, business, build, say
        self.workers, self.chunk_rows, self.keep, self.reached = workers, chunk_rows, keep, reached

    # -- what a person asks for --------------------------------------------------------------------------------------

    def plan(self, to_shard: str) -> Plan:
        """Rows, bytes, an estimate, and what is in the way; changes nothing."""
        business = self.catalogue.business(self.name)
        from_, to = self.catalogue.shard(business.shard), self.catalogue.shard(to_shard)
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            counts, size = {}, 0
            for table in moved_tables(source, from_):
                with source, source.cursor() as cursor:
                    cursor.execute(
                        sql.SQL(
                            "select count(*), coalesce(sum(pg_column_size(here)), 0) from {} as here where {}"
                        ).format(table.at(from_), sql.SQL("here.") + table.rows_of(business.id))
                    )
                    [(count, bytes_)] = cursor.fetchall()
                if count:
                    counts[table.name], size = int(count), size + int(bytes_)
            in_the_way = tuple(self._obstacles(business, from_, to, target))
        return Plan(business, from_.name, to.name, counts, size, 2 + sum(counts.values()) / 50_000, in_the_way)

    def move(self, to_shard: str | None = None) -> Move:
        """Move the business, or go on with the move that has begun. `to_shard` may be left out to go on.

        Raises:
            LarderError: what is in the way, what differed, or what took too long; the move can be gone on with.
        """
        with self._driving() as (journal, business):
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
            if move.state == "flipped":
                raise LarderError(
                    f"{business.name} has moved to {move.to_shard}; the way back is kept until {move.keep_until}",
                    "you",
                    f"larder business move {business.name} --finish",
                )
            return self._noting(journal, move, self._go_on)

    def roll_back(self) -> Move:
        """Take the business back to where it came from, with all that was written since."""
        with self._driving() as (journal, business):
            move = self._kept(journal, business)
            return self._noting(journal, move, self._return)

    def finish(self) -> Move:
        """Give up the way back: delete the copy on the old shard."""
        with self._driving() as (journal, business):
            move = self._kept(journal, business)
            return self._noting(journal, move, self._clean_up)

    def abort(self) -> Move:
        """Give up a move before its flip: the business stays where it is, the copy is deleted."""
        with self._driving() as (journal, business):
            move = journal.open_move()
            if move is None or move.state == "flipped" or self.has_left(move):
                raise LarderError(f"{business.name} has no move that could be given up", "you", "larder business moves")
            return self._noting(journal, move, self._give_up)

    def has_left(self, move: Move) -> bool:
        """Whether the business has left its old shard: then it can only go on."""
        shard = self.catalogue.shard(move.from_shard)
        with closing(connect(shard)) as source:
            return self._state(source, shard, move.business) == "out"

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _begin(self, journal: Journal, business: Business, to_shard: str) -> Move:
        from_, to = self.catalogue.shard(business.shard), self.catalogue.shard(to_shard)
        with closing(connect(to)) as target:
            obstacles = list(self._obstacles(business, from_, to, target))
        if obstacles:
            raise LarderError(
                f"{business.name} cannot move to {to.name}: {obstacles[0]}",
                "you",
                f"larder business move {business.name} --to {to.name} --dry-run",
            )
        return journal.begin(to_shard)

    def _go_on(self, journal: Journal, move: Move) -> Move:
        from_, to = self.catalogue.shard(move.from_shard), self.catalogue.shard(move.to_shard)
        if self.has_left(move):
            return self._roll_forward(journal, move, from_, to)
        if move.state in ("planned", "copying"):
            move = self._copy(journal, move, from_, to)
        move = self._verify(journal, move, from_, to)
        return self._flip(journal, move, from_, to)

    def _copy(self, journal: Journal, move: Move, from_: Shard, to: Shard) -> Move:
        began = time.monotonic()
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            self._expect(source, target, move, from_, to)
            late = capture.uncaptured(source, from_, move.business)
            self.reached("expected there")
            capture.start_capture(source, from_, move.business)
            move = journal.step(move, "noting changes", "copying")
            self.reached("noting changes")
            tables = self._tables(source, target, from_, to)
            known = {chunk.table.name for chunk, _ in copying.journaled(target, to, move.business, tables)}
            for table in tables:
                if table.name in late or table.name not in known:
                    self._forget_chunks(target, to, move.business, table)
                    chunks = copying.plan_chunks(source, from_, move.business, table, self.chunk_rows)
                    copying.journal_chunks(target, to, move.business, chunks)
            chunks = [chunk for chunk, done in copying.journaled(target, to, move.business, tables) if not done]
            copied = [0]

            def done(chunk: Chunk, rows: int) -> None:
                copied[0] += rows
                self.reached("a chunk copied")

            copy_all(from_, to, move.business, chunks, self.workers, done)
            journal.still_ours()
            with target, target.cursor() as cursor:
                for table in tables:
                    cursor.execute(sql.SQL("analyze {}").format(table.at(to)))
            self.say(f"{copied[0]:,} rows in {time.monotonic() - began:.1f} s")
            self._publish(target, to, move.business, tables)
            self.reached("models told")
        return journal.step(move, "copied", "catching_up", rows=copied[0], seconds=round(time.monotonic() - began, 3))

    def _verify(self, journal: Journal, move: Move, from_: Shard, to: Shard) -> Move:
        """Compare every row at a common snapshot, with nobody waiting; then the marts of both."""
        began = time.monotonic()
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            self._no_late_tables(source, move, from_)
            verified = self._compare(journal, move, source, target, from_, to)
            self.say(f"{verified.rows:,} rows compared")
            self.reached("compared")
            move = journal.step(
                move, "verified", "catching_up", rows=verified.rows, seconds=round(time.monotonic() - began, 3)
            )
            for attempt in range(1, _MART_ROUNDS + 1):
                self.build(from_)
                self._catch_up(source, target, from_, to, move.business)
                self.build(to)
                brought = waiting(source, from_, move.business)
                source.rollback()
                with source, target:
                    differing = differing_marts(source, target, from_, to, move.business)
                if not differing:
                    break
                if attempt == _MART_ROUNDS or (not brought and attempt > 1):
                    mart, how = next(iter(differing.items()))
                    raise LarderError(
                        f"{len(differing)} marts differ on {from_.name} and {to.name}, such as {mart}: {how}",
                        "us",
                        "larder verify",
                    )
            self.say("the marts are equal")
        return journal.step(move, "marts equal", "ready")

    def _flip(self, journal: Journal, move: Move, from_: Shard, to: Shard) -> Move:
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            self._no_late_tables(source, move, from_)
            capture.start_capture(target, to, move.business)
            move = journal.step(move, "flipping", "flipping")
            self.reached("flipping")
            with closing(connect(to)) as cutover:
                flipped = self._turn(journal, move, source, target, cutover, from_, to)
                self.reached("catalogue told")
                move = journal.place(move, to.name, self._epoch(target, to, move.business), "flipped", self.keep)
                self.reached("flipped")
                capture.stop_capture(source, from_, move.business)
                self.say(f"writes waited {flipped.seconds * 1000:.1f} ms (try {flipped.tries})")
                move = journal.step(
                    move,
                    "flipped",
                    milliseconds=round(flipped.seconds * 1000, 1),
                    tries=flipped.tries,
                    keys=flipped.keys,
                )
                return self._compare_at_cutover(journal, move, source, cutover, from_, to)

    def _turn(
        self,
        journal: Journal,
        move: Move,
        source: Connection,
        target: Connection,
        cutover: Connection,
        from_: Shard,
        to: Shard,
    ) -> Flipped:
        return flip(
            source,
            target,
            cutover,
            from_,
            to,
            move.business,
            journal.still_ours,
            lambda epoch: journal.place_now(to.name, epoch),
            lambda: self._catch_up(source, target, from_, to, move.business),
            self.reached,
        )

    def _compare_at_cutover(
        self, journal: Journal, move: Move, source: Connection, cutover: Connection, from_: Shard, to: Shard
    ) -> Move:
        """Compare everything once more: the old shard, where nothing changes any more, with the new one as the flip
        left it. `cutover` still sees that, while the business trades on."""
        tables = self._tables_at(cutover, source, from_, to)
        chunks = [Chunk(table, 0, None, None) for table in tables]
        verified = compare(source, cutover, from_, to, move.business, chunks)
        source.rollback()
        cutover.rollback()
        if verified.differing:
            raise LarderError(
                f"{verified.differing[0].table.name} differed on {from_.name} and {to.name} at the cutover",
                "us",
                f"larder business move {move.business_name} --rollback",
            )
        self.say(f"{verified.rows:,} rows compared once more")
        return journal.step(move, "verified at the cutover", rows=verified.rows)

    def _roll_forward(self, journal: Journal, move: Move, from_: Shard, to: Shard) -> Move:
        """The driver died when the business had left here: it goes on there."""
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            epoch = finish(source, target, from_, to, move.business)
            move = journal.place(move, to.name, epoch, "flipped", self.keep)
            capture.stop_capture(source, from_, move.business)
        self.say("went on with a flip that had been cut off")
        return journal.step(move, "rolled forward")

    def _return(self, journal: Journal, move: Move) -> Move:
        """The same way back, over what the new shard has noted since."""
        here, back = self.catalogue.shard(move.to_shard), self.catalogue.shard(move.from_shard)
        with closing(connect(here)) as source, closing(connect(back)) as target:
            if self._state(source, here, move.business) == "out":
                epoch = finish(source, target, here, back, move.business)
            else:
                self._no_late_tables(source, move, here)
                self._streams(source, target, here, back, move.business)
                with target, target.cursor() as cursor:
                    cursor.execute(
                        sql.SQL("update {} set state = 'arriving' where business = %s and state = 'out'").format(
                            relation(back, "keys.route")
                        ),
                        (move.business,),
                    )
                capture.stop_capture(target, back, move.business)
                journal.step(move, "returning")
                self.reached("returning")
                with closing(connect(back)) as cutover:
                    flipped = self._turn(journal, move, source, target, cutover, here, back)
                epoch = self._epoch(target, back, move.business)
                self.say(f"writes waited {flipped.seconds * 1000:.1f} ms (try {flipped.tries})")
                journal.step(
                    move,
                    "returned",
                    milliseconds=round(flipped.seconds * 1000, 1),
                    tries=flipped.tries,
                    keys=flipped.keys,
                )
            self.reached("returned")
            move = journal.place(move, back.name, epoch, "flipped", None)
            capture.stop_capture(source, here, move.business)
            rows = erase(source, here, move.business, self.build)
        self.say(f"{rows:,} rows deleted on {here.name}")
        return journal.step(move, "rolled back", "rolled_back", rows=rows)

    def _clean_up(self, journal: Journal, move: Move) -> Move:
        old, here = self.catalogue.shard(move.from_shard), self.catalogue.shard(move.to_shard)
        with closing(connect(old)) as source, closing(connect(here)) as target:
            owner, other = self._state(target, here, move.business), self._state(source, old, move.business)
            if owner != "active" or other not in ("out", None):
                raise LarderError(
                    f"{move.business_name} is {owner} on {here.name} and {other} on {old.name}: a way back was begun",
                    "you",
                    f"larder business move {move.business_name} --rollback",
                )
            capture.stop_capture(target, here, move.business)
            capture.stop_capture(source, old, move.business)
            rows = erase(source, old, move.business, self.build)
            self._forget_chunks(target, here, move.business)
        self.say(f"{rows:,} rows deleted on {old.name}")
        return journal.step(move, "cleaned up", "done", rows=rows)

    def _give_up(self, journal: Journal, move: Move) -> Move:
        from_, to = self.catalogue.shard(move.from_shard), self.catalogue.shard(move.to_shard)
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            capture.stop_capture(source, from_, move.business)
            capture.stop_capture(target, to, move.business)
            rows = erase(target, to, move.business, self.build)  # refuses where the business is active
        self.say(f"{rows:,} rows deleted on {to.name}")
        return journal.step(move, "given up", "aborted", rows=rows)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _compare(
        self, journal: Journal, move: Move, source: Connection, target: Connection, from_: Shard, to: Shard
    ) -> Verified:
        """Bring all changes and compare everything at the snapshot of that drain. A chunk that differs is copied once
        more; one that differs then blocks the move."""
        self._catch_up(source, target, from_, to, move.business)
        tables = self._tables(source, target, from_, to)
        with one_snapshot(source) as snapshot:
            with target, target.cursor() as into:
                drain(source, into, from_, to, move.business, tables, feeds(target, to), snapshot)
            chunks = [chunk for chunk, _ in copying.journaled(target, to, move.business, tables)]
            verified = compare(source, target, from_, to, move.business, chunks)
            target.rollback()
            if verified.differing:
                for chunk in verified.differing:
                    copy_chunk(source, target, from_, to, move.business, chunk)
                    journal.step(move, "repaired", relation=chunk.table.name, chunk=chunk.number)
                again = compare(source, target, from_, to, move.business, verified.differing)
                target.rollback()
                if again.differing:
                    worst = again.differing[0]
                    raise LarderError(
                        f"{worst.table.name}: rows on {to.name} are not those of {from_.name}, also when copied anew",
                        "us",
                        f"larder business move {move.business_name} --abort",
                    )
        forget_drained(source, from_, move.business, snapshot)
        return verified

    def _catch_up(self, source: Connection, target: Connection, from_: Shard, to: Shard, business: int) -> None:
        """Drain until few changes are left."""
        for _ in range(_CATCH_UPS):
            tables = self._tables(source, target, from_, to)
            with one_snapshot(source) as snapshot, target, target.cursor() as into:
                drained = drain(source, into, from_, to, business, tables, feeds(target, to), snapshot)
            self.reached("drained")
            forget_drained(source, from_, business, snapshot)
            if drained.keys <= _FEW:
                return
        raise LarderError("the business changes faster than its changes can be brought", "us", "larder business moves")

    def _expect(self, source: Connection, target: Connection, move: Move, from_: Shard, to: Shard) -> None:
        """Make room: the business's route, without writes, and the streams it has."""
        with source, source.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "select business, name, display_name, first_weekday, reporting_currency from {} where business = %s"
                ).format(relation(from_, "keys.route")),
                (move.business,),
            )
            [row] = cursor.fetchall()
        with target, target.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "insert into {} (business, name, display_name, first_weekday, reporting_currency, state, epoch)"
                    " values (%s, %s, %s, %s, %s, 'arriving', 0) on conflict do nothing"
                ).format(relation(to, "keys.route")),
                row,
            )
        self._streams(source, target, from_, to, move.business)

    def _streams(self, source: Connection, target: Connection, from_: Shard, to: Shard, business: int) -> None:
        low, high = id_range(business)
        with source, source.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "select integration, stream, links from {} where integration in"
                    " (select integration from {} where id between %s and %s) order by 1, 2"
                ).format(relation(from_, "raw.stream"), relation(from_, "keys.source")),
                (low, high),
            )
            streams = cursor.fetchall()
        with target, target.cursor() as cursor:
            for stream in streams:
                cursor.execute(
                    sql.SQL("select {}(%s, %s, %s)").format(relation(to, "raw.ensure_stream")),
                    stream,
                )

    def _publish(self, target: Connection, to: Shard, business: int, tables: Sequence[MovedTable]) -> None:
        """Tell the models of the new shard of all that has come."""
        by_name = {table.name: table for table in tables}
        head, keys = by_name["raw.head"], relation(to, "keys.source")
        with target, target.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "insert into {} (integration, stream, source_id, natural_key, operation, version_id)"
                    " select source.integration, here.stream, here.source_id, here.natural_key, 'I', here.version_id"
                    " from {} as here inner join {} as source on source.id = here.source_id where {}"
                ).format(relation(to, "raw.feed"), head.at(to), keys, sql.SQL("here.") + head.rows_of(business))
            )
            for feed in feeds(target, to):
                schema, _, name = feed.name.partition(".")
                table = by_name.get(f"{schema}.{name.removeprefix('feed__')}")
                if table is not None and schema in ("keys", "raw") and name.startswith("feed__"):
                    columns = sql.SQL(", ").join(map(sql.Identifier, feed.columns))
                    cursor.execute(
                        sql.SQL("insert into {} ({columns}) select {columns} from {} where {}").format(
                            relation(to, feed.name), table.at(to), table.rows_of(business), columns=columns
                        )
                    )

    def _tables(self, source: Connection, target: Connection, from_: Shard, to: Shard) -> list[MovedTable]:
        """What moves, when both shards have it in the same shape."""
        here = moved_tables(source, from_)
        there = {table.name: table for table in moved_tables(target, to)}
        source.rollback()
        target.rollback()
        found = []
        for table in here:
            other = there.get(table.name)
            if other is None:
                continue  # a stream of an integration that the business does not have
            if set(other.columns) != set(table.columns):
                raise LarderError(f"{table.name} has other columns on {to.name}", "us", "larder up")
            found.append(table)
        return found

    def _tables_at(self, cutover: Connection, source: Connection, from_: Shard, to: Shard) -> list[MovedTable]:
        there = {table.name for table in moved_tables(cutover, to)}
        return [table for table in moved_tables(source, from_) if table.name in there]

    def _forget_chunks(self, target: Connection, to: Shard, business: int, table: MovedTable | None = None) -> None:
        with target, target.cursor() as cursor:
            cursor.execute(
                sql.SQL("delete from {} where business = %s and relation = coalesce(%s, relation)").format(
                    relation(to, "keys.move_chunk")
                ),
                (business, table.name if table else None),
            )

    def _no_late_tables(self, source: Connection, move: Move, shard: Shard) -> None:
        """Raise where a table came about since the copy began: it is copied when the move is begun once more."""
        late = capture.uncaptured(source, shard, move.business)
        if late:
            raise LarderError(
                f"{sorted(late)[0]} came about on {shard.name} since the copy began",
                "you",
                f"larder business move {move.business_name} --abort",
            )

    def _obstacles(self, business: Business, from_: Shard, to: Shard, target: Connection) -> Iterator[str]:
        if from_.name == to.name:
            yield "it lives there already"
            return
        if to.state != "active":
            yield f"{to.name} is {to.state}"
        for shard in (from_, to):
            if shard_drift(shard):
                yield f"{shard.name} is not at this checkout's schema version (larder up)"
                return
        if self._state(target, to, business.id) is not None:
            yield f"{to.name} still has rows of it (larder business moves)"

    def _state(self, conn: Connection, shard: Shard, business: int) -> str | None:
        with conn, conn.cursor() as cursor:
            cursor.execute(
                sql.SQL("select state from {} where business = %s").format(relation(shard, "keys.route")), (business,)
            )
            row = cursor.fetchone()
        return str(row[0]) if row else None

    def _epoch(self, conn: Connection, shard: Shard, business: int) -> int:
        with conn, conn.cursor() as cursor:
            cursor.execute(
                sql.SQL("select epoch from {} where business = %s").format(relation(shard, "keys.route")), (business,)
            )
            [(epoch,)] = cursor.fetchall()
        return int(epoch)

    def _kept(self, journal: Journal, business: Business) -> Move:
        move = journal.open_move()
        if move is None or move.state != "flipped":
            raise LarderError(
                f"{business.name} has no way back: " + ("it was not moved" if move is None else f"it is {move.state}"),
                "you",
                "larder business moves",
            )
        return move

    @contextmanager
    def _driving(self) -> Iterator[tuple[Journal, Business]]:
        business = self.catalogue.business(self.name)
        with Journal.driving(self.catalogue, business) as journal:
            yield journal, self.catalogue.business(business.id)

    def _noting(self, journal: Journal, move: Move, act: Callable[[Journal, Move], Move]) -> Move:
        try:
            return act(journal, move)
        except Exception as error:
            journal.failed(move, error)
            raise
