"""The auditor's own reader of the block store: manifests, bytes, hashes, and the fold to the latest record per key.

Deliberately apart from `ingestion`: nothing here is shared with the code that wrote or loaded the blocks.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Self

import fsspec
import zstandard

from reconcile.model import Record

BEGINNING = datetime.min.replace(tzinfo=UTC)
LONGEST_KEY = 2000
"""Bytes; a longer key cannot be indexed and counts as none."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReceiptError(Exception):
    """What keeps receipts from being read or compared: mostly that a block's bytes are not what its manifest says.

    `str()` is the sentence for a person; `turn` says who can mend it.
    """

    def __init__(self, cause: str, next_command: str, turn: str = "data") -> None:
        super().__init__(cause)
        self.cause = cause
        self.turn = turn
        self.next_command = next_command

    def __str__(self) -> str:
        return f"{self.cause} — turn: {self.turn} — next: {self.next_command}"


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
    copy: str = ""  # URL of its copy, read where the file is gone from its place


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

    @property
    def position(self) -> tuple[datetime, datetime, str, int, int]:
        """What decides between two records of one key: the vendor's word first, then when we saw it, then where."""
        return self.modified_at, self.observed_at, self.place.block_id, self.place.ordinal, self.place.generation


@dataclass(frozen=True, slots=True)
class Folded:
    """A stream of a source after all its blocks: the latest record of every key not gone, and what was read.

    `keyless` are records without a key that nobody set aside: raw cannot hold them.
    """

    current: dict[str, Seen]
    lines: int
    keyless: int


@dataclass(frozen=True)
class StreamRules:
    """What `integration.yml` says of a stream, as far as the fold needs it. Paths are dotted."""

    natural_key: tuple[str, ...]
    modified_path: str | None = None
    modified_format: str = "iso_offset"
    volatile: tuple[str, ...] = ()
    tells_absence: bool = False
    window_path: str | None = None
    window_format: str = "date"

    @classmethod
    def of(cls, stream: Mapping[str, Any]) -> Self:
        """The rules of a stream as parsed from YAML."""
        modified, cursor = stream.get("modified") or {}, stream.get("cursor")
        return cls(
            natural_key=_texts(stream["natural_key"]),
            modified_path=modified.get("path"),
            modified_format=modified.get("format", "iso_offset"),
            volatile=_texts(stream.get("volatile", ())),
            tells_absence=stream.get("deletes") in ("snapshot", "complete_window") or "sweep" in stream,
            window_path=stream.get("window_field"),
            window_format=(cursor or {}).get("format", "iso_z"),
        )


def _texts(one_or_more: str | Sequence[str]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)


def parse(line: bytes | str) -> Any:
    """JSON with numbers as int or Decimal: no amount ever passes through a float."""
    return json.loads(line, parse_float=Decimal)


def instant(text: str | None) -> datetime:
    """A vendor's time as an instant; a missing one sorts first. `+0000` without colon and `Z` are read too."""
    if not text:
        return BEGINNING
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def spelled(value: Any, spelling: str) -> datetime:
    """A time in one of the spellings of `integration.yml`: epochs in seconds or milliseconds, RFC 2822, else ISO."""
    if value is not None and spelling in ("epoch_s", "epoch_ms"):
        return EPOCH + int(value) * timedelta(milliseconds=1 if spelling == "epoch_ms" else 1000)
    if value and spelling == "rfc2822":
        return parsedate_to_datetime(str(value))
    return instant(value)


@dataclass(frozen=True)
class Stored:
    """What a store holds: its committed blocks, and of those that were given up because nothing needs them, id →
    records."""

    blocks: list[StoredBlock]
    given_up: dict[str, int]


def stored(store_url: str, business: int | None = None, copies: str = "") -> Stored:
    """Look through the store (of one business): blocks are found by their manifests, those given up by what they left
    beside their place, not by any index. `copies`: URL of an object store that has the files that are no longer here.

    Raises:
        ReceiptError: when a manifest is damaged.
    """
    fs, root = fsspec.core.url_to_fs(store_url, use_listings_cache=False)
    base = f"{root}/{business}" if business is not None else root
    if not fs.exists(base):
        return Stored([], {})
    paths = sorted(fs.find(base))
    blocks = [_stored(path, fs.cat_file(path)) for path in paths if path.endswith(".manifest.json")]
    if copies:
        blocks = [replace(b, copy=f"{copies.rstrip('/')}/{b.path[len(root.rstrip('/')) + 1 :]}") for b in blocks]
    left = [json.loads(fs.cat_file(path))["manifest"] for path in paths if path.endswith(".retired.json")]
    return Stored(blocks, {manifest["block_id"]: int(manifest["records"]) for manifest in left})


def _stored(path: str, manifest: bytes) -> StoredBlock:
    try:
        m = json.loads(manifest)
        return StoredBlock(
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
    except (ValueError, KeyError, TypeError) as error:
        raise ReceiptError(f"the manifest {path} is damaged: {error!r}", "larder blocks list") from error


def lines(store_url: str, block: StoredBlock) -> Iterator[bytes]:
    """The block's records as stored, one a line. The check completes with the last one.

    Raises:
        ReceiptError: when the file is gone or does not decompress, or when the number of its lines or the hash of its
            bytes is not the manifest's.
    """
    fs, path = fsspec.core.url_to_fs(store_url)[0], block.path
    if block.copy and not fs.exists(path):
        fs, path = fsspec.core.url_to_fs(block.copy)
    digest, count = hashlib.sha256(), 0
    show = f"larder blocks show {block.block_id}"
    try:
        with fs.open(path, "rb") as raw:
            plain = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            for line in io.BufferedReader(plain):
                digest.update(line)
                count += 1
                yield line
    except FileNotFoundError as error:
        raise ReceiptError(f"block {block.block_id} has a manifest but its file is gone", show) from error
    except zstandard.ZstdError as error:
        raise ReceiptError(f"block {block.block_id} is damaged: {error}", show) from error
    if count != block.records or digest.hexdigest() != block.sha256:
        raise ReceiptError(
            f"block {block.block_id} is damaged: its {count} records do not have the hash of its manifest, which names"
            f" {block.records}",
            show,
        )


def at_path(record: Any, path: str) -> Any:
    """The value at a dotted path of a record (a number is a place in a list), None where it is missing."""
    for step in path.split("."):
        if isinstance(record, dict):
            record = record.get(step)
        elif isinstance(record, list) and step.isdigit() and int(step) < len(record):
            record = record[int(step)]
        else:
            return None
    return record


def without(record: Record, paths: Iterable[str]) -> Record:
    """The record without what stands at some dotted paths; itself where there are none."""
    for path in paths:
        first, _, rest = path.partition(".")
        if first in record:
            inner = record[first]
            record = {k: v for k, v in record.items() if k != first}
            if rest:
                record[first] = without(inner, [rest]) if isinstance(inner, dict) else inner
    return record


def key_of(record: Any, paths: Sequence[str]) -> str | None:
    """The record's natural key: its fields joined by `|`, both `|` and the backslash escaped. None: it has none."""
    parts = [at_path(record, path) for path in paths]
    if not isinstance(record, dict) or not all(
        isinstance(p, str | int | Decimal) and not isinstance(p, bool) and p != "" for p in parts
    ):
        return None
    texts = [str(p) for p in parts]
    key = texts[0] if len(texts) == 1 else "|".join(t.replace("\\", "\\\\").replace("|", "\\|") for t in texts)
    return key if _storable(key) else None


def _storable(key: str) -> bool:
    """Whether a Postgres text and an index entry can hold it."""
    try:
        return "\0" not in key and len(key.encode()) <= LONGEST_KEY
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def fold(
    store_url: str, blocks: Iterable[StoredBlock], rules: StreamRules, set_aside: Collection[Place] = ()
) -> Folded:
    """Latest record of every key over `blocks` of one stream of one source.

    Records in `set_aside` (open, overtaken or given up, by place) do not become current, but they were seen. Where the
    vendor says nothing of deletions, a key last seen before a later, completely read window that covers it is gone;
    a window with a record that hides its key proves no absence.

    Raises:
        ReceiptError: when a block's bytes are not its manifest's.
    """
    current: dict[str, Seen] = {}
    last_seen: dict[str, datetime] = {}
    complete: list[StoredBlock] = []
    count = keyless = 0
    for block in blocks:
        hidden = False
        for ordinal, line in enumerate(lines(store_url, block)):
            count += 1
            place = Place(block.block_id, block.generation, ordinal)
            record = _readable(line)
            key = key_of(record, rules.natural_key)
            if key is None:
                hidden = True
                keyless += place not in set_aside
                continue
            last_seen[key] = max(last_seen.get(key, BEGINNING), block.observed_at)
            if place in set_aside:
                continue
            modified = (
                spelled(at_path(record, rules.modified_path), rules.modified_format)
                if rules.modified_path
                else BEGINNING
            )
            seen = Seen(modified, block.observed_at, place, record)
            if key not in current or seen.position > current[key].position:
                current[key] = seen
        if rules.tells_absence and block.window.get("complete") and not hidden:
            complete.append(block)
    gone = [
        key
        for key, seen in current.items()
        if any(w.observed_at > last_seen[key] and covers(w.window, seen.payload, rules) for w in complete)
    ]
    for key in gone:
        del current[key]
    return Folded(current, count, keyless)


def _readable(line: bytes) -> Any:
    """The record; None where the line is no JSON, which the hash or the quarantine explains."""
    try:
        return parse(line)
    except (ValueError, RecursionError):
        return None


def covers(window: Mapping[str, Any], record: Record, rules: StreamRules) -> bool:
    """Whether a record lies in a completely read window: [start, end) of instants, or whole days, the last included.

    A window without ends holds everything; one with ends nothing that has no readable time.
    """
    if window.get("start") is None or window.get("end") is None:
        return True
    try:
        at = spelled(at_path(record, rules.window_path or ""), rules.window_format)
    except (ValueError, TypeError, OverflowError):
        return False
    if at == BEGINNING:
        return False
    start, end = (spelled(window[side], rules.window_format) for side in ("start", "end"))
    return start <= at < (end + timedelta(days=1) if rules.window_format == "date" else end)
