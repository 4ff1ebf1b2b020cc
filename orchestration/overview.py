"""How the whole installation stands, from the control database alone: what `larder status` shows and metrics tell.

Everything is counted in SQL; what is told one by one is the worst few. So it is never more than a page, and a shard
that does not answer keeps nobody waiting (orchestration/samples.py looks at them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as Connection

from ingestion import backoff, counters, index
from ingestion.backoff import Breaker
from ingestion.blocks import BlockStore
from ingestion.counters import Count
from ingestion.uploads import Backlog, backlog
from orchestration import freshness, slow
from sharding.catalogue import Catalogue


@dataclass(frozen=True)
class ShardState:
    """A shard. `error`: why it did not answer when it was last looked at (`sampled_at`; None: nobody did).

    `cycle`, `reason`, `seconds`, `ended_at`: its part of the last cycle. `behind_since`: what was loaded since then (by
    the vendors' clock) is not in its models. `blocks`, `bytes`: wait for their load, `oldest` since when.
    """

    shard: str
    instance: str
    state: str
    businesses: int
    sampled_at: datetime | None
    error: str | None
    milliseconds: float | None
    quarantined: Mapping[str, int]
    statements: str | None
    cycle: str | None
    reason: str | None
    seconds: float | None
    ended_at: datetime | None
    behind_since: datetime | None
    blocks: int
    bytes: int
    oldest: datetime | None

    @property
    def up(self) -> bool | None:
        """Whether it answered; None: nobody has looked."""
        return None if self.sampled_at is None else self.error is None


@dataclass(frozen=True)
class Totals:
    """A reader's requests on a shard since the statistics began; all businesses' own roles are one reader."""

    shard: str
    reader: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class Overview:
    """The installation at `now` (the vendors' clock) and `at` (real time)."""

    now: datetime
    at: datetime
    shards: tuple[ShardState, ...]
    fresh: freshness.Report
    breakers: Mapping[str, Breaker]
    backing_off: Mapping[str, int]  # sources by whose turn it is
    failing_blocks: int
    moves: Mapping[str, int]  # open ones by state
    uploads: Backlog | None  # None: there is no object store to copy to
    counted: tuple[Count, ...]
    readers: tuple[Totals, ...]
    slow: tuple[slow.Reader, ...]

    @property
    def quarantined(self) -> Mapping[str, int]:
        """Open records by integration."""
        found: Counter[str] = Counter()
        for shard in self.shards:
            found.update(shard.quarantined)
        return dict(sorted(found.items()))


def look(
    catalogue: Catalogue, store: BlockStore, now: datetime, slow_request: float, *, business: int | None = None,
    worst: int = 10,
) -> Overview:  # fmt: skip
    """How all stands, or one business and its shard.

    Args:
        now: by the vendors' clock.
        slow_request: seconds that a request may take on average.
        worst: how many sources are told one by one.
    """
    with closing(index.connect(catalogue.dsn)) as conn:
        conn.set_session(readonly=True)
        return Overview(
            now,
            _one(conn, "select clock_timestamp()"),
            tuple(_shards(conn, business)),
            freshness.evaluate(conn, now, business, worst),
            backoff.breakers(conn),
            dict(_rows(conn, _BACKING_OFF, {"now": now, "business": business})),
            _one(conn, _FAILING, {"business": business}),
            dict(_rows(conn, _MOVES, {"business": business})),
            None if store.remote is None else backlog(conn),
            tuple(_counted(conn)),
            tuple(Totals(*row) for row in _rows(conn, _READERS)),
            tuple(slow.findings(conn, slow_request)),
        )


def troubled(conn: Connection, now: datetime, business: int | None, limit: int) -> tuple[list[int], int]:
    """Sources that are not read now, those paused longest first, and how many there are: paused, backing off, or of a
    vendor that is left alone."""
    rows = _rows(conn, _TROUBLED, {"now": now, "business": business, "limit": limit})
    return [source_id for source_id, _ in rows], rows[0][1] if rows else 0


def _shards(conn: Connection, business: int | None) -> list[ShardState]:
    return [ShardState(*row) for row in _rows(conn, _SHARDS, {"business": business})]


def _counted(conn: Connection) -> list[Count]:
    with conn, conn.cursor() as cur:
        return counters.totals(cur)


def _rows(conn: Connection, query: str, values: Mapping[str, Any] | None = None) -> Sequence[tuple[Any, ...]]:
    with conn, conn.cursor() as cur:
        cur.execute(query, values)
        return cur.fetchall()


def _one(conn: Connection, query: str, values: Mapping[str, Any] | None = None) -> Any:
    [(value,)] = _rows(conn, query, values)
    return value


_SHARDS = """
    with waiting as (
        select b.shard, count(*) as blocks, sum(k.bytes)::bigint as bytes, min(k.indexed_at) as oldest
        from control.blocks as k
        inner join control.sources as s using (source_id)
        inner join control.businesses as b on b.business = s.business
        where k.loaded_at is null and s.business = coalesce(%(business)s, s.business)
        group by 1
    ),
    living as (select shard, count(*) as businesses from control.businesses group by 1)
    select
        s.shard, s.instance, s.state, coalesce(living.businesses, 0), seen.sampled_at, seen.error, seen.milliseconds,
        coalesce(seen.quarantined, '{}'), seen.statements, cycle.state, cycle.reason, cycle.seconds, cycle.ended_at,
        cycle.behind_since, coalesce(waiting.blocks, 0), coalesce(waiting.bytes, 0), waiting.oldest
    from control.shards as s
    left join living using (shard)
    left join waiting using (shard)
    left join control.shard_samples as seen using (shard)
    left join control.shard_cycles as cycle using (shard)
    where s.state <> 'retired' and (%(business)s::int is null
        or s.shard = (select shard from control.businesses where business = %(business)s))
    order by s.shard
"""
_BACKING_OFF = """
    select o.turn, count(distinct o.source_id)
    from control.backoff as o inner join control.sources as s using (source_id)
    where o.next_try_at > %(now)s and s.business = coalesce(%(business)s, s.business) group by 1 order by 1
"""
_FAILING = """
    select count(*) from control.block_failures as f
    inner join control.blocks as k using (block_id) inner join control.sources as s using (source_id)
    where s.business = coalesce(%(business)s, s.business)
"""
_MOVES = """
    select state, count(*) from control.moves
    where state not in ('done', 'rolled_back', 'aborted') and business = coalesce(%(business)s, business)
    group by 1 order by 1
"""
_READERS = """
    select shard, who, sum(calls)::bigint, sum(total_ms) / 1000
    from (
        select distinct on (shard, reader)
            shard, calls, total_ms, case
                when business is not null then 'businesses'
                when starts_with(reader, 'larder_') then reader
                else 'others'
            end as who
        from control.reader_samples
        order by shard, reader, sampled_at desc
    ) as last
    group by 1, 2 order by 1, 2
"""
_TROUBLED = """
    select s.source_id, count(*) over ()
    from control.sources as s
    where s.business = coalesce(%(business)s, s.business) and (
        s.state = 'paused'
        or s.source_id in (select source_id from control.backoff where next_try_at > %(now)s)
        or s.integration in (select integration from control.breakers)
    )
    order by s.paused_at nulls last, s.source_id
    limit %(limit)s
"""
