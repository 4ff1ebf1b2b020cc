"""The transform step: build the dbt models on the shards that have something new. No Dagster here.

One shard's failure is its own: every shard comes back with a state and a reason.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Literal

import psycopg2
from psycopg2.extensions import connection as Connection

from ingestion.clock import real_time
from orchestration.mark import Look, code_fingerprint, look, set_day, set_mark, tell_read_through, tick
from orchestration.results import GOOD, BuildResult, Job, Target
from orchestration.workers import Progress, Workers
from sharding.migrate import unusable
from sharding.model import TRANSFORMER, Shard

State = Literal["built", "skipped", "failed"]
LEASE = 19453  # advisory lock class of "a build runs on this shard"
LEASED = "another build runs here"
NOTHING_NEW = "nothing new"
PROBE, _PROBES = 10.0, 16  # seconds for the probes of all shards, and how many at once


@dataclass(frozen=True)
class Choice:
    """What to build. Without a selection the whole project, and only where something is new unless `force`. `untested`:
    models that an earlier build with `tests` off changed; theirs run too."""

    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    full_refresh: bool = False
    tests: bool = True
    force: bool = False
    untested: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """A selection was made: the build neither waits for news nor moves the shard's mark."""
        return bool(self.select or self.exclude or self.python)


@dataclass(frozen=True)
class ShardBuild:
    """What became of one shard: `reason` says why it was built, skipped, or failed."""

    shard: str
    state: State
    reason: str
    result: BuildResult | None = None
    wall_seconds: float = 0.0


@dataclass(frozen=True)
class Transform:
    """The dbt project and how to run it. `work_dir` is ours to write; `deadline` is seconds per shard."""

    project_dir: Path
    work_dir: Path
    workers: int = 2
    threads: int = 1
    deadline: float = 1800.0
    clock: Callable[[], datetime] = field(default=real_time)

    def build(
        self,
        targets: Sequence[Target],
        choice: Choice | None = None,
        progress: Progress | None = None,
        read: Mapping[str, Mapping[tuple[int, str], datetime]] | None = None,
    ) -> Iterator[ShardBuild]:
        """Build what is due of `targets`, yielding each shard as it finishes (the skipped ones first).

        `read`: up to when each shard's (source, stream) were last read, of those that are known.
        """
        choice = choice or Choice()
        code, now = code_fingerprint(self.project_dir), self.clock()
        with ExitStack() as leases:
            open_shards: dict[str, tuple[Target, Connection, Look]] = {}
            for target in targets:
                held = hold(target, leases)
                if isinstance(held, ShardBuild):
                    yield held
                    continue
                seen = open_shard(target, held, choice, code, now, (read or {}).get(target.name, {}))
                if isinstance(seen, ShardBuild):
                    yield seen
                else:
                    open_shards[target.name] = (target, held, seen)
            if not open_shards:
                return
            jobs = [job_of(target, choice, seen) for target, _, seen in open_shards.values()]
            workers = Workers(self.project_dir, self.work_dir, self.workers, self.threads, self.deadline)
            with workers:
                for result in workers.run(jobs, progress):
                    target, conn, seen = open_shards[result.shard]
                    yield close_shard(target, conn, seen, result, choice, code, now)

    def due(self, targets: Sequence[Target]) -> dict[str, str]:
        """Shard → why it would be built now, without building. A shard that does not answer in time is not due."""
        code, now = code_fingerprint(self.project_dir), self.clock()
        found: dict[str, str] = {}
        left = queue.SimpleQueue[tuple[str, str | None]]()

        def probe(target: Target) -> None:
            reason = None
            try:
                with closing(connect(target)) as conn:
                    reason = look(conn, target.schema, code, now).reason
            except psycopg2.Error:
                pass  # a cycle that has something to do there tells it
            finally:
                left.put((target.name, reason))

        give_up = time.monotonic() + PROBE
        with ThreadPool(max(1, min(_PROBES, len(targets)))) as pool:  # its threads are daemons: none is waited for
            pool.map_async(probe, targets)
            with contextlib.suppress(queue.Empty):
                for _ in targets:
                    name, reason = left.get(timeout=max(0.0, give_up - time.monotonic()))
                    found |= {name: reason} if reason else {}
        return found


def hold(target: Target, leases: ExitStack) -> Connection | ShardBuild:
    """A connection that holds the shard's lease until `leases` ends; or why there is none."""
    started = time.monotonic()

    def ended(state: State, reason: str) -> ShardBuild:
        return ShardBuild(target.name, state, reason, wall_seconds=time.monotonic() - started)

    try:
        conn = connect(target)
        leases.callback(release, conn)
        if reason := unusable(conn, target.schema("keys")):
            return ended("failed", f"{reason}; next: larder shard migrate --only {target.name}")
        with conn, conn.cursor() as cur:
            cur.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (LEASE, target.namespace))
            free = (cur.fetchone() or (False,))[0]
    except psycopg2.Error as error:
        return ended("failed", _one_line(error))
    return conn if free else ended("skipped", LEASED)


def release(conn: Connection) -> None:
    """Give the lease back, and wait for that: the lock of a connection that is only closed outlives it a little."""
    if not conn.closed:
        try:
            conn.rollback()
            with conn, conn.cursor() as cur:
                cur.execute("select pg_advisory_unlock_all()")
        except psycopg2.Error:
            pass  # the connection is gone, and the lease with it
        finally:
            conn.close()


def open_shard(
    target: Target,
    conn: Connection,
    choice: Choice,
    code: str,
    now: datetime,
    read: Mapping[tuple[int, str], datetime],
) -> Look | ShardBuild:
    """Tell the shard the time and how far its vendors were read, and look what is new; or why nothing is built."""
    started = time.monotonic()
    try:
        tick(conn, target.schema, now, each_hour=True)
        tell_read_through(conn, target.schema, read)
        seen = look(conn, target.schema, code, now)
        if choice.partial or choice.full_refresh or choice.force:
            seen = replace(seen, whole="asked for")
        if seen.reason is None:
            release(conn)
            return ShardBuild(target.name, "skipped", NOTHING_NEW, wall_seconds=time.monotonic() - started)
        tick(conn, target.schema, now, each_hour=False)
        if not seen.whole:
            seen = look(conn, target.schema, code, now)
    except psycopg2.Error as error:
        return ShardBuild(target.name, "failed", _one_line(error), wall_seconds=time.monotonic() - started)
    return seen


def close_shard(
    target: Target, conn: Connection, seen: Look, result: BuildResult, choice: Choice, code: str, now: datetime
) -> ShardBuild:
    """Note what was built, and give the lease back."""
    reason, wall = seen.reason or "", result.wall_seconds
    try:
        # Models bear their own marks; what has none (views) must be good before the project counts as handed over.
        if seen.whole and not choice.partial and result.error is None:
            undone = [n for n in result.models if n.status not in GOOD]
            if all(n.follows or n.kind == "python" for n in undone):
                set_mark(conn, target.schema, seen, code, [n.name for n in undone if n.follows])
        asked = (seen.whole or seen.new_day) and not choice.partial and result.error is None
        if asked and all(n.status in GOOD for n in result.python):
            set_day(conn, target.schema, now)
        release(conn)
    except psycopg2.Error as error:
        return ShardBuild(target.name, "failed", _one_line(error), result, wall)
    if not result.ok:
        first = result.error or f"{result.failed[0].name}: {result.failed[0].message}"
        return ShardBuild(target.name, "failed", _one_line(first), result, wall)
    return ShardBuild(target.name, "built", reason, result, wall)


def job_of(target: Target, choice: Choice, seen: Look) -> Job:
    """What dbt is to do."""
    if choice.partial:
        return Job(target, None, False, choice.select, choice.exclude, choice.python, choice.full_refresh, choice.tests)
    stale = None if seen.whole else tuple(seen.stale)
    return Job(
        target, stale, seen.new_day or seen.whole is not None, full_refresh=choice.full_refresh, tests=choice.tests,
        untested=choice.untested,
    )  # fmt: skip


def target_of(shard: Shard) -> Target:
    """A shard of the catalogue as a build target, with the role that builds."""
    shard = shard.as_role(TRANSFORMER)
    return Target(shard.name, shard.host, shard.port, shard.username, shard.password, shard.database, shard.namespace)


def connect(target: Target) -> Connection:
    """A connection to the shard's database. Raises psycopg2.OperationalError when it does not answer in 5 s."""
    return psycopg2.connect(
        host=target.host,
        port=target.port,
        user=target.username,
        password=target.password or None,
        dbname=target.database,
        connect_timeout=5,
        application_name="larder transform",
        options="-c client_connection_check_interval=5s",  # whoever is ended leaves no query behind that waits
    )


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
