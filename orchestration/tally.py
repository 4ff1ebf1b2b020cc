"""What a cycle did to each shard, kept in the control database: how long it took, whether the models are up to date.

`larder status`, metrics and freshness read it, whether or not anything runs then.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

import psycopg2.extras

from ingestion import counters, index
from orchestration.events import Event, ShardDone
from orchestration.results import GOOD
from orchestration.transform import NOTHING_NEW, ShardBuild

_EVERY = 1.0  # seconds between two writes: a thousand shards are no thousand transactions


@dataclass(frozen=True)
class Ended:
    """A shard's part of a cycle. `current`: the models have what was loaded."""

    shard: str
    state: str
    reason: str
    seconds: float
    current: bool


@dataclass
class Tally:
    """Listens to one cycle that began at `now` of the vendors' clock. `whole`: the builds are of all models."""

    control_dsn: str
    now: datetime
    whole: bool = True
    _began: float = field(default_factory=time.monotonic)
    _wrote: float = field(default_factory=time.monotonic)
    _last: dict[str, ShardBuild] = field(default_factory=dict)
    _ended: dict[str, Ended] = field(default_factory=dict)
    _counts: list[counters.Count] = field(default_factory=list)

    def heard(self, events: Generator[Event]) -> Iterator[Event]:
        """The events, noted on their way."""
        try:
            with closing(events):
                for event in events:
                    self._hear(event)
                    yield event
                    if time.monotonic() > self._wrote + _EVERY:
                        self.write()
        finally:
            self.write()

    def _hear(self, event: Event) -> None:
        if isinstance(event, ShardBuild):
            self._last[event.shard] = event
            self._counts += list(counted(event))
        elif isinstance(event, ShardDone) and self.whole and event.shard in self._last:
            build = self._last[event.shard]
            seconds = time.monotonic() - self._began
            self._ended[event.shard] = Ended(event.shard, build.state, build.reason, seconds, is_current(build))

    def write(self) -> None:
        """Write what is not written yet."""
        self._wrote = time.monotonic()
        if not self._ended and not self._counts:
            return
        with closing(index.connect(self.control_dsn)) as conn, conn, conn.cursor() as cur:
            counters.add(cur, self._counts)
            if self._ended:
                psycopg2.extras.execute_values(
                    cur,
                    "insert into control.shard_cycles as c (shard, state, reason, seconds, behind_since)"
                    " select e.shard, e.state, e.reason, e.seconds, case when not e.current then e.at end"
                    " from (values %s) as e (shard, state, reason, seconds, current, at)"
                    " inner join control.shards using (shard) order by e.shard"
                    " on conflict (shard) do update set state = excluded.state, reason = excluded.reason,"
                    " seconds = excluded.seconds, ended_at = clock_timestamp(),"
                    " behind_since = case when excluded.behind_since is not null"
                    " then coalesce(c.behind_since, excluded.behind_since) end",
                    [(e.shard, e.state, e.reason, e.seconds, e.current, self.now) for e in self._ended.values()],
                    template="(%s, %s, %s, %s::double precision, %s::boolean, %s::timestamptz)",
                )
        self._ended.clear()
        self._counts.clear()


def is_current(build: ShardBuild) -> bool:
    """Whether the models have what was loaded: all that had to be were built, or there was nothing to build."""
    if build.result is not None and build.result.error is None:
        return all(node.status in GOOD for node in build.result.models)
    return build.state == "skipped" and build.reason.startswith(NOTHING_NEW)


def counted(build: ShardBuild) -> Iterator[counters.Count]:
    """What a pass over a shard adds to the totals."""
    yield "passes", build.shard, build.state, 1
    yield "pass_seconds", build.shard, "", build.wall_seconds
    if build.result is not None:
        for node in build.result.models:
            yield "rows_changed", build.shard, "inserted", node.inserted or 0
            yield "rows_changed", build.shard, "deleted", node.deleted or 0
        for node in build.result.failed:
            yield "build_errors", build.shard, "test" if node.kind in ("test", "unit_test") else "model", 1
    elif build.state == "failed":
        yield "build_errors", build.shard, "shard", 1
