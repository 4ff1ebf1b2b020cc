"""The index of blocks made anew from the manifests in the store."""

import json
from collections.abc import Sequence
from contextlib import closing

from ingestion.blocks import BlockStore, Manifest
from ingestion.index import connect, index_block
from ingestion.manifest import MANIFEST_SUFFIX, RETIRED_SUFFIX


def rebuild_index(dsn: str, store: BlockStore, source_ids: Sequence[int] | None = None) -> int:
    """Index every block of the store that is not indexed, and set cursors that are missing, or older than the index
    they came from (a control database that was restored), to the newest block's.

    Returns the number of blocks added. Sources must be in the catalogue; blocks of others are left alone. Windows that
    gave no block are not in the manifests: they are read again, which finds nothing new.
    """
    with closing(connect(dsn)) as conn:
        with conn, conn.cursor() as cur:
            cur.execute("select source_id from control.sources")
            known = {row[0] for row in cur.fetchall()}
        wanted = known if source_ids is None else known & set(source_ids)
        added = 0
        given_up = {name.removesuffix(RETIRED_SUFFIX) for name in store.files() if name.endswith(RETIRED_SUFFIX)}
        newest: dict[tuple[int, str], Manifest] = {}
        for manifest in store.manifests():
            key = (int(manifest.source_id), manifest.stream)
            if key[0] not in wanted or manifest.path.removesuffix(MANIFEST_SUFFIX) in given_up:
                continue
            with conn, conn.cursor() as cur:
                added += index_block(cur, manifest)
            if manifest.is_reimport:
                continue
            if key not in newest or newest[key].block_id < manifest.block_id:
                newest[key] = manifest
        with conn, conn.cursor() as cur:
            for (source_id, stream), manifest in newest.items():
                cur.execute(
                    "insert into control.cursors (source_id, stream, cursor, block_id) values (%s, %s, %s, %s)"
                    " on conflict (source_id, stream) do update set cursor = excluded.cursor,"
                    " block_id = excluded.block_id, advanced_at = clock_timestamp()"
                    " where cursors.block_id < excluded.block_id",
                    (source_id, stream, json.dumps(manifest.cursor_after), manifest.block_id),
                )
        return added
