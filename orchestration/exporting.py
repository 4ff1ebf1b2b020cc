"""A business as files: its tables, its blocks, and a manifest with every file's hash. The manifest is written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ingestion.blocks import BlockStore
from orchestration.cycle import Installation
from sharding.errors import LarderError
from sharding.exporting import export_control, export_tables
from sharding.migrate import version_of

MANIFEST = "manifest.json"
FORMAT = "larder business export 1"
_CHUNK = 1 << 20


def export_business(
    at: Installation, name: str, to: str, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Write everything of a business to a folder or an object store's URL; returns the manifest.

    Tables are of one moment; blocks are immutable, those extracted meanwhile may be in it. Secrets are not in it.

    Raises:
        LarderError: turn `you`: there is an export already.
    """
    target = BlockStore(to if "://" in to else f"file://{to}")
    if target.fs.exists(target.path(MANIFEST)):
        raise LarderError(f"{to} holds an export already", "you", f"larder business export {name} --to ELSEWHERE")
    business = at.catalogue.business(name)
    shard = at.catalogue.shard(business.shard)
    tables, known = export_tables(shard, business, target.open_write)
    say(f"{sum(table.rows for table in tables):,} rows of {len(tables)} tables")
    blocks = list(_copy_blocks(at.store, target, business.id))
    say(f"{len(blocks):,} files of blocks")
    manifest = {
        "format": FORMAT,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "schema_version": version_of(shard),
        **export_control(at.catalogue, business),
        "shard": known,
        "tables": [asdict(table) for table in tables],
        "blocks": blocks,
    }
    target.write_bytes(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False, default=str).encode() + b"\n")
    return manifest


def _copy_blocks(store: BlockStore, target: BlockStore, business: int) -> Iterator[dict[str, Any]]:
    """Every file of the business's blocks, from the remote where it is no longer here."""
    places: dict[str, BlockStore] = {}
    for one in (store.remote, store):
        if one is not None:
            places |= dict.fromkeys(one.files(f"{business}/"), one)
    for name, one in sorted(places.items()):
        digest, size = hashlib.sha256(), 0
        with one.fs.open(one.path(name), "rb") as source, target.open_write(f"blocks/{name}") as sink:
            while piece := source.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
                sink.write(piece)
        yield {"file": f"blocks/{name}", "bytes": size, "sha256": digest.hexdigest()}
