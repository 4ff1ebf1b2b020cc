"""The transform step: build the dbt models on the shards that have something new. No Dagster here.

One shard's failure is its own: every shard comes back with a state and a reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import psycopg2
from psycopg2.extensions import connection as Connection

from ingestion.clock import real_time
from orchestration.mark import Look, code_fingerprint, look, set_clock, set_mark
from orchestration.results import BuildResult, Job, Target
from orchestration.workers import Progress, Workers
from sharding.model import Shard

State = Literal["built", "skipped", "failed"]
LEASE = 19453  # advisory lock class of "a build runs on this shard"


@dataclass(frozen=True)
class Choice:
    """What to build. Without a selection the whole project, and only where something is new unless `force`."""

    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    full_refresh: bool = False
    tests: bool = True
    force: bool = False

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
    clock_is_sandbox: bool = False

    def build(
        self, targets: Sequence[Target], choice: Choice | None = None, progress: Progress | None = None
    ) -> Iterator[ShardBuild]:
        """Build what is due of `targets`, yielding each shard as it finishes (the skipped ones first)."""
        choice = choice or Choice()
        code, now = code_fingerprint(self.project_dir), self.clock()
        with ExitStack() as leases:
            open_shards: dict[str, tuple[Target, Connection, Look]] = {}
            for target in targets:
                outcome = self._open(target, choice, code, now, leases)
                if isinstance(outcome, ShardBuild):
                    yield outcome
                else:
                    open_shards[target.name] = (target, *outcome)
            if not open_shards:
                return
            jobs = [
                Job(target, choice.select, choice.exclude, choice.python, choice.full_refresh, choice.tests)
                for target, _, _ in open_shards.values()
            ]
            workers = Workers(self.project_dir, self.work_dir, self.workers, self.threads, self.deadline)
            with workers:
                for result in workers.run(jobs, progress):
                    target, conn, seen = open_shards[result.shard]
                    yield self._close(target, conn, seen, result, choice, code, now)

    def due(self, targets: Sequence[Target]) -> dict[str, str]:
        """Shard → why it would be built now, without building. A shard that cannot be reached is not due."""
        code, now, reasons = code_fingerprint(self.project_dir), self.clock(), dict[str, str]()
        for target in targets:
            try:
                conn = connect(target)
            except psycopg2.OperationalError:
                continue
            try:
                seen = look(conn, target.schema, code, now)
            finally:
                conn.close()
            if seen.reason:
                reasons[target.name] = seen.reason
        return reasons

    def _open(
        self, target: Target, choice: Choice, code: str, now: datetime, leases: ExitStack
    ) -> ShardBuild | tuple[Connection, Look]:
        started = time.monotonic()

        def ended(state: State, reason: str) -> ShardBuild:
            return ShardBuild(target.name, state, reason, wall_seconds=time.monotonic() - started)

        try:
            conn = connect(target)
            leases.callback(conn.close)
            with conn, conn.cursor() as cur:
                cur.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (LEASE, target.namespace))
                free = (cur.fetchone() or (False,))[0]
            if not free:
                return ended("skipped", "another build runs here")
            seen = look(conn, target.schema, code, now)
            if choice.partial or choice.full_refresh or choice.force:
                seen = Look("asked for", seen.snapshot, seen.cluster)
            if seen.reason is None:
                conn.close()
                return ended("skipped", "nothing new")
            set_clock(conn, target.schema, now if self.clock_is_sandbox else None)
        except psycopg2.Error as error:
            return ended("failed", _one_line(error))
        return conn, seen

    def _close(
        self,
        target: Target,
        conn: Connection,
        seen: Look,
        result: BuildResult,
        choice: Choice,
        code: str,
        now: datetime,
    ) -> ShardBuild:
        reason, wall = seen.reason or "", result.wall_seconds
        if not result.ok:
            first = result.error or f"{result.failed[0].name}: {result.failed[0].message}"
            return ShardBuild(target.name, "failed", _one_line(first), result, wall)
        try:
            if not choice.partial and choice.tests:
                set_mark(conn, target.schema, seen, code, now)
            conn.close()  # gives the lease back
        except psycopg2.Error as error:
            return ShardBuild(target.name, "failed", _one_line(error), result, wall)
        return ShardBuild(target.name, "built", reason, result, wall)


def target_of(shard: Shard) -> Target:
    """A shard of the catalogue as a build target."""
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
    )


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
