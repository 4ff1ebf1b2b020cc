"""Requests that take longer than expected: than anybody should wait, or than the same reader is used to.

Compared are means between two samples (orchestration/samples.py), a reader on a shard by itself: a business's role, the
role of BI over all, or anybody else's. Larder's own parts are told and are no alarm: nobody waits for one statement of
a load or build, and what they do differs from one hour to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from psycopg2.extensions import connection as Connection

from sharding.access.roles import LOGINS

TIMES = 3.0
"""So many times the reader's usual is longer than expected."""
NOTICED = 0.1
"""Seconds below which nobody minds, however many times the usual it is."""
HISTORY = 12
"""Samples that make a usual: two hours of traffic."""
RECENT = timedelta(minutes=30)
"""What is older than that is no alarm any more."""
READERS = 50

Because = Literal["", "slow", "slower"]


@dataclass(frozen=True)
class Reader:
    """A reader's last requests on a shard, in seconds. `business`: whose role it is. `usual`: the median of means
    before; None: too few. `because`: `slow` (over the limit), `slower` (than it was), or nothing."""

    shard: str
    reader: str
    business: str | None
    at: datetime
    calls: int
    mean: float
    longest: float
    usual: float | None
    because: Because

    @property
    def said(self) -> str:
        """The finding in words."""
        usual = "" if self.usual is None else f", usually {self.usual:.2f} s"
        return f"{self.business or self.reader} on {self.shard}: {self.calls} requests of {self.mean:.2f} s{usual}"


def readers(conn: Connection, limit: float, now: datetime | None = None) -> list[Reader]:
    """The readers of the last half hour, those that waited longest first.

    Args:
        limit: seconds that a request may take on average (LARDER_SLOW_REQUEST).
        now: real time; default: the control database's.
    """
    with conn, conn.cursor() as cur:
        cur.execute(_QUERY, {"now": now, "recent": RECENT, "history": HISTORY, "readers": READERS})
        rows = cur.fetchall()
    return [
        Reader(
            shard,
            reader,
            business,
            at,
            calls,
            mean,
            longest,
            usual,
            "" if reader in LOGINS else _because(mean, usual, limit),
        )
        for shard, reader, business, at, calls, mean, longest, usual in rows
    ]


def findings(conn: Connection, limit: float, now: datetime | None = None) -> list[Reader]:
    """The readers whose requests take longer than expected."""
    return [reader for reader in readers(conn, limit, now) if reader.because]


def _because(mean: float, usual: float | None, limit: float) -> Because:
    if mean > limit:
        return "slow"
    return "slower" if usual is not None and mean > NOTICED and mean > TIMES * usual else ""


_QUERY = """
    with step as (
        select
            shard, reader, business, sampled_at, max_ms,
            calls - lag(calls) over one as calls,
            total_ms - lag(total_ms) over one as ms
        from control.reader_samples
        window one as (partition by shard, reader order by sampled_at)
    ),
    busy as (  -- totals that fell were begun anew
        select *, ms / calls / 1000 as mean from step where calls > 0 and ms >= 0
    ),
    last as (
        select distinct on (shard, reader) * from busy
        where sampled_at > coalesce(%(now)s, clock_timestamp()) - %(recent)s
        order by shard, reader, sampled_at desc
    ),
    usual as (
        select b.shard, b.reader, percentile_cont(0.5) within group (order by b.mean) as mean
        from busy as b inner join last as l on l.shard = b.shard and l.reader = b.reader and b.sampled_at < l.sampled_at
        group by 1, 2
        having count(*) >= %(history)s
    )
    select l.shard, l.reader, b.name, l.sampled_at, l.calls, l.mean, l.max_ms / 1000, u.mean
    from last as l
    left join usual as u on u.shard = l.shard and u.reader = l.reader
    left join control.businesses as b on b.business = l.business
    order by l.mean desc, 1, 2
    limit %(readers)s
"""
