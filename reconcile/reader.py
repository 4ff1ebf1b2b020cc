"""The auditor's own reader of the block store: manifests, bytes, hashes, and the fold to the latest record per key.

Deliberately apart from `ingestion`: nothing here is shared with the code that wrote or loaded the blocks.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import fsspec
import zstandard

from reconcile.model import Record

BEGINNING = datetime.min.replace(tzinfo=UTC)


class ReceiptError(Exception):
    """A block's bytes are not what its manifest says."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One committed block, as its manifest tells."""

    block_id: str
    generation: int
    source_id: int
    stream: str
    observed_at: datetime
    window: dict[str, Any]
    records: int
    sha256: str
    path: str


class Place(NamedTuple):
    """Where a record stands: block, generation and line."""

    block_id: str
    generation: int
    ordinal: int


class Seen(NamedTuple):
    """One record of a block, with its place in the stream's total order."""

    modified_at: datetime
    observed_at: datetime
    place: Place
    payload: Record


@dataclass(frozen=True, slots=True)
class Folded:
    """A stream of a source after all its blocks: the latest record of every key not gone, and what was read."""

    current: dict[str, Seen]
    lines: int
    keyless: int


def parse(line: bytes | str) -> Any:
    """JSON with numbers as int or Decimal: no amount ever passes through a float."""
    return json.loads(line, parse_float=Decimal)


def instant(text: str | None) -> datetime:
    """A vendor's time as an instant; a missing one sorts first. `+0000` without colon and `Z` are read too."""
    if not text:
        return BEGINNING
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def stored_blocks(store_url: str, business: int | None = None) -> list[StoredBlock]:
    """Every committed block in the store (of one business), found by its manifest, not by any index."""
    fs, root = fsspec.core.url_to_fs(store_url)
    base = f"{root}/{business}" if business is not None else root
    if not fs.exists(base):
        return []
    blocks = []
    for path in sorted(fs.find(base)):
        if not path.endswith(".manifest.json"):
            continue
        m = json.loads(fs.cat_file(path))
        blocks.append(
            StoredBlock(
                block_id=m["block_id"],
                generation=int(m["generation"]),
                source_id=int(m["source_id"]),
                stream=m["stream"],
                observed_at=instant(m["observed_at"]),
                window=m["window"],
                records=int(m["records"]),
                sha256=m["sha256"],
                path=path.removesuffix(".manifest.json") + ".jsonl.zst",
            )
        )
    return blocks


def lines(store_url: str, block: StoredBlock) -> Iterator[bytes]:
    """The block's records as stored, one a line.

    Raises:
        ReceiptError: when the number of lines or the hash of the bytes is not the manifest's.
    """
    fs, _ = fsspec.core.url_to_fs(store_url)
    digest, count = hashlib.sha256(), 0
    with fs.open(block.path, "rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as plain:
        for line in io.BufferedReader(plain):
            digest.update(line)
            count += 1
            yield line
    if count != block.records or digest.hexdigest() != block.sha256:
        raise ReceiptError(
            f"block {block.block_id} holds {count} records, its manifest says {block.records}, or its bytes changed"
        )


def at_path(record: Any, path: str) -> Any:
    """The value at a dotted path of a record, None where it is missing."""
    for step in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record


def fold(
    store_url: str,
    blocks: Iterable[StoredBlock],
    key_paths: list[str],
    modified_path: str | None,
    set_aside: frozenset[Place],
    window_path: str | None,
    deletes_by_absence: bool,
) -> Folded:
    """Latest record of every key over `blocks` of one stream of one source.

    Order: (modified, observed, line). Records in `set_aside` (quarantined, by place) are left out. Where the vendor
    says nothing of deletions, a key last seen before a later, completely read window that covers it is gone.
    """
    current: dict[str, Seen] = {}
    last_seen: dict[str, datetime] = {}
    complete: list[StoredBlock] = []
    count = keyless = 0
    for block in blocks:
        if deletes_by_absence and block.window.get("complete"):
            complete.append(block)
        for ordinal, line in enumerate(lines(store_url, block)):
            count += 1
            place = Place(block.block_id, block.generation, ordinal)
            if place in set_aside:
                continue
            record = parse(line)
            parts = [at_path(record, p) for p in key_paths]
            if any(p is None for p in parts):
                keyless += 1
                continue
            key = "|".join(str(p) for p in parts)
            modified = instant(at_path(record, modified_path)) if modified_path else BEGINNING
            seen = Seen(modified, block.observed_at, place, record)
            last_seen[key] = max(last_seen.get(key, BEGINNING), block.observed_at)
            before = current.get(key)
            if before is None or (seen.modified_at, seen.observed_at, ordinal) >= (
                before.modified_at,
                before.observed_at,
                before.place.ordinal,
            ):
                current[key] = seen
    gone = [
        key
        for key, seen in current.items()
        if any(w.observed_at > last_seen[key] and _covers(w.window, seen.payload, window_path) for w in complete)
    ]
    for key in gone:
        del current[key]
    return Folded(current, count, keyless)


def _covers(window: dict[str, Any], record: Record, window_path: str | None) -> bool:
    if window_path is None or window.get("start") is None:
        return True
    value = str(at_path(record, window_path))
    return bool(str(window["start"]) <= value <= str(window["end"]))
