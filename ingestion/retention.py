"""Blocks that are given up: old ones of which nothing that is kept elsewhere needs a byte.

Raw keeps every version, and an auditor adds up the blocks to compare: so a block stays as long as any row in raw came
from it or was last confirmed by it, as long as a record of it is in quarantine, a load of it failed, a cursor stands on
it, or what it says is missing is said by no later block. What is left are receipts of nothing: windows that were read
twice and reimports whose every record was known or came too late. Without them the fold over all blocks comes to the
same, which is what `larder reconcile` compares with raw.

A block that is given up leaves a tombstone beside where it was, `<block>.retired.json`: its manifest and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from psycopg2.extensions import connection as Connection

from ingestion.blocks import BlockStore
from ingestion.load import connect
from ingestion.manifest import MANIFEST_SUFFIX, REIMPORT, RETIRED_SUFFIX, Manifest

AGAIN = "read again by request, and every record was known or came too late"
NOTHING_NEW = "every record was known or came too late, and later blocks confirm it"


@dataclass(frozen=True)
class Spare:
    """A block that nothing needs."""

    manifest: Manifest
    reason: str


def spare_blocks(
    control: Connection,
    shard_dsn: str,
    schemas: Mapping[str, str],
    source_ids: Sequence[int],
    keep: timedelta,
) -> list[Spare]:
    """Blocks of sources of one shard that are older than `keep` and that nothing needs; reimports first, then oldest.

    Raises:
        LarderError: the shard cannot be reached.
    """
    old = _old_and_loaded(control, source_ids, keep)
    if not old:
        return []
    with closing(connect(shard_dsn)) as conn, conn:
        needed = _needed(conn, schemas, old)
    found = [
        Spare(manifest, AGAIN if manifest.is_reimport else NOTHING_NEW)
        for manifest in old
        if manifest.block_id not in needed
    ]
    return sorted(found, key=lambda spare: (spare.reason != AGAIN, spare.manifest.block_id))


def retire(control: Connection, store: BlockStore, spare: Sequence[Spare]) -> int:
    """Give blocks up; returns the bytes. Killed, what was begun is ended by the next call, of whatever blocks."""
    for one in spare:
        told = {
            "manifest": one.manifest.model_dump(mode="json"),
            "reason": one.reason,
            "retired_at": datetime.now(UTC).isoformat(),
        }
        for place in _stores(store):
            place.write_bytes(tombstone_path(one.manifest), json.dumps(told, indent=1).encode() + b"\n")
        with control, control.cursor() as cur:
            cur.execute(
                "insert into control.retired_blocks (block_id, source_id, stream, manifest, reason)"
                " select block_id, source_id, stream, manifest, %s from control.blocks where block_id = %s"
                " on conflict do nothing",
                (one.reason, one.manifest.block_id),
            )
            cur.execute("delete from control.blocks where block_id = %s", (one.manifest.block_id,))
    return sum(_remove_files(control, store))


def tombstone_path(manifest: Manifest) -> str:
    """Where the tombstone of a block is, within the store."""
    return manifest.path.removesuffix(MANIFEST_SUFFIX) + RETIRED_SUFFIX


def retired(conn: Connection, block_id: UUID) -> tuple[datetime, str] | None:
    """When and why a block was given up; None if it was not."""
    with conn, conn.cursor() as cur:
        cur.execute("select retired_at, reason from control.retired_blocks where block_id = %s", (block_id,))
        row = cur.fetchone()
        return (row[0], row[1]) if row else None


def _old_and_loaded(control: Connection, source_ids: Sequence[int], keep: timedelta) -> list[Manifest]:
    """Blocks whose age is over, without those that the control database itself needs."""
    with control, control.cursor() as cur:
        cur.execute(
            """
            select b.manifest from control.blocks as b
            where b.source_id = any(%(sources)s) and b.loaded_at is not null
                and b.indexed_at < clock_timestamp() - %(keep)s
                and not exists (select from control.block_failures as f where f.block_id = b.block_id)
                and not exists (select from control.cursors as c where c.block_id = b.block_id)
                and (b.manifest ->> 'created_by' = %(again)s or exists ( -- the next window is compared with the newest
                    select from control.blocks as later
                    where later.source_id = b.source_id and later.stream = b.stream and later.block_id > b.block_id
                        and later.loaded_at is not null and later.manifest ->> 'created_by' <> %(again)s
                ))
            order by b.block_id
            """,
            {"sources": list(source_ids), "keep": keep, "again": REIMPORT},
        )
        return [Manifest.model_validate(row[0]) for row in cur.fetchall()]


def _needed(conn: Connection, schemas: Mapping[str, str], blocks: Sequence[Manifest]) -> set[UUID]:
    """Those of the blocks that the shard needs, or does not know."""
    raw, ids = schemas["raw"], [manifest.block_id for manifest in blocks]
    needed: set[UUID] = set()
    with conn.cursor() as cur:
        cur.execute(f'select block_id from "{raw}".loaded_blocks where block_id = any(%s)', (ids,))
        needed |= set(ids) - {block_id for (block_id,) in cur.fetchall()}
        for table in (f'"{raw}".head', f'"{raw}".quarantine'):
            cur.execute(f"select distinct block_id from {table} where block_id = any(%s)", (ids,))
            needed |= {block_id for (block_id,) in cur.fetchall()}
        for integration, stream in sorted({(manifest.integration, manifest.stream) for manifest in blocks}):
            cur.execute("select to_regclass(%s) is not null", (f'"{raw}_{integration}"."{stream}"',))
            if cur.fetchone() == (True,):
                cur.execute(
                    f'select distinct block_id from "{raw}_{integration}"."{stream}" where block_id = any(%s)', (ids,)
                )
                needed |= {block_id for (block_id,) in cur.fetchall()}
        cur.execute(_ABSENCES.format(raw=raw), {"ids": ids})
        needed |= {block_id for (block_id,) in cur.fetchall()}
    return needed


# What completely read windows prove: that a key is gone, by a window that saw it no more; that it is not, by the block
# that saw it last. A later window that covers the first proves the same.
_ABSENCES = """
    select one.block_id from "{raw}".complete_window as one
    where one.block_id = any(%(ids)s) and not exists (
        select from "{raw}".complete_window as later
        where later.source_id = one.source_id and later.stream = one.stream and later.observed_at > one.observed_at
            and later.block_id <> one.block_id
            and (later.window_from is null or later.window_from <= one.window_from)
            and (later.window_to is null or later.window_to >= one.window_to)
            and not later.block_id = any(%(ids)s)
    )
    union
    select block.block_id from "{raw}".loaded_blocks as block
    where block.block_id = any(%(ids)s)
        and exists (
            select from "{raw}".complete_window as any_window
            where any_window.source_id = block.source_id and any_window.stream = block.stream
        )
        and exists (
            select from "{raw}".head as head
            where head.source_id = block.source_id and head.stream = block.stream
                and head.last_seen_at = block.observed_at
        )
"""


def _remove_files(control: Connection, store: BlockStore) -> Iterator[int]:
    """Delete the files of blocks that were given up, wherever they are; yields their bytes."""
    with control, control.cursor() as cur:
        cur.execute("select manifest from control.retired_blocks where removed_at is null order by block_id")
        waiting = [Manifest.model_validate(row[0]) for row in cur.fetchall()]
    for manifest in waiting:
        for place in _stores(store):
            place.delete(manifest.path)
            place.delete(manifest.data_path)
        with control, control.cursor() as cur:
            cur.execute(
                "update control.retired_blocks set removed_at = clock_timestamp() where block_id = %s",
                (manifest.block_id,),
            )
        yield manifest.compressed_bytes


def _stores(store: BlockStore) -> list[BlockStore]:
    return [store, store.remote] if store.remote is not None else [store]
