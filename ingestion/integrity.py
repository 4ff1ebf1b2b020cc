"""Is the block store what its manifests and the index say? Damage is named: which file, and where in it.

A manifest holds a checksum of each MiB of its file. A checksum is linear: from the wrong and the right one follows, for
each place in the piece, which flip of one byte would explain the difference. The candidates (mostly one) are tried
against the hash of the whole file, so what is named is certain.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Literal
from uuid import UUID

from psycopg2.extensions import connection as Connection

from ingestion.blocks import BlockStore
from ingestion.errors import DataError
from ingestion.manifest import DATA_SUFFIX, MANIFEST_SUFFIX, PIECE_BYTES, Manifest

Problem = Literal[
    "file missing", "file damaged", "manifest missing", "manifest damaged", "manifest differs", "not in the index",
    "file without manifest", "copy missing", "copy damaged",
]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What is wrong with a block. `offset` is in bytes from the beginning of the file."""

    block_id: UUID | None
    path: str
    problem: Problem
    detail: str
    offset: int | None = None


@dataclass(frozen=True)
class _File:
    """A file as it was read: its hash, its size, and its pieces that have another checksum."""

    sha256: str
    size: int
    wrong: tuple[int, ...]


def check_block(store: BlockStore, manifest: Manifest) -> Fault | None:
    """Read a block's file whole; None if it is what the manifest says."""

    def damaged(detail: str, offset: int | None = None) -> Fault:
        return Fault(manifest.block_id, manifest.data_path, "file damaged", detail, offset)

    try:
        found = _read(store, manifest)
    except FileNotFoundError:
        return Fault(manifest.block_id, manifest.data_path, "file missing", "it has a manifest, but its file is gone")
    if found.sha256 != manifest.file_sha256:
        return _located(store, manifest, found, damaged)
    try:
        for _ in store.read(manifest):
            pass
    except DataError as error:
        return damaged(f"the file has its hash, but what it unpacks to has not: {error.cause}")
    return None


def check_index(conn: Connection, store: BlockStore) -> Iterator[Fault]:
    """Where index and store differ, without reading the blocks' files.

    Files of blocks that are being written now are left out.
    """
    with conn, conn.cursor() as cur:
        cur.execute("select data_path from control.block_intents")
        open_now = {row[0] for row in cur.fetchall()}
        cur.execute("select block_id, manifest from control.blocks")
        indexed = {row[0]: Manifest.model_validate(row[1]) for row in cur.fetchall()}
    names = set(store.files())
    for name in sorted(names):
        if name.endswith(MANIFEST_SUFFIX):
            yield from _check_manifest(store, name, indexed)
        elif name.endswith(DATA_SUFFIX) and name not in open_now and _manifest_of(name) not in names:
            yield Fault(_id_in(name), name, "file without manifest", "what was being written was never committed")
    for manifest in indexed.values():
        if manifest.path not in names:
            yield Fault(manifest.block_id, manifest.path, "manifest missing", "the index has the block")


def _check_manifest(store: BlockStore, name: str, indexed: dict[UUID, Manifest]) -> Iterator[Fault]:
    try:
        stored = store.read_manifest(name)
    except DataError as error:
        yield Fault(_id_in(name), name, "manifest damaged", error.cause)
        return
    if stored is None:
        return  # gone since the list was made
    known = indexed.get(stored.block_id)
    if known is None:
        yield Fault(stored.block_id, name, "not in the index", "larder blocks reindex takes it in")
    elif known != stored:
        fields = [field for field in Manifest.model_fields if getattr(known, field) != getattr(stored, field)]
        yield Fault(stored.block_id, name, "manifest differs", f"index and store say otherwise of {', '.join(fields)}")
    if stored is not None and stored.path != name:
        yield Fault(stored.block_id, name, "manifest damaged", f"it belongs at {stored.path}")


def _located(store: BlockStore, manifest: Manifest, found: _File, damaged: Callable[..., Fault]) -> Fault:
    if found.size != manifest.compressed_bytes:
        missing = manifest.compressed_bytes - found.size
        what = f"{missing} bytes are missing at its end" if missing > 0 else f"{-missing} bytes too many"
        return damaged(f"{found.size} bytes instead of {manifest.compressed_bytes}: {what}", found.size)
    if not manifest.file_crc32:
        return damaged("its bytes do not have the hash of its manifest, which is too old to tell where")
    if len(found.wrong) == 1:
        flip = _flipped_byte(store, manifest, found.wrong[0])
        if flip is not None:
            offset, is_now, should_be = flip
            return damaged(f"byte {offset} is 0x{is_now:02x} and was 0x{should_be:02x}", offset)
    if not found.wrong:
        return damaged("each piece of it has its checksum, the whole not its hash: the manifest is at fault")
    first, last = found.wrong[0] * PIECE_BYTES, min((found.wrong[-1] + 1) * PIECE_BYTES, found.size)
    return damaged(f"several bytes from {first} to {last} are not what was written", first)


def _read(store: BlockStore, manifest: Manifest) -> _File:
    digest, size, wrong = hashlib.sha256(), 0, []
    with store.fs.open(store.path(manifest.data_path), "rb") as source:
        number = 0
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
            if number < len(manifest.file_crc32) and zlib.crc32(piece) != manifest.file_crc32[number]:
                wrong.append(number)
            number += 1
    return _File(digest.hexdigest(), size, tuple(wrong))


def _flipped_byte(store: BlockStore, manifest: Manifest, piece: int) -> tuple[int, int, int] | None:
    """The one byte that was changed: its offset, what it is, and what it was. None if more than one was."""
    with store.fs.open(store.path(manifest.data_path), "rb") as source:
        source.seek(piece * PIECE_BYTES)
        content = bytearray(source.read(PIECE_BYTES))
        for place, flip in single_flips(zlib.crc32(content) ^ manifest.file_crc32[piece], len(content)):
            offset, is_now = piece * PIECE_BYTES + place, content[place]
            content[place] = is_now ^ flip
            if _sha256_with(source, piece, bytes(content)) == manifest.file_sha256:
                return offset, is_now, is_now ^ flip
            content[place] = is_now
    return None


def _sha256_with(source: IO[bytes], piece: int, content: bytes) -> str:
    digest, number = hashlib.sha256(), 0
    source.seek(0)
    while stored := source.read(PIECE_BYTES):
        digest.update(content if number == piece else stored)
        number += 1
    return digest.hexdigest()


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ 0xEDB88320 if byte & 1 else byte >> 1
        table.append(byte)
    return tuple(table)


def single_flips(difference: int, length: int) -> Iterator[tuple[int, int]]:
    """Each (place, flip) of one byte of a text of that length that changes its CRC-32 by `difference`.

    A byte's flip enters the register and is then moved on by the bytes behind it, which are zero in the difference of
    two texts. So the register is moved back byte by byte, and the flip was where less than a byte is left in it.
    """
    table = _crc_table()
    by_top = {entry >> 24: byte for byte, entry in enumerate(table)}
    register = difference
    for place in range(length - 1, -1, -1):
        byte = by_top[register >> 24]
        register = ((register ^ table[byte]) << 8 | byte) & 0xFFFFFFFF
        if 0 < register < 256:
            yield place, register


def _manifest_of(data_path: str) -> str:
    return data_path.removesuffix(DATA_SUFFIX) + MANIFEST_SUFFIX


def _id_in(name: str) -> UUID | None:
    try:
        return UUID(name.rpartition("/")[2].split(".")[0])
    except ValueError:
        return None
