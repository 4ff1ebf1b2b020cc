"""What a shard's quiet hour is used for: vacuum and analyze where it is needed, beside what autovacuum does by itself.

Autovacuum looks at one table at a time and by shares of it, whenever there is something; a large table that is due in
the rush of an evening is vacuumed in the rush of an evening. So what is nearly due is done before, in the quiet hour;
what is about to be frozen by force is frozen before; and the catalog, which builds fill with dead rows and which
their role may not vacuum, is done by the administrator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from psycopg2 import errors, sql

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.upkeep.facts import Facts, Table


@dataclass(frozen=True)
class Need:
    """From where on a table is done: half of what autovacuum waits for by its own rules.

    Attributes:
        dead: share of rows; `least`: and at least so many.
        changed: share of rows changed since the last analyze.
        freeze: share of the age at which autovacuum freezes by force.
    """

    dead: float = 0.1
    changed: float = 0.05
    least: int = 1_000
    freeze: float = 0.5


@dataclass(frozen=True)
class Task:
    """One table to do, and why."""

    table: Table
    vacuum: bool
    freeze: bool
    because: str

    @property
    def statement(self) -> sql.Composed:
        """The command."""
        options = ", ".join(
            word for word, wanted in (("freeze", self.freeze), ("analyze", True), ("skip_locked", True)) if wanted
        )
        command = sql.SQL(f"vacuum ({options}) {{}}" if self.vacuum else "analyze (skip_locked) {}")
        return command.format(sql.Identifier(self.table.schema, self.table.name))


@dataclass(frozen=True)
class Done:
    """What became of a task. `error`: why not."""

    table: str
    because: str
    seconds: float
    error: str = ""


def tasks(facts: Facts, need: Need | None = None, *, freeze_all: bool = False) -> list[Task]:
    """What there is to do, what is worst first. Pure."""
    need = need or Need()
    found = [task for table in (*facts.catalog, *facts.tables) if (task := _task(table, facts, need, freeze_all))]
    return sorted(found, key=lambda task: (not task.freeze, -task.table.dead, task.table.at))


def _task(table: Table, facts: Facts, need: Need, freeze_all: bool) -> Task | None:
    if freeze_all or table.age > need.freeze * facts.freeze_at:
        return Task(table, True, True, f"{table.age:,} transactions old")
    if table.dead > max(need.least, need.dead * table.live):
        return Task(table, True, False, f"{table.dead:,} dead rows beside {table.live:,}")
    if table.schema == "pg_catalog":
        return None  # planned by its indexes; nothing to gain from statistics of it
    if table.inserted > max(need.least, need.dead * table.live):
        return Task(table, True, False, f"{table.inserted:,} rows that no vacuum has seen")
    if table.changed > max(need.least, need.changed * table.live):
        return Task(table, False, False, f"{table.changed:,} of {table.live:,} rows changed since it was analyzed")
    return None


def run(shard: Shard, todo: list[Task], within: float, say: Callable[[str], None]) -> Iterator[Done]:
    """Do the tasks, each as the owner of its table, for `within` seconds in all. What is locked, or was not done in
    time, is the next night's.

    Raises:
        LarderError: turn `us`: the shard cannot be reached.
    """
    give_up = time.monotonic() + within
    try:
        conn = psycopg2.connect(shard.dsn, application_name="larder maintain", connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise LarderError(f"{shard.name} does not answer: {error}".strip(), "us", "larder status") from error
    with closing(conn):
        conn.autocommit = True
        for task in todo:
            left = give_up - time.monotonic()
            if left <= 0:
                yield Done(task.table.at, task.because, 0.0, "not done in time")
                continue
            began = time.monotonic()
            wrong = _do(conn, task, left)
            done = Done(task.table.at, task.because, round(time.monotonic() - began, 3), wrong)
            say(f"{shard.name}: {done.table}: {done.because}; {wrong or f'{done.seconds:.1f} s'}")
            yield done


def _do(conn: psycopg2.extensions.connection, task: Task, left: float) -> str:
    """Why it was not done; empty if it was."""
    with conn.cursor() as cursor:
        try:
            cursor.execute("select set_config('statement_timeout', %s, false)", (f"{int(left * 1000)}ms",))
            if task.table.schema != "pg_catalog":  # its rights and no more: expressions of indexes run as whoever asks
                cursor.execute(sql.SQL("set role {}").format(sql.Identifier(task.table.owner)))
            del conn.notices[:]
            cursor.execute(task.statement)
            return " ".join(notice.strip() for notice in conn.notices if "skipping" in notice)
        except errors.QueryCanceled:
            return "not done in time"
        except (errors.InsufficientPrivilege, errors.UndefinedTable, errors.LockNotAvailable) as error:
            return " ".join(str(error).split())
        finally:
            cursor.execute("reset role")


def arrange_storage(shard: Shard) -> int:
    """Give tables that loads and builds made since their settings for autovacuum; returns how many got them."""
    with (
        closing(psycopg2.connect(shard.dsn, application_name="larder maintain")) as conn,
        conn,
        conn.cursor() as cursor,
    ):
        cursor.execute(shard.render("select {keys}.arrange_storage()"))
        [(changed,)] = cursor.fetchall()
        return int(changed)
