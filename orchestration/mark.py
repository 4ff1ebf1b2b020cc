"""Is there anything to build on a shard? A probe of 4 ms, instead of a second of dbt that finds nothing to do.

The mark holds the snapshot under which the last good build began, so "new" is exact: what that snapshot could not see
(pg_visible_in_snapshot), not what is younger than a clock or a sequence, which would lose commits that overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import yaml
from psycopg2.extensions import connection as Connection

_PATHS = ("model-paths", "macro-paths", "seed-paths", "test-paths", "snapshot-paths")


@dataclass(frozen=True)
class Look:
    """What a probe saw: the reason to build (None: nothing new) and the snapshot to mark after a good build."""

    reason: str | None
    snapshot: str
    cluster: int


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


def look(conn: Connection, schema: Callable[[str], str], code: str, now: datetime) -> Look:
    """Compare the shard with its mark. `now` is the vendors' clock; `code` is `code_fingerprint`."""
    raw, keys = schema("raw"), schema("keys")
    with conn, conn.cursor() as cur:
        cur.execute("select pg_current_snapshot()::text, system_identifier from pg_control_system()")
        snapshot, cluster = cur.fetchone() or ("", 0)
        cur.execute(
            f"select seen::text, system_identifier, code, as_of at time zone 'utc' from {raw}.build_mark"
            " where scope = 'models'"
        )
        mark = cur.fetchone()
        if mark is None:
            return Look("never built", snapshot, cluster)
        seen, marked_cluster, marked_code, as_of = mark
        if marked_cluster != cluster:
            return Look("restored on another cluster", snapshot, cluster)
        if marked_code != code:
            return Look("models changed", snapshot, cluster)
        unseen = "xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot) and not pg_visible_in_snapshot(xid, %(seen)s)"
        cur.execute(
            f"select integration || '.' || stream, count(*) from {raw}.feed where {unseen}"
            " group by 1 order by 2 desc, 1",
            {"seen": seen},
        )
        fed = cur.fetchall()
        if fed:
            return Look("new in raw: " + ", ".join(f"{n} {stream}" for stream, n in fed), snapshot, cluster)
        cur.execute(f"select distinct what from {keys}.change where {unseen} order by 1", {"seen": seen})
        changed = [row[0] for row in cur.fetchall()]
        if changed:
            return Look("changed by a person: " + ", ".join(changed), snapshot, cluster)
        if as_of.date() != now.date():
            return Look("a new day", snapshot, cluster)
    return Look(None, snapshot, cluster)


def set_mark(conn: Connection, schema: Callable[[str], str], seen: Look, code: str, now: datetime) -> None:
    """Record that everything `seen` at the probe is built. Call after a build without any error."""
    with conn, conn.cursor() as cur:
        cur.execute(
            f"insert into {schema('raw')}.build_mark (scope, seen, system_identifier, code, as_of)"
            " values ('models', %s, %s, %s, %s) on conflict (scope) do update set seen = excluded.seen,"
            " system_identifier = excluded.system_identifier, code = excluded.code, as_of = excluded.as_of,"
            " built_at = clock_timestamp()",
            (seen.snapshot, seen.cluster, code, now),
        )


def set_clock(conn: Connection, schema: Callable[[str], str], now: datetime | None) -> None:
    """Tell the shard's models what time it is for the vendors; None: the database's own time."""
    with conn, conn.cursor() as cur:
        cur.execute(f"delete from {schema('keys')}.clock")
        if now is not None:
            cur.execute(f"insert into {schema('keys')}.clock (now) values (%s)", (now,))
