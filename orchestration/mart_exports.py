"""Marts as files by themselves: which shards have something new for the files, and all the businesses of one.

A business is exported again when a model of its shard changed rows that the snapshot of its last export could not see.
Tables that are made whole (a forecast) leave no such note, and neither does a new column of a view: once a day each
business is compared in any case. Where nothing differs, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg2

from orchestration.mart_files import Exported, export_marts
from orchestration.transform import connect, target_of
from sharding.access.tenants import list_access
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Shard

IN_ANY_CASE = timedelta(days=1)

# Of the businesses whose last export was of this shard and cluster, those whose snapshot missed a change.
_CHANGED = """
select of.business from unnest(%s::int[], %s::text[]) as of (business, snapshot)
where exists (
    select from {changes} as change
    where change.xid >= pg_snapshot_xmin(of.snapshot::pg_snapshot)
        and not pg_visible_in_snapshot(change.xid, of.snapshot::pg_snapshot)
)
"""


@dataclass
class ShardExport:
    """What came of a shard's businesses: those that were exported, those that had nothing new, those that failed."""

    done: list[Exported] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, LarderError] = field(default_factory=dict)


def businesses_with_news(catalogue: Catalogue, shard: Shard, to: str) -> dict[str, bool]:
    """The shard's businesses that have a role of their own, and whether there is something new for their files.

    Raises:
        psycopg2.Error: the shard does not answer.
    """
    residents = {business.name: business.id for business in catalogue.businesses(shard.name)}
    names = [access.business for access in list_access(catalogue) if access.business in residents]
    if not names:
        return {}
    with catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute(
            "select business, system_identifier, snapshot from control.exports"
            " where store = %s and shard = %s and business = any(%s) and exported_at > clock_timestamp() - %s",
            (to, shard.name, [residents[name] for name in names], IN_ANY_CASE),
        )
        known = cur.fetchall()
    current = _current(shard, known) if known else set()
    return {name: residents[name] not in current for name in names}


def export_shard(
    catalogue: Catalogue, shard: Shard, to: str, say: Callable[[str], None] = lambda text: None
) -> ShardExport:
    """Export the businesses of a shard that have something new. One that fails stops no other."""
    result = ShardExport()
    for name, has_news in businesses_with_news(catalogue, shard, to).items():
        if not has_news:
            result.unchanged.append(name)
            continue
        try:
            done = export_marts(catalogue, name, to)
        except LarderError as error:
            result.failed[name] = error
        except psycopg2.Error as error:
            cause = f"the shard of {name} does not answer: {' '.join(str(error).split())}"
            result.failed[name] = LarderError(cause, "config", "larder status")
        except OSError as error:  # what object stores raise
            cause = f"the files of {name} cannot be written: {' '.join(f'{type(error).__name__}: {error}'.split())}"
            result.failed[name] = LarderError(cause, "config", f"larder export --business {name}")
        else:
            result.done.append(done)
            say(f"{name}: {done.changed} of {done.parts} files written, {done.removed} removed")
    return result


def _current(shard: Shard, known: list[tuple[int, int, str]]) -> set[int]:
    """Businesses of which every change is in the files."""
    with closing(connect(target_of(shard))) as conn, conn, conn.cursor() as cur:
        cur.execute("select system_identifier, to_regclass(%s) is not null from pg_control_system()",
                    (f"{shard.schema('meta')}.model_change",))  # fmt: skip
        [(cluster, has_notes)] = cur.fetchall()
        same = [(business, snapshot) for business, system, snapshot in known if system == cluster]
        if not has_notes or not same:
            return set()
        cur.execute(
            _CHANGED.format(changes=f'"{shard.schema("meta")}".model_change'),
            ([business for business, _ in same], [snapshot for _, snapshot in same]),
        )
        return {business for business, _ in same} - {business for (business,) in cur.fetchall()}
