"""A business's way to another shard, and its first stage: everything is copied. Each stage can be gone on with."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.ids import id_range
from sharding.model import Shard
from sharding.moving import capture, copying, indexes
from sharding.moving.copying import Chunk, copy_all
from sharding.moving.journal import Journal, Move
from sharding.moving.layout import MovedTable, moved_tables, relation
from sharding.moving.telling import tell
from sharding.moving.throttle import throttled
from sharding.moving.witness import Witness

Build = Callable[[Shard], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Habits:
    """How a process drives moves: who builds models, who is told, and how much at once."""

    build: Build
    say: Say
    reached: Callable[[str], None]
    workers: int
    chunk_rows: int
    keep: timedelta


@dataclass
class Way:
    """A business on its way `from_` → `to` while this process drives it; on the way back these are swapped.

    `witnesses`: what the chunks (table, number) were that this process copied; the next one hashes them all again.
    """

    journal: Journal
    move: Move
    from_: Shard
    to: Shard
    source: Connection
    target: Connection
    habits: Habits
    witnesses: dict[tuple[str, int], Witness] = field(default_factory=dict)

    @property
    def business(self) -> int:
        return self.move.business

    @property
    def is_back(self) -> bool:
        """Whether it goes back to where it came from."""
        return self.to.name == self.move.from_shard

    def state(self, *, there: bool = False) -> str | None:
        """What the route says here, or on the shard it goes to."""
        conn, shard = (self.target, self.to) if there else (self.source, self.from_)
        return route_state(conn, shard, self.business)

    def tables(self) -> list[MovedTable]:
        """What moves, when both shards have it in the same shape."""
        here = moved_tables(self.source, self.from_)
        there = {table.name: table for table in moved_tables(self.target, self.to, filled=True)}
        self.source.rollback()
        self.target.rollback()
        found = []
        for table in here:
            other = there.get(table.name)
            if other is None:
                continue  # a stream of an integration that the business does not have
            if set(other.columns) != set(table.columns):
                raise LarderError(f"{table.name} has other columns on {self.to.name}", "us", "larder up")
            found.append(table)
        return found

    def back(self) -> Way:
        """The same way in the other direction."""
        return replace(self, from_=self.to, to=self.from_, source=self.target, target=self.source, witnesses={})

    def build(self, shard: Shard) -> None:
        """Build the models of a shard. Where that fails because a server went away, its loss is the error."""
        try:
            self.habits.build(shard)
        except LarderError:
            for conn in (self.source, self.target):
                with conn, conn.cursor() as cursor:
                    cursor.execute("select 1")
            raise

    def no_late_tables(self) -> None:
        """Raise where a table came about since the copy began: it is copied when the move is begun once more."""
        late = capture.uncaptured(self.source, self.from_, self.business)
        if late:
            raise LarderError(
                f"{sorted(late)[0]} came about on {self.from_.name} since the copy began",
                "you",
                f"larder business move {self.move.business_name} --{'finish' if self.is_back else 'abort'}",
            )


@contextmanager
def on_the_way(journal: Journal, move: Move, from_: Shard, to: Shard, habits: Habits) -> Iterator[Way]:
    """A way with its two connections, closed at the end."""
    with closing(journal.connect(from_)) as source, closing(journal.connect(to)) as target:
        yield Way(journal, move, from_, to, source, target, habits)


def route_state(conn: Connection, shard: Shard, business: int) -> str | None:
    """What a shard says of a business: active, paused, arriving, out; None where it does not know it."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            sql.SQL("select state from {} where business = %s").format(relation(shard, "keys.route")), (business,)
        )
        row = cursor.fetchone()
    return str(row[0]) if row else None


# -- copy ----------------------------------------------------------------------------------------------------------


def copy(way: Way) -> None:
    """Copy all rows while changes are noted, then tell the models of the new shard."""
    began, habits = time.monotonic(), way.habits
    make_room(way)
    late = capture.uncaptured(way.source, way.from_, way.business)
    habits.reached("expected there")
    capture.start_capture(way.source, way.from_, way.business)
    way.move = way.journal.step(way.move, "noting changes", "copying")
    habits.reached("noting changes")
    tables = way.tables()
    known = {chunk.table.name for chunk, _ in copying.journaled(way.target, way.to, way.business, tables)}
    planned = []
    for table in tables:
        if table.name in late or table.name not in known:
            if table.name in known:
                forget_chunks(way.target, way.to, way.business, table)
                copying.clear(way.target, way.to, way.business, table)
            planned += copying.plan_chunks(way.source, way.from_, way.business, table, habits.chunk_rows)
    copying.journal_chunks(way.target, way.to, way.business, planned)
    chunks = [chunk for chunk, done in copying.journaled(way.target, way.to, way.business, tables) if not done]
    copied = [0]

    def done(chunk: Chunk, rows: int, witness: Witness | None) -> None:
        copied[0] += rows
        if witness is not None:
            way.witnesses[chunk.table.name, chunk.number] = witness
        habits.reached("a chunk copied")

    sizes = Counter[str]()
    for chunk in planned:
        sizes[chunk.table.name] += chunk.rows or 0
    large = [name for name, rows in sizes.items() if rows >= min(indexes.WORTH_ROWS, habits.chunk_rows)]
    indexes.defer(way.target, way.to, way.business, large)
    with throttled(way.from_, way.to) as throttle:
        copy_all(way.from_, way.to, way.business, chunks, habits.workers, done, way.journal.connect, throttle.breath)
    if throttle.waited:
        habits.say(f"waited {throttle.waited:.1f} s for others")
    habits.reached("rows copied")
    indexes.restore(way.target, way.to, way.business, habits.workers, way.journal.connect)
    filled = dict.fromkeys(chunk.table.name for chunk in chunks)
    indexes.analyze(way.to, filled, habits.workers, way.journal.connect)
    seconds = round(time.monotonic() - began, 3)
    habits.say(f"{copied[0]:,} rows in {seconds:.1f} s")
    tell(way.target, way.to, way.business, tables)
    habits.reached("models told")
    way.move = way.journal.step(
        way.move, "copied", "catching_up", rows=copied[0], seconds=seconds, waited=round(throttle.waited, 3)
    )


def make_room(way: Way) -> None:
    """The business's route on the new shard, without writes, and the streams it has."""
    with way.source, way.source.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select business, name, display_name, first_weekday, reporting_currency from {} where business = %s"
            ).format(relation(way.from_, "keys.route")),
            (way.business,),
        )
        [row] = cursor.fetchall()
    with way.target, way.target.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "insert into {} as r (business, name, display_name, first_weekday, reporting_currency, state, epoch)"
                " values (%s, %s, %s, %s, %s, 'arriving', 0)"
                " on conflict (business) do update set state = 'arriving' where r.state = 'out'"
            ).format(relation(way.to, "keys.route")),
            row,
        )
    _streams(way)


def _streams(way: Way) -> None:
    low, high = id_range(way.business)
    with way.source, way.source.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select integration, stream, links from {} where integration in"
                " (select integration from {} where id between %s and %s) order by 1, 2"
            ).format(relation(way.from_, "raw.stream"), relation(way.from_, "keys.source")),
            (low, high),
        )
        streams = cursor.fetchall()
    with way.target, way.target.cursor() as cursor:
        for stream in streams:
            cursor.execute(
                sql.SQL("select {}(%s, %s, %s)").format(relation(way.to, "raw.ensure_stream")),
                stream,
            )


def forget_chunks(target: Connection, to: Shard, business: int, table: MovedTable | None = None) -> None:
    """Forget which parts of a table, or of all, were copied."""
    with target, target.cursor() as cursor:
        cursor.execute(
            sql.SQL("delete from {} where business = %s and relation = coalesce(%s, relation)").format(
                relation(to, "keys.move_chunk")
            ),
            (business, table.name if table else None),
        )
