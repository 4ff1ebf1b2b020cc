"""Rows that were set aside and whose file, or whole table, has been read again since: the newer reading stands."""

import json
from collections.abc import Mapping, Sequence

from psycopg2.extensions import connection as Connection

from ingestion.blocks import Manifest
from ingestion.quarantine import discard


def settle(conn: Connection, shard_dsn: str, schemas: Mapping[str, str], manifests: Sequence[Manifest]) -> int:
    """Give up open bad rows of earlier readings of what these blocks read; returns how many."""
    settled = 0
    for manifest in manifests:
        files = _files(manifest)
        whole = manifest.window.complete and manifest.window.start is None and not files
        with conn, conn.cursor() as cur:
            cur.execute(
                f'select quarantine_id from "{schemas["raw"]}".quarantine where source_id = %s and stream = %s'
                " and reason = 'bad_row' and state = 'open' and observed_at < %s"
                " and (%s or exists (select from unnest(%s::text[]) as f (at) where strpos(payload_text, f.at) > 0))",
                (int(manifest.source_id), manifest.stream, manifest.observed_at, whole, files),
            )
            ids = [row[0] for row in cur.fetchall()]
        if ids:
            reason = f"read again in block {manifest.block_id}"
            settled += discard(shard_dsn, schemas, manifest.business, ids, reason)
    return settled


def _files(manifest: Manifest) -> list[str]:
    """The files that a block read, as its records name them."""
    before = (manifest.cursor_before or {}).get("files", {})
    after = manifest.cursor_after.get("files", {})
    names = [key.partition("|")[2] for key, mark in after.items() if before.get(key) != mark]
    return [f'"file":{json.dumps(name, ensure_ascii=False)}' for name in names]
