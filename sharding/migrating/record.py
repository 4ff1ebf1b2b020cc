"""What the control database keeps of runs of migrations: which shard went first, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sharding.catalogue import Catalogue


@dataclass(frozen=True)
class Run:
    """An open run. `canary_good`: its first shard was migrated and found healthy."""

    id: int
    canary: str | None
    canary_good: bool


def open_run(catalogue: Catalogue, files: str) -> Run:
    """The open run of these files, begun now where there is none. One of other files is over: these follow it."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("lock table control.migration_runs in share row exclusive mode")
        cursor.execute(
            "update control.migration_runs set state = 'superseded', finished_at = clock_timestamp()"
            " where state = 'open' and files <> %s",
            (files,),
        )
        cursor.execute("insert into control.migration_runs (files) values (%s) on conflict do nothing", (files,))
        cursor.execute(
            "select run_id, canary, canary_good_at is not null from control.migration_runs where state = 'open'"
        )
        [row] = cursor.fetchall()
    return Run(*row)


def migrated(catalogue: Catalogue, files: str) -> set[str] | None:
    """The shards that the open run of these files is done with; None where none is open."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select run_id from control.migration_runs where state = 'open' and files = %s", (files,))
        row = cursor.fetchone()
        if row is None:
            return None
        cursor.execute("select shard from control.migration_shards where run_id = %s and state = 'migrated'", row)
        return {shard for (shard,) in cursor.fetchall()}


def choose_canary(catalogue: Catalogue, run: Run, shard: str) -> None:
    """Note which shard goes first."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "update control.migration_runs set canary = %s, canary_good_at = null where run_id = %s", (shard, run.id)
        )


def canary_is_good(catalogue: Catalogue, run: Run) -> None:
    """Note that the first shard is healthy: a run that goes on needs no other one."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "update control.migration_runs set canary_good_at = clock_timestamp() where run_id = %s", (run.id,)
        )


def note(
    catalogue: Catalogue, run: Run, shard: str, state: str, revisions: Sequence[str], seconds: float, error: str | None
) -> None:
    """Note what became of a shard in this try."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into control.migration_shards (run_id, shard, state, revisions, seconds, error)"
            " values (%s, %s, %s, %s, %s, %s)",
            (run.id, shard, state, list(revisions), round(seconds, 3), error),
        )


def finish(catalogue: Catalogue, files: str) -> None:
    """Every shard has these files: their run is over."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "update control.migration_runs set state = 'done', finished_at = clock_timestamp()"
            " where state = 'open' and files = %s",
            (files,),
        )
