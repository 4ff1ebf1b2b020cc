"""Backups of shards and of the control database: made, listed, thinned out.

A backup is a dump, a hash of each of its files, and a manifest that is written last and says what was in the database:
versions, rows of each table, the newest block that was loaded, how far the models had come. The blocks themselves are
not copied: they are in the block store, which has copies of its own (`LARDER_BLOCK_REMOTE`).

    <backups>/<shard, or `control`>/<moment>/{manifest.json, tested.json, dump/…}
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingestion import index
from ingestion.blocks import BlockStore
from ingestion.work_folder import work_folder
from sharding.backup.dump import Content, Part, at_one_moment, content, dump
from sharding.backup.keep import Policy, kept
from sharding.backup.shards import known_of, part_of, shares
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.postgres import binaries
from sharding.settings import Settings
from sharding.up import control_dsn

CONTROL = "control"
MANIFEST, TESTED = "manifest.json", "tested.json"
FORMAT = "larder backup 1"
_STAMP = "%Y%m%dT%H%M%S%fZ"
_CHUNK = 1 << 20
_LOCK = "larder backup "

Say = Callable[[str], None]


@dataclass(frozen=True)
class File:
    """A file of a dump."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Tested:
    """What a restore test of a backup came to. `caught_up`: blocks that were loaded since, and loaded again."""

    at: datetime
    good: bool
    seconds: float
    rows: int
    caught_up: int
    reconciled: int
    said: str


@dataclass(frozen=True)
class Backup:
    """A backup as its manifest tells. `of`: a shard's name, or `control`."""

    of: str
    at: datetime
    seconds: float
    database: str
    namespace: str
    instance: str
    store: tuple[str, str]
    content: Content
    part: Part
    files: tuple[File, ...]
    tested: Tested | None = None

    @property
    def name(self) -> str:
        """`shard_1/20261121T153000000000Z`, as commands take it."""
        return f"{self.of}/{self.at:{_STAMP}}"

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files)

    @property
    def rows(self) -> int:
        """Of all its tables."""
        return sum(self.content.tables.values())


def back_up(settings: Settings, catalogue: Catalogue, of: str, say: Say = lambda text: None) -> Backup:
    """Back up a shard by name, or the control database.

    Raises:
        LarderError: turn `you`: a backup of it is being made; `us`: it could not be made. Nothing is left then.
    """
    began, vault = time.monotonic(), vault_of(settings)
    shard = None if of == CONTROL else catalogue.shard(of)
    part = Part() if shard is None else part_of(shard, shares(shard, catalogue.shards()))
    dsn = control_dsn(settings) if shard is None else shard.dsn
    programs = binaries(settings)
    with closing(index.connect(catalogue.dsn)) as guard, guard.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (_LOCK + of,))
        if cursor.fetchone() != (True,):
            raise LarderError(f"a backup of {of} is being made", "you", "larder backup list")
        guard.commit()
        _sweep(vault, of)
        with work_folder("larder-backup-", settings.home / "work") as folder:
            with at_one_moment(dsn) as (conn, snapshot):
                at = datetime.now(UTC)
                dump(dsn, folder / "dump", programs, snapshot, part, settings.backup_jobs)
                known = _known_of_control(conn) if shard is None else known_of(conn, shard)
                held = content(conn, CONTROL if shard is None else shard.schema("keys"), part, known)
            place = f"{of}/{at:{_STAMP}}"
            files = tuple(_keep(vault, folder / "dump", f"{place}/dump"))
        made = Backup(
            of, at, round(time.monotonic() - began, 3), shard.database if shard else "",
            shard.namespace if shard else "", shard.instance if shard else "",
            (settings.block_store, settings.block_remote), held, part, files,
        )  # fmt: skip
        vault.write_bytes(f"{place}/{MANIFEST}", _as_json(made))
    say(f"{made.name}: {made.rows:,} rows, {made.bytes:,} bytes in {made.seconds:.1f} s")
    return made


def vault_of(settings: Settings) -> BlockStore:
    """Where backups are."""
    return BlockStore(settings.backups)


def backups(vault: BlockStore, of: str | None = None) -> list[Backup]:
    """All backups, or those of one shard, newest first. One without a manifest is none.

    Raises:
        LarderError: turn `data`: a manifest cannot be read.
    """
    found = []
    for name in vault.files(of or ""):
        if name.endswith(f"/{MANIFEST}"):
            found.append(_read(vault, name.removesuffix(f"/{MANIFEST}")))
    return sorted(found, key=lambda backup: backup.at, reverse=True)


def backup_of(vault: BlockStore, name: str) -> Backup:
    """One backup by its name, or the newest of a shard.

    Raises:
        LarderError: turn `you`: there is none.
    """
    of, _, at = name.partition("/")
    found = [one for one in backups(vault, of) if not at or one.name == name]
    if not found:
        raise LarderError(f"there is no backup {name!r}", "you", "larder backup list")
    return found[0]


def note_test(vault: BlockStore, backup: Backup, tested: Tested) -> Backup:
    """Keep beside a backup what its restore test came to."""
    vault.write_bytes(f"{backup.name}/{TESTED}", json.dumps(asdict(tested), default=str, indent=1).encode() + b"\n")
    return replace(backup, tested=tested)


def thin_out(vault: BlockStore, of: str, policy: Policy, *, dry_run: bool = False) -> list[Backup]:
    """Delete the backups of a shard that the policy does not keep; returns them. The newest whose restore test was good
    stays in any case."""
    found = backups(vault, of)
    stay = kept([one.at for one in found], policy)
    stay |= {one.at for one in [one for one in found if one.tested and one.tested.good][:1]}
    gone = [one for one in found if one.at not in stay]
    for one in [] if dry_run else gone:
        remove(vault, one.name)
    return gone


def remove(vault: BlockStore, name: str) -> None:
    """Delete a backup, its manifest first: what a kill leaves is no backup."""
    vault.delete(f"{name}/{MANIFEST}")
    vault.fs.rm(vault.path(name), recursive=True)


def policy_of(settings: Settings) -> Policy:
    """Which backups this installation keeps."""
    return Policy(settings.backup_days, settings.backup_weeks, settings.backup_months)


def fetch(vault: BlockStore, backup: Backup, folder: Path) -> Path:
    """Bring a backup's dump into a folder; returns where it is.

    Raises:
        LarderError: turn `data`: a file is missing or not what was written.
    """
    for file in backup.files:
        target, digest = folder / file.file, hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with vault.fs.open(vault.path(f"{backup.name}/{file.file}"), "rb") as source, target.open("wb") as sink:
                while piece := source.read(_CHUNK):
                    digest.update(piece)
                    sink.write(piece)
        except FileNotFoundError as error:
            raise LarderError(f"backup {backup.name} lacks {file.file}", "data", "larder backup list") from error
        if digest.hexdigest() != file.sha256:
            raise LarderError(f"{file.file} of backup {backup.name} is damaged", "data", "larder backup list")
    return folder / "dump"


def _keep(vault: BlockStore, dumped: Path, place: str) -> Iterator[File]:
    """Bring a dump into the vault, file by file, each given up here as soon as it is there."""
    for path in sorted(dumped.iterdir()):
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as source, vault.open_write(f"{place}/{path.name}") as sink:
            while piece := source.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
                sink.write(piece)
        path.unlink()
        yield File(f"dump/{path.name}", size, digest.hexdigest())


def _sweep(vault: BlockStore, of: str) -> None:
    """What a killed backup left: folders without a manifest. The caller keeps others from making one meanwhile."""
    names = list(vault.files(of))
    whole = {name.rpartition("/")[0] for name in names if name.endswith(f"/{MANIFEST}")}
    for place in sorted({"/".join(name.split("/")[:2]) for name in names} - whole):
        vault.fs.rm(vault.path(place), recursive=True)


def _known_of_control(conn: Any) -> dict[str, Any]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select (select count(*) from control.blocks), (select max(block_id::text) from control.blocks),"
            " (select count(*) from control.businesses), (select count(*) from control.shards)"
        )
        [(blocks, newest, businesses, shards)] = cursor.fetchall()
    return {"index": {"blocks": blocks, "newest": newest}, "businesses": businesses, "shards": shards}


def _as_json(backup: Backup) -> bytes:
    told = {"format": FORMAT, **asdict(backup)}
    del told["tested"]
    return json.dumps(told, default=str, indent=1, ensure_ascii=False).encode() + b"\n"


def _read(vault: BlockStore, place: str) -> Backup:
    try:
        told = json.loads(vault.fs.cat_file(vault.path(f"{place}/{MANIFEST}")))
        if told.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        held = told.pop("content")
        backup = Backup(
            **told
            | {
                "at": datetime.fromisoformat(told["at"]),
                "store": tuple(told["store"]),
                "content": Content(
                    **held | {"roles": tuple(held["roles"]), "owners": tuple(map(tuple, held.get("owners", ())))}
                ),
                "part": Part(**{name: tuple(patterns) for name, patterns in told["part"].items()}),
                "files": tuple(File(**file) for file in told["files"]),
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LarderError(
            f"the manifest of backup {place} is damaged: {error}", "data", f"larder backup drop {place}"
        ) from error
    if not vault.fs.exists(vault.path(f"{place}/{TESTED}")):
        return backup
    tested = json.loads(vault.fs.cat_file(vault.path(f"{place}/{TESTED}")))
    return replace(backup, tested=Tested(**tested | {"at": datetime.fromisoformat(tested["at"])}))


def latest(vault: BlockStore) -> dict[str, tuple[Backup, Tested | None]]:
    """Shard → its newest backup, and its newest restore test; found by one listing, read by two files a shard."""
    places: dict[str, list[str]] = {}
    tested: dict[str, list[str]] = {}
    for name in vault.files():
        place, _, file = name.rpartition("/")
        if file in (MANIFEST, TESTED):
            (places if file == MANIFEST else tested).setdefault(place.split("/")[0], []).append(place)
    found = {}
    for of, of_shard in places.items():
        last = [_read(vault, place).tested for place in sorted(set(tested.get(of, [])) & set(of_shard))[-1:]]
        found[of] = _read(vault, max(of_shard)), next(iter(last), None)
    return found
