"""Copies of blocks in an object store: made beside the way of the data, tracked, tried again, and read back.

A block is loadable once it is on the local disk (or a shared drive). Its copy is made by a process of its own, one an
installation: a slow or absent object store delays no extract and no load. A copy counts once the bytes read back from
the object store have the hash of the manifest; until then `release` does not give up the local file.

`python -m ingestion.uploads` reads {"dsn", "store", "remote"} from standard input: no password in a list of processes.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection

from ingestion import index
from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import ConfigError, LarderError

_LOCK = "larder upload"
_CHUNK = 1 << 20
_SMALL = 8 << 20  # bytes of a block that is copied in one piece
_AT_ONCE = 8  # blocks: the way to an object store and back is long, and most are small
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_AWAY_AFTER = 3  # failures one after the other: the store is away, and the rest waits for the next round

Progress = Callable[[Manifest], None]


@dataclass
class Round:
    """What one round of uploads did. `busy`: another process is at it."""

    uploaded: int = 0
    bytes: int = 0
    failed: int = 0
    left: int = 0
    busy: bool = False
    error: str | None = None  # of the last failure


@dataclass(frozen=True)
class Backlog:
    """How far the copies are behind."""

    waiting: int
    bytes: int
    oldest: datetime | None  # when the oldest block that has no verified copy was made
    failing: int
    error: str | None


def upload(control_dsn: str, store: BlockStore, *, progress: Progress | None = None, again: bool = False) -> Round:
    """Copy what has no verified copy yet, oldest first, until nothing is left or the object store is away.

    `again`: also what failed a moment ago. Raises ConfigError where the store has no remote.
    """
    remote = _remote(store)
    done = Round()
    with closing(index.connect(control_dsn)) as conn:
        if not _take(conn):
            return Round(left=backlog(conn).waiting, busy=True)
        in_a_row = 0
        tried: set[UUID] = set()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while in_a_row < _AWAY_AFTER and (some := _next(conn, tried, again)):
                tried.update(manifest.block_id for manifest in some)
                for manifest, error in zip(some, pool.map(partial(_copied, store, remote), some), strict=True):
                    if error is not None:
                        in_a_row += 1
                        done.failed += 1
                        done.error = error
                        _note_failure(conn, manifest.block_id, error)
                        continue
                    in_a_row = 0
                    done.uploaded += 1
                    done.bytes += manifest.compressed_bytes
                    _note_verified(conn, manifest.block_id)
                    if progress:
                        progress(manifest)
        done.left = backlog(conn).waiting
    return done


def backlog(conn: Connection) -> Backlog:
    """How far the copies are behind."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select count(*), coalesce(sum((b.manifest ->> 'compressed_bytes')::bigint), 0)::bigint, min(b.indexed_at),"
            " count(*) filter (where u.error is not null), (array_agg(u.error order by u.tried_at desc nulls last))[1]"
            " from control.blocks as b left join control.block_uploads as u using (block_id)"
            " where u.verified_at is null"
        )
        ((waiting, size, oldest, failing, error),) = cur.fetchall()
        return Backlog(waiting, size, oldest, failing, error)


def start_beside(control_dsn: str, store: BlockStore, log: Path) -> bool:
    """Start a process that uploads what waits and outlives this one; False where nothing waits or one is at it."""
    if store.remote is None:
        return False
    with closing(index.connect(control_dsn)) as conn:
        if not _next(conn, set(), again=False) or not _take(conn):
            return False  # the lock goes with this connection; of two that start now, one finds it taken
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "ingestion.uploads"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            cwd=Path(__file__).resolve().parents[1],
            start_new_session=True,
        )
        assert child.stdin is not None
        with child.stdin as said:
            said.write(json.dumps({"dsn": control_dsn, "store": store.url, "remote": store.remote.url}).encode())
    return True


def release(control_dsn: str, store: BlockStore, before: datetime) -> tuple[int, int]:
    """Give up local data files of loaded blocks made before a time, whose copies are verified once more.

    Manifests stay here. Returns how many files and bytes. A copy that is gone or damaged is noted and made again by the
    next round; its local file stays.
    """
    remote = _remote(store)
    files = size = 0
    with closing(index.connect(control_dsn)) as conn:
        with conn, conn.cursor() as cur:
            cur.execute(
                "select b.manifest from control.blocks as b inner join control.block_uploads as u using (block_id)"
                " where u.verified_at is not null and b.loaded_at is not null and b.indexed_at < %s"
                " order by b.block_id",
                (before,),
            )
            manifests = [Manifest.model_validate(row[0]) for row in cur.fetchall()]
        for manifest in manifests:
            if not store.fs.exists(store.path(manifest.data_path)):
                continue
            try:
                _check(remote, manifest)
            except (LarderError, OSError) as error:
                _note_failure(conn, manifest.block_id, _one_line(error))
                continue
            store.delete(manifest.data_path)
            files += 1
            size += manifest.compressed_bytes
    return files, size


def _remote(store: BlockStore) -> BlockStore:
    if store.remote is None:
        raise ConfigError(
            "no object store is set to copy blocks to", next_command="LARDER_BLOCK_REMOTE=s3://… larder …"
        )
    return store.remote


def _copied(store: BlockStore, remote: BlockStore, manifest: Manifest) -> str | None:
    """Copy a block; why that failed, or None."""
    try:
        _copy(store, remote, manifest)
    except Exception as error:  # noqa: BLE001 - fsspec's stores raise what their clients raise
        return _one_line(error)
    return None


def _copy(store: BlockStore, remote: BlockStore, manifest: Manifest) -> None:
    """Data first, manifest last, then both read back. A small file goes in one request, a big one in parts."""
    if manifest.compressed_bytes <= _SMALL:
        remote.write_bytes(manifest.data_path, store.fs.cat_file(store.path(manifest.data_path)))
    else:
        source = store.fs.open(store.path(manifest.data_path), "rb")
        with source, remote.open_write(manifest.data_path) as sink:
            shutil.copyfileobj(source, sink, _CHUNK)
    remote.write_bytes(manifest.path, store.fs.cat_file(store.path(manifest.path)))
    _check(remote, manifest)


def _check(remote: BlockStore, manifest: Manifest) -> None:
    """Read the copy back; LarderError unless it is the block."""
    again = f"larder blocks verify {manifest.block_id} --remote"
    path = remote.path(manifest.data_path)
    if manifest.compressed_bytes <= _SMALL:
        digest = hashlib.sha256(remote.fs.cat_file(path))
    else:
        with remote.fs.open(path, "rb") as copy:
            digest = hashlib.file_digest(copy, "sha256")
    if digest.hexdigest() != manifest.file_sha256:
        raise LarderError(f"the copy of block {manifest.block_id} has other bytes", turn="us", next_command=again)
    if remote.read_manifest(manifest.path) != manifest:
        raise LarderError(f"the copy of block {manifest.block_id} has another manifest", turn="us", next_command=again)


def _take(conn: Connection) -> bool:
    with conn, conn.cursor() as cur:
        cur.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (_LOCK,))
        ((taken,),) = cur.fetchall()
        return bool(taken)


def _next(conn: Connection, tried: set[UUID], again: bool) -> list[Manifest]:
    with conn, conn.cursor() as cur:
        cur.execute(
            "select b.manifest from control.blocks as b left join control.block_uploads as u using (block_id)"
            " where u.verified_at is null and (%s or u.next_try_at is null or u.next_try_at <= clock_timestamp())"
            " and b.block_id <> all(%s) order by b.block_id limit %s",
            (again, list(tried), _AT_ONCE),
        )
        return [Manifest.model_validate(row[0]) for row in cur.fetchall()]


def _note_verified(conn: Connection, block_id: UUID) -> None:
    with conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.block_uploads as u (block_id, attempts, tried_at, verified_at)"
            " values (%s, 1, clock_timestamp(), clock_timestamp()) on conflict (block_id) do update set"
            " attempts = u.attempts + 1, tried_at = excluded.tried_at, verified_at = excluded.verified_at,"
            " error = null, next_try_at = null",
            (block_id,),
        )


def _note_failure(conn: Connection, block_id: UUID, error: str) -> None:
    with conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.block_uploads as u (block_id, attempts, tried_at, next_try_at, error)"
            " values (%(block)s, 1, clock_timestamp(), clock_timestamp() + %(first)s, %(error)s)"
            " on conflict (block_id) do update set attempts = u.attempts + 1, tried_at = excluded.tried_at,"
            " verified_at = null, error = excluded.error,"
            " next_try_at = clock_timestamp() + least(%(first)s * 2 ^ least(u.attempts, 20), %(longest)s)",
            {"block": block_id, "error": error, "first": _FIRST_PAUSE, "longest": _LONGEST_PAUSE},
        )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def main() -> None:
    """One round, as the process that `start_beside` starts."""
    job: dict[str, Any] = json.load(sys.stdin)
    done = upload(job["dsn"], BlockStore(job["store"], job["remote"]))
    if done.uploaded or done.failed:
        print(f"{done.uploaded} blocks uploaded, {done.failed} failed, {done.left} left; {done.error or ''}")


if __name__ == "__main__":
    main()
