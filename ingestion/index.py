"""The control database's side of extraction: block index, cursors, extraction log.

A block's index row, its cursor, its log row and what metrics count of it are written in one transaction; the blocks'
manifests stay the truth and the index can be rebuilt from them (ingestion/reindex.py).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.errors
import psycopg2.extras
from psycopg2.extensions import connection as Connection

from ingestion import counters
from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import LarderError
from ingestion.manifest import REIMPORT
from ingestion.spec import IntegrationSpec, Stream

Cursor = dict[str, Any]


@dataclass(frozen=True)
class LogEntry:
    """One row of the extraction log."""

    source_id: int
    stream: str
    started_at: datetime
    window_from: str | None = None
    window_to: str | None = None
    requests: int = 0
    retries: int = 0
    error: LarderError | None = None
    message: str | None = None


def connect(dsn: str) -> Connection:
    """A connection to the control database; LarderError when it cannot be had."""
    try:
        conn = psycopg2.connect(dsn, application_name="larder extract")
    except psycopg2.OperationalError as error:
        raise LarderError(
            f"the control database cannot be reached: {' '.join(str(error).split())}",
            turn="us",
            next_command="larder status",
        ) from error
    psycopg2.extras.register_uuid(conn_or_curs=conn)  # type: ignore[no-untyped-call]
    return conn


def lock_stream(conn: Connection, source_id: int, stream: str, *, wait_ms: int = 2000) -> bool:
    """Take the stream for this connection until it closes or `unlock_stream`; False if another extract keeps it.

    The wait is for a killed extract: its lock outlives it until the server notices (seen: up to 4 ms, 3 times in 40),
    and an extract run right after the kill would otherwise find the stream busy.
    """
    try:
        with conn, conn.cursor() as cur:
            cur.execute("select set_config('lock_timeout', %s, true)", (f"{wait_ms}ms",))
            cur.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (_lock_name(source_id, stream),))
    except psycopg2.errors.LockNotAvailable:
        return False
    return True


def unlock_stream(conn: Connection, source_id: int, stream: str) -> None:
    """Let go of a stream taken by `lock_stream`."""
    with conn, conn.cursor() as cur:
        cur.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (_lock_name(source_id, stream),))


def _lock_name(source_id: int, stream: str) -> str:
    return f"larder extract {source_id} {stream}"


def read_cursor(conn: Connection, source_id: int, stream: str) -> Cursor | None:
    """The stream's cursor; None before the first extract."""
    with conn, conn.cursor() as cur:
        cur.execute("select cursor from control.cursors where source_id = %s and stream = %s", (source_id, stream))
        row = cur.fetchone()
        return dict(row[0]) if row else None


def due_times(conn: Connection, source_ids: Sequence[int]) -> dict[tuple[int, str], datetime | None]:
    """When each stream of the sources is to be read again; streams never read to their end are not in it, or None."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select source_id, stream, due_at from control.cursors where source_id = any(%s)", (list(source_ids),)
        )
        return {(source_id, stream): due_at for source_id, stream, due_at in cur.fetchall()}


def read_through(conn: Connection, source_ids: Sequence[int]) -> dict[tuple[int, str], datetime]:
    """When each stream of the sources was last read to the end of its window, whether or not anything was in it."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select source_id, stream, read_at from control.cursors where source_id = any(%s) and read_at is not null",
            (list(source_ids),),
        )
        return {(source_id, stream): at for source_id, stream, at in cur.fetchall()}


def is_due(due_at: datetime | None, cadence: timedelta, now: datetime) -> bool:
    """Whether a stream's time has come, with a tenth of its cadence of grace: a cycle that starts a second early must
    not skip the stream until the next one. A time further ahead than a cadence was set by a clock that ran ahead."""
    return due_at is None or due_at <= now + cadence / 10 or due_at > now + 2 * cadence


def due_streams(conn: Connection, source_id: int, spec: IntegrationSpec, now: datetime) -> list[Stream]:
    """The streams of a source whose time has come by the given clock, in the spec's order; none while the vendor has
    closed."""
    if spec.allowed_hours is not None and spec.allowed_hours.opens_at(now) != now:
        return []
    due_at = due_times(conn, [source_id])
    return [stream for stream in spec.streams if is_due(due_at.get((source_id, stream.name)), stream.cadence, now)]


def set_read(conn: Connection, source_id: int, stream: str, read_at: datetime, due_at: datetime) -> None:
    """Say that a stream was read to its end, and when it is to be read again; both by the vendor's clock."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "update control.cursors set read_at = %s, due_at = %s where source_id = %s and stream = %s",
            (read_at, due_at, source_id, stream),
        )


def declare_intent(conn: Connection, manifest_path: str, data_path: str, block_id: UUID, key: tuple[int, str]) -> None:
    """Note, before its file exists, that a block is being written."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.block_intents (source_id, stream, block_id, data_path, manifest_path)"
            " values (%s, %s, %s, %s, %s)",
            (*key, block_id, data_path, manifest_path),
        )


def forget_intent(conn: Connection, key: tuple[int, str]) -> None:
    """Take back `declare_intent`, the block's file being gone."""
    with conn, conn.cursor() as cur:
        cur.execute("delete from control.block_intents where source_id = %s and stream = %s", key)


def recover(conn: Connection, store: BlockStore, key: tuple[int, str]) -> Manifest | None:
    """Settle what a killed extract left: adopt its block if the manifest was written, else remove its file.

    Returns the adopted block. Call with the stream locked.
    """
    with conn, conn.cursor() as cur:
        cur.execute(
            "select manifest_path, data_path, started_at from control.block_intents"
            " where source_id = %s and stream = %s",
            key,
        )
        row = cur.fetchone()
    if row is None:
        return None
    manifest_path, data_path, started_at = row
    manifest = store.read_manifest(manifest_path)
    if manifest is None:
        store.delete(data_path)
        store.delete(manifest_path)  # half-written
        forget_intent(conn, key)
        return None
    record_block(conn, manifest, LogEntry(*key, started_at=started_at, message="adopted after a broken-off extract"))
    return manifest


def record_block(conn: Connection, manifest: Manifest, entry: LogEntry) -> None:
    """Index a committed block, move the cursor to its `cursor_after` and log it, in one transaction.

    A reimport's block leaves the cursor where it is.
    """
    with conn, conn.cursor() as cur:
        index_block(cur, manifest)
        if not manifest.is_reimport:
            _move(cur, entry, manifest.cursor_after, manifest.block_id)
        _log(cur, entry, "block", manifest)
        cur.execute(
            "delete from control.block_intents where source_id = %s and stream = %s and block_id = %s",
            (entry.source_id, entry.stream, manifest.block_id),
        )


def record_empty(conn: Connection, cursor: Cursor, entry: LogEntry) -> None:
    """Move the cursor over a window that gave nothing new, and log it."""
    with conn, conn.cursor() as cur:
        _move(cur, entry, cursor, None)
        _log(cur, entry, "empty", None)


def record_failure(conn: Connection, entry: LogEntry) -> None:
    """Log an extract that failed; the cursor stays."""
    with conn, conn.cursor() as cur:
        _log(cur, entry, "failed", None)


def pending(conn: Connection, source_ids: Sequence[int] | None = None) -> list[Manifest]:
    """Manifests of the blocks not yet marked as loaded, oldest first; of all sources if none are named."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select manifest from control.blocks where loaded_at is null"
            " and (%(all)s or source_id = any(%(ids)s)) order by block_id",
            {"all": source_ids is None, "ids": list(source_ids or [])},
        )
        return [Manifest.model_validate(row[0]) for row in cur.fetchall()]


def mark_loaded(conn: Connection, block_ids: Iterable[UUID]) -> None:
    """Hint that these blocks are in their shard's ledger, which is the truth."""
    ids = list(block_ids)
    with conn, conn.cursor() as cur:
        cur.execute(
            "update control.blocks set loaded_at = clock_timestamp() where block_id = any(%s) and loaded_at is null",
            (ids,),
        )
        cur.execute("delete from control.block_failures where block_id = any(%s)", (ids,))


def mark_failed(conn: Connection, block_ids: Iterable[UUID], error: LarderError) -> None:
    """Keep why these blocks could not be loaded, until they are."""
    with conn, conn.cursor() as cur:
        psycopg2.extras.execute_values(
            cur,
            "insert into control.block_failures as f (block_id, turn, cause, next_command) values %s"
            " on conflict (block_id) do update set attempts = f.attempts + 1, failed_at = clock_timestamp(),"
            " turn = excluded.turn, cause = excluded.cause, next_command = excluded.next_command",
            [(block_id, error.turn, error.cause, error.next_command) for block_id in block_ids],
        )


def last_block(conn: Connection, source_id: int, stream: str) -> Manifest | None:
    """The newest block of a stream that is no reimport's: the one that the next window is compared with."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select manifest from control.blocks where source_id = %s and stream = %s"
            " and manifest ->> 'created_by' <> %s order by block_id desc limit 1",
            (source_id, stream, REIMPORT),
        )
        row = cur.fetchone()
        return Manifest.model_validate(row[0]) if row else None


def last_observed(conn: Connection, source_id: int, stream: str) -> datetime:
    """When a block of the stream was last read, by the vendor's clock; the beginning of time if there is none. What is
    read next is observed later, also while a sandbox's clock stands still."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select max(observed_at) from control.blocks where source_id = %s and stream = %s", (source_id, stream)
        )
        row = cur.fetchone()
        return row[0] if row and row[0] else datetime.min.replace(tzinfo=UTC)


def find_block(conn: Connection, block_id: UUID) -> Manifest | None:
    """The manifest of a block; None if it is not in the index."""
    with conn, conn.cursor() as cur:
        cur.execute("select manifest from control.blocks where block_id = %s", (block_id,))
        row = cur.fetchone()
        return Manifest.model_validate(row[0]) if row else None


def index_block(cur: psycopg2.extensions.cursor, manifest: Manifest) -> int:
    """Add a block to the index; returns 1, or 0 if it is there."""
    cur.execute(
        "insert into control.blocks"
        " (block_id, generation, source_id, stream, path, manifest, observed_at, records, bytes)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (block_id) do nothing",
        (
            manifest.block_id,
            manifest.generation,
            int(manifest.source_id),
            manifest.stream,
            manifest.path,
            manifest.model_dump_json(),
            manifest.observed_at,
            manifest.records,
            manifest.bytes,
        ),
    )
    return cur.rowcount


def _move(cur: psycopg2.extensions.cursor, entry: LogEntry, cursor: Mapping[str, Any], block_id: UUID | None) -> None:
    cur.execute(
        "insert into control.cursors as c (source_id, stream, cursor, block_id) values (%s, %s, %s, %s)"
        " on conflict (source_id, stream) do update set"
        " cursor = excluded.cursor, block_id = excluded.block_id, advanced_at = clock_timestamp()",
        (entry.source_id, entry.stream, json.dumps(cursor), block_id),
    )


def _log(cur: psycopg2.extensions.cursor, entry: LogEntry, outcome: str, manifest: Manifest | None) -> None:
    window = (manifest.window.start, manifest.window.end) if manifest else (entry.window_from, entry.window_to)
    cur.execute(
        "insert into control.extraction_log (source_id, stream, started_at, window_from, window_to, outcome, block_id,"
        " records, requests, retries, error_class, message)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " returning records, requests, retries, (select s.integration from control.sources as s"
        " where s.source_id = extraction_log.source_id)",
        (
            entry.source_id,
            entry.stream,
            entry.started_at,
            *window,
            outcome,
            manifest.block_id if manifest else None,
            manifest.records if manifest else 0,
            manifest.http.requests if manifest else entry.requests,
            manifest.http.retries if manifest else entry.retries,
            entry.error.turn if entry.error else None,
            entry.error.cause if entry.error else entry.message,
        ),
    )
    [(records, requests, retries, integration)] = cur.fetchall()
    counters.add(
        cur,
        [
            ("extracts", integration, outcome, 1),
            ("extracted_records", integration, "", records),
            ("extracted_bytes", integration, "", manifest.bytes if manifest else 0),
            ("requests", integration, "", requests),
            ("retries", integration, "", retries),
            ("extract_errors", integration, entry.error.turn if entry.error else "", 1 if entry.error else 0),
        ],
    )
