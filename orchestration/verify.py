"""Every model against its own SELECT, and all data tests on all rows: what cycles only do for what changed.

A model that follows changes must always hold what its SELECT would give from everything. Where it does not, a facet was
missed: the model is not facet-local, or its facet_from forgets something.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.mark import code_fingerprint, look
from orchestration.results import BuildResult, Job, NodeResult, Target
from orchestration.transform import Transform, connect

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

FOLLOWING = "config.materialized:changed_facets"


@dataclass(frozen=True)
class Unequal:
    """A model that does not hold what its SELECT gives: rows that only it has, or only the SELECT, and one of them."""

    model: str
    surplus: int
    missing: int
    example: str


@dataclass(frozen=True)
class Verified:
    """One shard. `skipped` says why it was not compared: a cycle has still to build something there."""

    shard: str
    models: int = 0
    unequal: tuple[Unequal, ...] = ()
    tests: tuple[NodeResult, ...] = ()
    error: str | None = None
    skipped: str | None = None

    @property
    def failed(self) -> tuple[NodeResult, ...]:
        """Data tests that found rows."""
        return BuildResult(self.shard, self.tests).failed

    @property
    def ok(self) -> bool:
        """Nothing unequal, no test failed, no error. A shard that was skipped is not judged."""
        return not (self.unequal or self.failed or self.error)


def verify(
    transform: Transform, targets: Sequence[Target], models: Collection[str] = (), tests: bool = True
) -> Iterator[Verified]:
    """Compare the models of each shard (all, or those named) with their SELECTs, then run all data tests on all rows.

    Reads only; a cycle that builds meanwhile is no difference, as a shard is read in one snapshot.
    """
    from orchestration.dbt_worker import DbtProject  # takes 3 CPU-seconds

    project = DbtProject(transform.project_dir, transform.work_dir, transform.threads)
    code = code_fingerprint(transform.project_dir)
    for target in targets:
        with closing(connect(target)) as conn:
            seen = look(conn, target.schema, code, transform.clock())
        if seen.whole or seen.stale:
            yield Verified(target.name, skipped=f"{seen.reason}; next: larder cycle")
            continue
        selects, error = project.compiled(target, FOLLOWING)
        if error is not None:
            yield Verified(target.name, error=error)
            continue
        chosen = {name: sql for name, sql in selects.items() if not models or name in models}
        with closing(connect(target)) as conn, conn, conn.cursor() as cur:
            cur.execute("set transaction isolation level repeatable read read only")
            cur.execute("set local work_mem = '64MB'; set local jit = off")
            unequal = [found for name, sql in chosen.items() if (found := _compare(cur, name, *sql))]
        result = project.build(Job(target, (), False, whole_tests=True)) if tests else BuildResult(target.name)
        yield Verified(target.name, len(chosen), tuple(unequal), result.tests, result.error)


def _compare(cur: Cursor, name: str, relation: str, sql: str) -> Unequal | None:
    cur.execute(f"select * from {relation} limit 0")
    columns = ", ".join(f'"{c.name}"' for c in cur.description or ())
    cur.execute(
        f"""
        with held as (select {columns} from {relation}),
        computed as (select {columns} from (
        {sql}
        ) as result),
        surplus as (table held except all table computed),
        missing as (table computed except all table held)
        select
            (select count(*) from surplus), (select count(*) from missing),
            coalesce((select surplus::text from surplus limit 1), (select missing::text from missing limit 1))
        """
    )
    row: Any = cur.fetchone()
    return Unequal(name, row[0], row[1], row[2]) if row[0] or row[1] else None
