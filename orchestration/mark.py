"""Is there anything to build on a shard? A probe of some milliseconds, instead of a second of dbt that finds nothing.

Each model bears a mark: the snapshot up to which it has seen its parents' feeds (macros/changed_facets). "New" is
exact: what that snapshot could not see, not what is younger than a clock or a sequence, which would lose commits that
overlap.
The shard's own mark says from which code, and for which integrations, the whole project was last handed to dbt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import yaml
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

_PATHS = ("model-paths", "macro-paths", "seed-paths", "test-paths", "snapshot-paths")
Names = Callable[[str], str]  # bare schema → the shard's


@dataclass(frozen=True)
class Look:
    """What a probe saw. `whole`: why everything must be handed to dbt; else `stale`: model → the feeds with news.

    `new_day`: no Python model has run yet on the vendors' date.
    """

    cluster: int
    integrations: tuple[str, ...]
    whole: str | None = None
    stale: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    new_day: bool = False

    @property
    def reason(self) -> str | None:
        """Why to build, None if nothing is new."""
        if self.whole:
            return self.whole
        feeds = sorted({feed for feeds in self.stale.values() for feed in feeds if feed != "keys.clock"})
        if feeds:
            return "new in " + ", ".join(feeds)
        if self.stale:
            return "time went on"
        return "a new day" if self.new_day else None


def code_fingerprint(project_dir: Path) -> str:
    """Hash of everything that decides what dbt builds: project files and dbt's own version."""
    config = project_dir / "dbt_project.yml"
    project = yaml.safe_load(config.read_text())
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-postgres')}".encode())
    folders = [project_dir / folder for key in _PATHS for folder in project.get(key, [])]
    files = {f for folder in folders for f in folder.rglob("*") if f.suffix in (".sql", ".yml", ".yaml", ".csv", ".md")}
    for file in [config, *sorted(files)]:
        digest.update(f"\0{file.relative_to(project_dir)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def look(conn: Connection, schema: Names, code: str, now: datetime) -> Look:
    """Compare the shard's models with their feeds. `now` is the vendors' clock; `code` is `code_fingerprint`."""
    with conn, conn.cursor() as cur:
        cur.execute(
            f"select system_identifier, array(select distinct integration from {schema('keys')}.source order by 1)"
            " from pg_control_system()"
        )
        cluster, integrations = cur.fetchone() or (0, [])
        seen = Look(cluster, tuple(integrations))
        cur.execute(
            "select system_identifier, code, integrations, models, as_of at time zone 'utc'"
            f" from {schema('raw')}.build_mark where scope = 'models'"
        )
        mark = cur.fetchone()
        if mark is None:
            return Look(cluster, seen.integrations, "never built")
        marked_cluster, marked_code, marked_integrations, models, as_of = mark
        if marked_cluster != cluster:
            return Look(cluster, seen.integrations, "restored on another cluster")
        if marked_code != code:
            return Look(cluster, seen.integrations, "models changed")
        if marked_integrations != integrations:
            added = sorted(set(integrations) ^ set(marked_integrations))
            return Look(cluster, seen.integrations, f"integrations of this shard changed: {', '.join(added)}")
        return Look(
            cluster, seen.integrations, None, _stale(cur, schema, models), as_of is None or as_of.date() != now.date()
        )


@dataclass(frozen=True)
class _Snapshot:
    """A pg_snapshot: `xmin:xmax:xid,…`."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def of(cls, text: str) -> _Snapshot:
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(x) for x in running.split(",") if x))

    def sees(self, xid: int) -> bool:
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)


def _stale(cur: Cursor, schema: Names, models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Models with news in a feed, and those of `models` that have no valid mark."""
    meta = schema("meta")
    if not _has_marks(cur, schema):
        return dict.fromkeys(sorted(models), ("no mark",))
    cur.execute(
        f"""
        select
            mark.model, mark.seen::text, reads.key, reads.value ->> 'filter', feed.relation,
            feed.epoch::text is not distinct from reads.value ->> 'epoch'
                and feed.pruned_to <= pg_snapshot_xmin(mark.seen) and to_regclass(feed.relation) is not null
        from {meta}.mark
        left join lateral jsonb_each(mark.reads) as reads on true
        left join {meta}.feed on feed.feed = reads.key
        """
    )
    rows = cur.fetchall()
    stale: dict[str, list[str]] = {m: ["no mark"] for m in set(models) - {row[0] for row in rows}}
    newest = _newest(cur, sorted({(row[4], row[3]) for row in rows if row[2] is not None and row[5]}))
    for model, seen, feed, filter_, relation, is_valid in rows:
        if feed is None:
            continue  # a model without parents
        if not is_valid:
            stale.setdefault(model, []).append(feed)
            continue
        xid, snapshot = newest.get((relation, filter_)), _Snapshot.of(seen)
        if xid is None or xid < snapshot.xmin:
            continue
        # The newest entry may be seen and an older one not, whose transaction took longer.
        if not snapshot.sees(xid) or _has_unseen(cur, relation, filter_, seen):
            stale.setdefault(model, []).append(feed)
    return {model: tuple(feeds) for model, feeds in sorted(stale.items())}


def _has_marks(cur: Cursor, schema: Names) -> bool:
    """Whether any model here ever followed changes; the table of marks comes with the first that does."""
    cur.execute("select to_regclass(%s) is not null", (f"{schema('meta')}.mark",))
    row = cur.fetchone()
    return bool(row and row[0])


def _newest(cur: Cursor, feeds: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The latest transaction in each (relation, filter) that has any entry."""
    if not feeds:
        return {}
    parts = [
        f"(select {place}, xid::text from {relation} where {filter_} order by {relation}.xid desc limit 1)"
        for place, (relation, filter_) in enumerate(feeds)
    ]
    cur.execute(" union all ".join(parts))
    return {feeds[place]: int(xid) for place, xid in cur.fetchall()}


def _has_unseen(cur: Cursor, relation: str, filter_: str, seen: str) -> bool:
    cur.execute(
        f"select exists (select from {relation} where xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot)"
        f" and not pg_visible_in_snapshot(xid, %(seen)s::pg_snapshot) and ({filter_}))",
        {"seen": seen},
    )
    row = cur.fetchone()
    return bool(row and row[0])


def set_mark(conn: Connection, schema: Names, seen: Look, code: str, failed: Sequence[str] = ()) -> None:
    """Record that the whole project, in this code, was handed to the models. `failed` will be tried again."""
    with conn, conn.cursor() as cur:
        marked = f"select model from {schema('meta')}.mark union " if _has_marks(cur, schema) else ""
        cur.execute(
            f"""
            insert into {schema("raw")}.build_mark (scope, system_identifier, code, integrations, models)
            select 'models', %s, %s, %s, array({marked}select unnest(%s::text[]))
            on conflict (scope) do update set
                system_identifier = excluded.system_identifier, code = excluded.code,
                integrations = excluded.integrations, models = excluded.models, built_at = clock_timestamp()
            """,
            (seen.cluster, code, list(seen.integrations), list(failed)),
        )


def set_day(conn: Connection, schema: Names, now: datetime) -> None:
    """Record that the Python models have run on this date."""
    with conn, conn.cursor() as cur:
        cur.execute(f"update {schema('raw')}.build_mark set as_of = %s where scope = 'models'", (now,))


def tick(conn: Connection, schema: Names, now: datetime, *, each_hour: bool) -> None:
    """Tell the shard's models the vendors' time, which publishes it: open punches and calendars move with it.

    `each_hour`: only if a full hour has passed since, so that time alone does not keep models busy.
    """
    clock = f"{schema('keys')}.clock"
    with conn, conn.cursor() as cur:
        passed = " where date_trunc('hour', told.now) <> date_trunc('hour', excluded.now)" if each_hour else ""
        cur.execute(
            f"insert into {clock} as told (now) values (%s)"
            f" on conflict (only_row) do update set now = excluded.now{passed}",
            (now,),
        )


def tell_read_through(conn: Connection, schema: Names, read: Mapping[tuple[int, str], datetime]) -> None:
    """Tell the shard up to when streams of sources were asked for, where a full hour has passed since it was last told.

    A source that has nothing to tell leaves no block, but the days it was asked about are complete.
    """
    if not read:
        return
    with conn, conn.cursor() as cur:
        execute_values(
            cur,
            f"""
            insert into {schema("raw")}.read_through as told (source_id, stream, observed_at)
            select asked.source_id, asked.stream, asked.observed_at
            from (values %s) as asked (source_id, stream, observed_at)
            inner join {schema("keys")}.source on source.id = asked.source_id
            inner join {schema("keys")}.route
                on route.business = {schema("keys")}.business_of(source.id) and route.state = 'active'
            for share of route -- one that moves away meanwhile is left alone
            on conflict (source_id, stream) do update set observed_at = excluded.observed_at
            where date_trunc('hour', told.observed_at) < date_trunc('hour', excluded.observed_at)
            """,
            [(source_id, stream, at) for (source_id, stream), at in sorted(read.items())],
            template="(%s::bigint, %s, %s::timestamptz)",
        )
