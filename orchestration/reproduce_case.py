"""A case: a block with everything that what happens to it depends on, in a folder that any machine can open.

The block is there byte for byte. Beside it are earlier versions of its records, the records that belong together with
them and what they name (sites, people, articles), all as they were when the block was read, as blocks that were cut
down to these records; and `case.json`: the business, its source, ids, maps, settings and clock. No credential.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import zstandard

from ingestion import archive, index
from ingestion.blocks import BlockStore, HttpEvidence, Manifest, Window
from ingestion.canonical import decode, scalar_text
from ingestion.checks import Accepted, checker
from ingestion.errors import LarderError as IngestionError
from ingestion.registry import spec_of
from ingestion.spec import THINGS, IntegrationSpec, Stream
from orchestration.reproduce_keys import Related, read_keys, read_related
from sharding.catalogue import Catalogue
from sharding.errors import LarderError

CASE = "case.json"
BLOCKS = "blocks"
_LONGEST_KEY = 300
_SCANNED_BYTES = 256 << 20  # of a store without a shard behind it: what is looked through for related records


@dataclass(frozen=True)
class Case:
    """What `case.json` holds. `there`: what became of the block where it comes from, as (step, what, message)."""

    block_id: str
    business: dict[str, Any]
    source: dict[str, Any]
    keys: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    clock: str | None = None
    there: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Case:
        """The case of a folder; LarderError if it has none."""
        try:
            found = json.loads((folder / CASE).read_text())
        except FileNotFoundError as error:
            raise LarderError(f"{folder} holds no {CASE}", "you", "larder reproduce --help") from error
        return cls(**{**found, "there": tuple(tuple(one) for one in found["there"])})

    def write(self, folder: Path) -> None:
        """Write `case.json`."""
        (folder / CASE).write_text(json.dumps(asdict(self), indent=1, default=str, ensure_ascii=False) + "\n")


def store_of(folder: Path) -> BlockStore:
    """The blocks of a case."""
    return BlockStore(f"file://{folder / BLOCKS}")


def gather(catalogue: Catalogue, store: BlockStore, block_id: UUID, folder: Path) -> Case:
    """Put a block of an installation and what it depends on into `folder`, by reading its shard.

    Raises:
        LarderError: there is no such block, it is damaged, or its shard does not answer.
    """
    with closing(index.connect(catalogue.dsn)) as control:
        manifest = index.find_block(control, block_id)
        if manifest is None:
            raise LarderError(f"there is no block {block_id} in the index", "you", "larder blocks list")
        source, business = catalogue.source(manifest.source_id), catalogue.business(manifest.business)
        spec = spec_of(manifest.integration, source.config, "larder integration list")
        keys, values = keys_and_values(store, manifest, _stream(spec, manifest.stream))
        out = store_of(folder)
        _copy(store, manifest, out)
        shard = catalogue.shard(business.shard)
        things = [stream.name for stream in spec.streams if is_thing(stream)]
        found = read_related(shard, manifest, keys, values, things)
        for (related_id, stream), rows in found.records.items():
            known = index.find_block(control, related_id)
            write_cut(out, _related(known, manifest, related_id, stream, rows), [row.payload for row in rows])
        failure = index_failure(control, block_id)
    place = {"business": business.id, "name": business.name, "display_name": business.display_name,
             "first_weekday": business.first_weekday, "reporting_currency": business.reporting_currency}  # fmt: skip
    connection = {"id": source.id, "integration": source.integration, "name": source.name, "config": source.config}
    there = (*failure, *(("quarantine", str(o), f"{reason}: {detail}") for o, reason, detail in found.quarantined))
    case = Case(str(block_id), place, dict(connection), read_keys(shard, source.id, found), found.clock, there)
    case.write(folder)
    return case


def gather_from_store(store: BlockStore, block_id: UUID, folder: Path) -> Case:
    """The same from the block store alone: related records are looked for in the source's other blocks, and ids, maps
    and settings are made as for a new business.

    Raises:
        LarderError: there is no such block.
    """
    manifest = store.find(block_id)
    if manifest is None:
        raise LarderError(f"{store.url} has no block {block_id}", "you", "larder reproduce BLOCK --store URL")
    spec = spec_of(manifest.integration, {}, "larder integration list")
    keys, values = keys_and_values(store, manifest, _stream(spec, manifest.stream))
    out = store_of(folder)
    _copy(store, manifest, out)
    others = [
        m
        for m in store.manifests(f"{manifest.business}/{manifest.source_id}/")
        if m.block_id != block_id and m.observed_at <= manifest.observed_at
    ]
    left = _SCANNED_BYTES
    for other in sorted(others, key=lambda m: m.block_id, reverse=True):
        stream = next((stream for stream in spec.streams if stream.name == other.stream), None)
        left -= other.bytes
        if stream is None or left < 0:
            continue
        wanted = [raw for raw in store.read(other) if is_thing(stream) or _belongs(raw, other, stream, keys, values)]
        if wanted:
            write_cut(out, other, [raw.decode("utf-8", "surrogateescape") for raw in wanted])
    place = {"business": manifest.business, "name": f"business_{manifest.business}", "display_name": "",
             "first_weekday": 1, "reporting_currency": "USD"}  # fmt: skip
    source = {"id": int(manifest.source_id), "integration": manifest.integration, "name": "source", "config": {}}
    case = Case(str(block_id), place, source)
    case.write(folder)
    return case


def pack(folder: Path, path: Path) -> str:
    """The case as one file, an archive of blocks with `case.json` beside them; returns its seal."""
    store = store_of(folder)
    manifests = sorted(store.manifests(), key=lambda manifest: manifest.block_id)
    return archive.write(path, store, manifests, {CASE: (folder / CASE).read_bytes()})


def unpack(path: Path, folder: Path) -> UUID:
    """Put the case of an archive into `folder`; of one without a case, the newest block with what it depends on among
    the others. Returns the block.

    Raises:
        DataError: it is no archive of blocks, or was changed.
    """
    contents = archive.read(path)
    if CASE in contents.documents:
        archive.unpack(path, store_of(folder))
        (folder / CASE).write_bytes(contents.documents[CASE])
        return UUID(Case.read(folder).block_id)
    store = BlockStore(f"file://{folder / 'archive'}")
    archive.unpack(path, store)
    newest = max(manifest.block_id for manifest in contents.manifests)
    gather_from_store(store, newest, folder)
    return newest


def is_thing(stream: Stream) -> bool:
    """Whether records of a stream are what others name (sites, people, articles), so that all of them are wanted."""
    return set(stream.feeds) <= THINGS and (bool(stream.feeds) or stream.cursor is None)


def keys_and_values(store: BlockStore, manifest: Manifest, stream: Stream) -> tuple[set[str], set[str]]:
    """Natural keys of a block's records, and every scalar in them that may name another record."""
    check, keys, values = checker(stream), set[str](), set[str]()
    for raw in store.read(manifest):
        verdict = check(raw, manifest.observed_at)
        if verdict.natural_key is not None:
            keys.add(verdict.natural_key)
        if isinstance(verdict, Accepted):
            values.update(_scalars(decode(raw)))
    return keys, values


def write_cut(out: BlockStore, manifest: Manifest, records: Sequence[str]) -> Manifest:
    """A block cut down to some records: it proves no absence any more. Returns its new manifest."""
    lines = b"".join(record.encode("utf-8", "surrogateescape") + b"\n" for record in records)
    packed = zstandard.ZstdCompressor(level=3).compress(lines)
    cut = manifest.model_copy(
        update={
            "records": len(records), "bytes": len(lines), "compressed_bytes": len(packed), "file_crc32": (),
            "sha256": hashlib.sha256(lines).hexdigest(), "file_sha256": hashlib.sha256(packed).hexdigest(),
            "window": manifest.window.model_copy(update={"complete": False}),
        }
    )  # fmt: skip
    out.write_bytes(cut.data_path, packed)
    out.write_bytes(cut.path, cut.model_dump_json(indent=1).encode() + b"\n")
    return cut


def index_failure(control: Any, block_id: UUID) -> Iterator[tuple[str, str, str]]:
    """Why the last load of a block failed, as `Case.there`."""
    with control, control.cursor() as cursor:
        cursor.execute("select turn, cause from control.block_failures where block_id = %s", (block_id,))
        rows = cursor.fetchall()
    return (("load", turn, cause) for turn, cause in rows)


def _stream(spec: IntegrationSpec, name: str) -> Stream:
    try:
        return spec.stream(name)
    except (KeyError, IngestionError) as error:
        raise LarderError(
            f"{spec.name} has no stream {name!r} any more", "config", "larder integration list"
        ) from error


def _related(known: Manifest | None, of: Manifest, block_id: UUID, stream: str, rows: Sequence[Related]) -> Manifest:
    """The manifest of a related block; of one that the index no longer has, what its records tell."""
    if known is not None:
        return known
    return of.model_copy(
        update={
            "block_id": block_id, "stream": stream, "generation": rows[0].generation, "window": Window(),
            "observed_at": rows[0].observed_at, "http": HttpEvidence(), "cursor_before": None, "cursor_after": {},
        }
    )  # fmt: skip


def _copy(store: BlockStore, manifest: Manifest, out: BlockStore) -> None:
    with store.open_data(manifest) as source:
        out.write_bytes(manifest.data_path, source.read())
    out.write_bytes(manifest.path, manifest.model_dump_json(indent=1).encode() + b"\n")


def _belongs(raw: bytes, manifest: Manifest, stream: Stream, keys: set[str], values: set[str]) -> bool:
    verdict = checker(stream)(raw, manifest.observed_at)
    if not isinstance(verdict, Accepted):
        return False
    return verdict.natural_key in keys or verdict.natural_key in values or not keys.isdisjoint(_scalars(decode(raw)))


def _scalars(record: Any) -> Iterator[str]:
    pending: list[Any] = [record]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif (text := scalar_text(value)) is not None and len(text) <= _LONGEST_KEY and "\0" not in text:
            yield text
