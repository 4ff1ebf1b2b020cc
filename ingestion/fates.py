"""What became of each record of a block: a version of its key, nothing new, too old, or set aside."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg2.extensions import connection as Connection
from psycopg2.extras import RealDictCursor

from ingestion.blocks import Manifest
from ingestion.checks import Accepted, checker
from ingestion.spec import Stream

Outcome = Literal["version", "unchanged", "superseded", "quarantined", "not loaded"]
_DECIDED = {"discarded": "; given up: {}", "overtaken": "; {}"}
_BEGINNING = datetime.min.replace(tzinfo=UTC)  # where the vendor gives no time


@dataclass(frozen=True)
class Loaded:
    """One load of a block: its row in the shard's ledger."""

    generation: int
    loaded_at: datetime
    records: int
    versions: int
    unchanged: int
    superseded: int
    quarantined: int
    discarded: int
    tombstones: int


@dataclass(frozen=True)
class Fate:
    """What became of one record. `version_id`: the version that it made or is equal to, or that is newer than it;
    `is_current`: whether that is the key's version in force now."""

    ordinal: int
    natural_key: str | None
    outcome: Outcome
    detail: str
    version_id: int | None = None
    is_current: bool = False


@dataclass(frozen=True)
class Version:
    """A version of a key, with its place in the stream's order."""

    version_id: int
    position: tuple[datetime, datetime, UUID, int, int]
    hash: UUID
    is_current: bool


def ledger(conn: Connection, schemas: Mapping[str, str], block_id: UUID) -> list[Loaded]:
    """The loads of a block on this shard, the newest first; none if it is not loaded."""
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute(
            "select generation, loaded_at, records, versions, unchanged, superseded, quarantined, discarded, tombstones"
            f' from "{schemas["raw"]}".loaded_blocks where block_id = %s order by generation desc',
            (block_id,),
        )
        return [Loaded(**row) for row in cur.fetchall()]


def gone(conn: Connection, schemas: Mapping[str, str], manifest: Manifest, limit: int) -> list[str]:
    """Keys that were deleted because this block, a window that was read to its end, does not have them."""
    table = f'"{schemas["raw"]}_{manifest.integration}"."{manifest.stream}"'
    with conn, conn.cursor() as cur:
        cur.execute("select to_regclass(%s)", (table,))
        if cur.fetchall() == [(None,)]:
            return []
        cur.execute(
            f"select natural_key from {table} where block_id = %s and source_id = %s and operation = 'D'"
            " order by natural_key limit %s",
            (manifest.block_id, int(manifest.source_id), limit),
        )
        return [row[0] for row in cur.fetchall()]


def fates(
    conn: Connection,
    schemas: Mapping[str, str],
    manifest: Manifest,
    stream: Stream,
    records: Iterable[tuple[int, bytes]],
) -> list[Fate]:
    """The fate of some of a block's records, given as (ordinal, record)."""
    check = checker(stream)
    checked = [(ordinal, check(raw, manifest.observed_at)) for ordinal, raw in records]
    aside = _set_aside(conn, schemas, manifest, [ordinal for ordinal, _ in checked])
    keys = sorted({found.natural_key for _, found in checked if found.natural_key is not None})
    versions = _versions(conn, schemas, manifest, keys)
    is_loaded = bool(ledger(conn, schemas, manifest.block_id))
    result = []
    for ordinal, found in checked:
        if ordinal in aside:
            result.append(Fate(ordinal, found.natural_key, *aside[ordinal]))
        elif not is_loaded:
            result.append(Fate(ordinal, found.natural_key, "not loaded", "the block is pending"))
        elif not isinstance(found, Accepted):
            detail = f"accepted when it was loaded; today's checks say: {found.detail}"
            result.append(Fate(ordinal, found.natural_key, "not loaded", detail))
        else:
            result.append(_fate(manifest, ordinal, found, versions.get(found.natural_key, [])))
    return result


def _fate(manifest: Manifest, ordinal: int, found: Accepted, versions: Sequence[Version]) -> Fate:
    """`versions` are those of the key, oldest first."""

    def told(outcome: Outcome, version: Version, detail: str) -> Fate:
        return Fate(ordinal, found.natural_key, outcome, detail, version.version_id, version.is_current)

    position = (found.modified_at or _BEGINNING, manifest.observed_at, manifest.block_id, ordinal)
    for version in versions:
        if version.position[2:4] == position[2:4]:
            return told("version", version, "in force" if version.is_current else "in force until a newer one came")
    before = [version for version in versions if version.position[:4] < position]
    if before and before[-1].hash == UUID(found.hash):
        return told(
            "unchanged", before[-1], f"the same as line {before[-1].position[3]} of {_block(manifest, before[-1])}"
        )
    after = [version for version in versions if version.position[:4] > position]
    if after:
        return told("superseded", after[0], f"older than line {after[0].position[3]} of {_block(manifest, after[0])}")
    if versions:
        return told("superseded", versions[-1], "a later record of the key came with the same load")
    return Fate(ordinal, found.natural_key, "not loaded", "raw has no version of its key any more")


def _block(manifest: Manifest, version: Version) -> str:
    return "this block" if version.position[2] == manifest.block_id else f"block {version.position[2]}"


def _set_aside(
    conn: Connection, schemas: Mapping[str, str], manifest: Manifest, ordinals: Sequence[int]
) -> dict[int, tuple[Outcome, str]]:
    """What became of records that the newest load set aside, and why it did; not of those that are loaded by now."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select distinct on (ordinal) ordinal, reason, detail, state, decided_reason"
            f' from "{schemas["raw"]}".quarantine where block_id = %s and ordinal = any(%s)'
            " order by ordinal, generation desc",
            (manifest.block_id, list(ordinals)),
        )
        return {
            ordinal: (
                "superseded" if state == "overtaken" else "quarantined",
                f"{reason}: {detail}" + _DECIDED.get(state, "").format(decided),
            )
            for ordinal, reason, detail, state, decided in cur.fetchall()
            if state != "resolved"
        }


def _versions(
    conn: Connection, schemas: Mapping[str, str], manifest: Manifest, keys: Sequence[str]
) -> dict[str, list[Version]]:
    """The versions of each key, oldest first."""
    raw = schemas["raw"]
    table = f'"{raw}_{manifest.integration}"."{manifest.stream}"'
    found: dict[str, list[Version]] = {}
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute("select to_regclass(%s) as there", (table,))
        if cur.fetchall()[0]["there"] is None:
            return {}
        cur.execute(
            "select v.natural_key, v.version_id, nullif(v.modified_at, '-infinity') as modified_at, v.observed_at,"
            " v.block_id, v.ordinal, v.generation, v.hash,"
            f" coalesce(h.version_id = v.version_id and not h.is_deleted, false) as is_current from {table} as v"
            f' left join "{raw}".head as h on h.source_id = v.source_id and h.stream = %s'
            " and h.natural_key = v.natural_key"
            " where v.source_id = %s and v.natural_key = any(%s) and v.operation = 'U'"
            " order by v.modified_at, v.observed_at, v.block_id, v.ordinal, v.generation",
            (manifest.stream, int(manifest.source_id), list(keys)),
        )
        for row in cur.fetchall():
            found.setdefault(row["natural_key"], []).append(_version(row))
    return found


def _version(row: Mapping[str, Any]) -> Version:
    modified = row["modified_at"] or _BEGINNING
    position = (modified, row["observed_at"], row["block_id"], row["ordinal"], row["generation"])
    return Version(row["version_id"], position, row["hash"], row["is_current"])
