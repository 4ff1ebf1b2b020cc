"""Random rounds of changes, cycles and checks: `python -m tests.facets.rounds --rounds 1000 --seed 7`.

After each quiet cycle every model has to equal, row for row, what its own plain SELECT gives. A round that does not is
reported with its seed and number and what happened in it; the same seed brings it about again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from sharding import instances
from sharding.settings import Settings
from tests.facets import world
from tests.facets.driver import SCHEMA, DbtFailed, Project

WRITERS = 6
SERVER_OPTIONS = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB", "jit": "off",
}  # fmt: skip
NOTHING_WRITTEN = "0 inserted, 0 deleted"

# How often each kind comes in a hand of rounds; a hand is dealt out before the next is shuffled.
KINDS = {
    "plain": 3, "late_commit": 3, "partial": 2, "full_refresh": 1, "drop_mark": 1, "writers": 1, "idle": 1, "again": 1,
    "impatient": 1, "killed": 1, "made_anew": 1,
}  # fmt: skip
HAND = sum(KINDS.values())


class Different(AssertionError):
    """A model does not equal its own SELECT, or something was built that need not have been."""


@dataclass
class Rounds:
    """A project with its database and what has happened to it so far."""

    project: Project
    seed: int
    kinds: dict[str, int] = field(default_factory=lambda: KINDS)
    number: int = 0
    seconds: list[tuple[float, float]] = field(default_factory=list)  # of each round: wall, CPU of this process
    tally: Counter[str] = field(default_factory=Counter)
    history: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    selects: dict[str, str] = field(default_factory=dict)
    _open: list[tuple[Any, int]] = field(default_factory=list)  # open transactions, the round that ends them

    def start(self) -> None:
        """A fresh database: sources, triggers, first build."""
        self.rng = random.Random(self.seed)
        self.project.fresh_database()
        world.fill(self.project.dsn, self.rng)
        self._dbt("run-operation", "watch_sources")
        self.selects = self.selects or self.project.compiled()
        self._run()
        self.check()

    def play(self, count: int) -> None:
        """Play rounds. Raises AssertionError (Different, DbtFailed) with the seed, the round and what happened last."""
        hand: list[str] = []
        for _ in range(count):
            self.number += 1
            if not hand:
                hand = [kind for kind, weight in self.kinds.items() for _ in range(weight)]
                self.rng.shuffle(hand)
            kind = hand.pop()
            wall, cpu = time.monotonic(), time.process_time()
            self._note(f"-- round {self.number}: {kind}")
            try:
                if kind != "idle":
                    self._end_open(self.number)
                getattr(self, f"_{kind}")()
            except AssertionError as error:
                what = "\n".join(self.history)
                again = f"seed {self.seed}, round {self.number} ({kind})"
                raise type(error)(f"{again}: {error}\n\nBefore it:\n{what}") from error
            self.tally[kind] += 1
            self.seconds.append((time.monotonic() - wall, time.process_time() - cpu))

    def finish(self) -> None:
        """Commit or roll back what is open."""
        self._end_open(sys.maxsize)

    # Kinds of rounds

    def _plain(self) -> None:
        self._changes(self.rng.randint(1, 6))
        self._cycle()

    def _idle(self) -> None:
        """Nothing but what rolls back, and what cancels out before the cycle: no model may have a row to write."""
        with world.connection(self.project.dsn) as connection:
            world.work(self.rng, connection)
            connection.rollback()
            with connection.cursor() as cursor:
                world.there_and_back(self.rng, cursor)
            connection.commit()
        self._cycle(because_of="a round in which nothing changed")

    def _again(self) -> None:
        """A second cycle after one: every model says at once that there is nothing new."""
        self._changes(self.rng.randint(1, 6))
        self._cycle()
        self._cycle(because_of="a second cycle")

    def _late_commit(self) -> None:
        """Transactions that are open while a cycle runs and are committed after it, each in a round of its own."""
        self._changes(self.rng.randint(0, 2))
        for _ in range(self.rng.randint(1, 2)):
            connection = world.connect(self.project.dsn)
            what = world.work(self.rng, connection)
            if what is None:
                connection.close()
            else:
                self._open.append((connection, self.number + self.rng.choice((1, 1, 2, 4))))
                self._note(f"left open: {', '.join(what)}")
        self._changes(self.rng.randint(0, 3))
        self._cycle()

    def _partial(self) -> None:
        """Parts of the graph fall behind others, several times, before a cycle."""
        for _ in range(self.rng.randint(1, 2)):
            self._changes(self.rng.randint(1, 3))
            model = self.rng.choice(sorted(self.selects))
            self._run("--select", self.rng.choice((model, f"{model}+", f"+{model}")))
        self._changes(self.rng.randint(0, 2))
        self._cycle()

    def _full_refresh(self) -> None:
        """One model is computed whole, with unseen changes before it, and the rest follows."""
        self._changes(self.rng.randint(0, 3))
        self._run("--full-refresh", "--select", self.rng.choice(sorted(self.selects)))
        self._changes(self.rng.randint(0, 3))
        self._cycle()

    def _drop_mark(self) -> None:
        """A model forgets what it has seen."""
        self._changes(self.rng.randint(0, 3))
        model = self.rng.choice(sorted(self.selects))
        self._sql(f"delete from {SCHEMA}_meta.mark where model = %s", model)
        self._note(f"dropped the mark of {model}")
        self._cycle()

    def _writers(self) -> None:
        """Six threads write while a cycle runs; then a quiet cycle."""
        stop = threading.Event()
        counts: Counter[str] = Counter()
        threads = [
            threading.Thread(target=_write_until, args=(self.project.dsn, self.rng.getrandbits(32), stop, counts))
            for _ in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        try:
            self._run()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self._note(f"{WRITERS} writers: {dict(counts)}")
        self.tally.update({f"concurrent, {end}": count for end, count in counts.items()})
        assert not counts["failed"], "a writer failed; its traceback is above"
        self._cycle()

    def _impatient(self) -> None:
        """A run prunes the feeds although models are behind, whose marks go with it."""
        self._changes(self.rng.randint(1, 4))
        model = self.rng.choice(sorted(self.selects))
        self._run("--select", f"+{model}", "--vars", "{changed_facets_lag_entries: 2}")
        self._changes(self.rng.randint(0, 3))
        self._cycle()

    def _killed(self) -> None:
        """dbt's connection is lost somewhere in a run: what was built stays, the rest follows in the next."""
        self._changes(self.rng.randint(1, 6))
        killer = threading.Thread(target=self._kill, args=(self.rng.uniform(0.02, 0.6),))
        killer.start()
        try:
            self._run()
        except DbtFailed:
            self.tally["dbt, killed"] += 1
            self._note("killed")
        finally:
            killer.join()
        self._changes(self.rng.randint(0, 3))
        self._cycle()

    def _kill(self, delay: float) -> None:
        """Some time after dbt connected, which takes a while on a busy machine."""
        dbt = "from pg_stat_activity where application_name = 'dbt'"
        give_up = time.monotonic() + 5
        while not self._sql(f"select pid {dbt}") and time.monotonic() < give_up:
            time.sleep(0.02)
        time.sleep(delay)
        self._sql(f"select pg_terminate_backend(pid) {dbt}")

    def _made_anew(self) -> None:
        """A source table is replaced by another, and watched again."""
        self._end_open(sys.maxsize)  # installing triggers waits for whoever writes
        self._changes(self.rng.randint(0, 2))
        with world.connection(self.project.dsn) as connection, connection.cursor() as cursor:
            world.made_anew(self.rng, cursor)
            connection.commit()
        self._dbt("run-operation", "watch_sources")
        self._changes(self.rng.randint(0, 2))
        self._cycle()

    # Steps

    def _changes(self, count: int) -> None:
        with world.connection(self.project.dsn) as connection:
            for _ in range(count):
                change = world.change(self.rng, connection)
                self.tally[change.end] += 1
                self._note(f"{change.end}: {', '.join(change.what)}")

    def _cycle(self, because_of: str = "") -> None:
        """A cycle while nobody commits, and the check. `because_of`: nothing may have been written, and why not."""
        messages = self._run()
        self.check()
        written = {model: said for model, said in messages.items() if not said.startswith(NOTHING_WRITTEN)}
        if because_of and written:
            raise Different(f"{because_of}, but: {written}")

    def check(self) -> None:
        """Each model against its SELECT, both ways, in one statement. Raises Different."""
        parts = [
            f"""select '{name}', (select count(*) from (table {SCHEMA}.{name} except all ({sql})) as surplus),
            (select count(*) from (({sql}) except all table {SCHEMA}.{name}) as missing)"""
            for name, sql in self.selects.items()
        ]
        found = [row for row in self._sql("\nunion all\n".join(parts)) if row[1] or row[2]]
        if found:
            raise Different("\n".join(self._describe(*row) for row in found))

    def _describe(self, name: str, surplus: int, missing: int) -> str:
        sql = self.selects[name]
        rows = [f"  has   {row}" for row in self._sql(f"table {SCHEMA}.{name} except all ({sql}) limit 5")]
        rows += [f"  lacks {row}" for row in self._sql(f"({sql}) except all table {SCHEMA}.{name} limit 5")]
        return "\n".join([f"{name}: {surplus} rows too many, {missing} missing", *rows])

    def _end_open(self, up_to: int) -> None:
        """Commit or roll back the open transactions whose round has come."""
        for connection, until in self._open:
            if until <= up_to:
                end = "committed" if self.rng.random() < 0.85 else "rolled back"
                (connection.commit if end == "committed" else connection.rollback)()
                connection.close()
                self.tally[f"late, {end}"] += 1
                self._note(f"{end} what was left open")
        self._open = [(connection, until) for connection, until in self._open if until > up_to]

    def _run(self, *arguments: str) -> dict[str, str]:
        messages = self._dbt("run", *arguments)
        self.tally.update(f"built {_way(said)}" for said in messages.values())
        written = sum(not said.startswith(NOTHING_WRITTEN) for said in messages.values())
        self._note(f"dbt run {' '.join(arguments)}: {written} of {len(messages)} models had rows to write")
        return messages

    def _dbt(self, *arguments: str) -> dict[str, str]:
        self.tally["dbt"] += 1
        if arguments[0] == "run":
            return self.project.run(*arguments[1:])
        self.project.dbt(*arguments)
        return {}

    def _sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.project.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall()) if cursor.description else []

    def _note(self, what: str) -> None:
        self.history.append(what)

    def summary(self) -> str:
        """What was played and what it cost."""
        wall, cpu = (sum(column) / max(1, len(self.seconds)) for column in zip(*self.seconds, strict=True))
        played = ", ".join(f"{count} {what}" for what, count in sorted(self.tally.items()))
        return f"seed {self.seed}: {self.number} rounds, {wall:.2f} s and {cpu:.2f} CPU-s of dbt a round; {played}"


def _way(message: str) -> str:
    """How a model was built, of what the materialization says: `3 inserted, 2 deleted, 10 unchanged; 4 facets; …`."""
    if "facet" in message:
        return "by facets"
    return "not at all" if message.endswith("nothing new") else "whole"


def _write_until(dsn: str, seed: int, stop: threading.Event, counts: Counter[str]) -> None:
    """A writer: transactions one after the other, some of them left open for a while."""
    rng = random.Random(seed)
    try:
        with world.connection(dsn) as connection:
            while not stop.is_set():
                if rng.random() < 0.3 and world.work(rng, connection) is not None:
                    stop.wait(rng.choice((0.05, 0.3, 1.0)))
                    connection.commit()
                    counts["committed"] += 1
                else:
                    counts[world.change(rng, connection).end] += 1
                stop.wait(0.02)  # more would only take the processor from the cycle
    except psycopg2.Error:
        counts["failed"] += 1
        raise


@contextmanager
def server() -> Iterator[str]:
    """A Postgres of this process; gives the DSN of its maintenance database."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    home = Path(tempfile.mkdtemp(prefix="larder-facets-", dir=memory if roomy else "/var/tmp"))
    home.chmod(0o755)  # as root Postgres runs as another user
    settings = Settings(home=home, control_dsn=None)
    try:
        instance = instances.start("facets", settings, SERVER_OPTIONS)
        yield instances.instance_dsn(instance, "postgres", home)
    finally:
        instances.remove("facets", settings)
        shutil.rmtree(home)


def main() -> int:
    """The long run; prints what to type to see a failure again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="in all")
    parser.add_argument("--seed", type=int, default=None, help="of the first database; random if left out")
    parser.add_argument("--rounds-a-seed", type=int, default=100, help="then a fresh database with the next seed")
    options = parser.parse_args()
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    with server() as dsn, tempfile.TemporaryDirectory() as folder:
        project = Project.copied(Path(folder), dsn)
        selects: dict[str, str] = {}
        for seed, begun in enumerate(range(0, options.rounds, options.rounds_a_seed), first):
            rounds = Rounds(project, seed, selects=selects)
            count = min(options.rounds_a_seed, options.rounds - begun)
            try:
                rounds.start()
                rounds.play(count)
            except AssertionError as error:
                again = f"--rounds {count} --rounds-a-seed {count} --seed {seed}"
                print(f"{error}\n\nAgain: python -m tests.facets.rounds {again}", file=sys.stderr)
                return 1
            finally:
                rounds.finish()
            selects = rounds.selects
            print(rounds.summary(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
