"""Landing: dlt appends checked records to an unlogged table; publishing moves them on by SQL.

A loader takes a *slot*: a schema of its own (`raw_landing_1`, `_2`, …) with one landing table and dlt's bookkeeping,
held by a session's advisory lock. Loaders never share a dataset (dlt pipelines that do lose rows), the lock of a killed
loader is free at once, and whoever takes the slot next sweeps what it left.
"""

import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from psycopg2.extensions import connection as Connection

from ingestion.errors import LarderError
from ingestion.work_folder import work_folder

MAX_SLOTS = 64
PACKAGE_BYTES = 64 << 20
_CHUNK_BYTES = 2 << 20
_CHUNK_ROWS = 2000
_WORK = "larder-load-"

_COLUMNS = """
    attempt bigint not null,        -- of the loader that wrote the row
    block_no int not null,          -- the block's number within the attempt
    ordinal bigint not null,
    natural_key text collate "C",
    modified_at timestamptz,
    window_at timestamptz,
    hash uuid,
    payload jsonb,
    reason text,                    -- why the record goes to quarantine
    detail text,
    payload_text text
"""
_ARROW = pa.schema(
    [
        ("attempt", pa.int64()),
        ("block_no", pa.int32()),
        ("ordinal", pa.int64()),
        ("natural_key", pa.string()),
        ("modified_at", pa.timestamp("us", "UTC")),
        ("window_at", pa.timestamp("us", "UTC")),
        ("hash", pa.string()),
        ("payload", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("payload_text", pa.string()),
    ]
)
# dlt's pipelines are not known to be safe side by side in one process; its work is Python, so nothing is lost.
_DLT = threading.Lock()


class Row(NamedTuple):
    """One record on its way: `payload` as received, and either its hash or the reason of its rejection."""

    block_no: int
    ordinal: int
    natural_key: str | None
    modified_at: datetime | None
    window_at: datetime | None
    hash: str | None
    payload: bytes | None
    reason: str | None = None
    detail: str | None = None
    payload_text: str | None = None


@dataclass(frozen=True)
class Slot:
    """A landing table of our own until the connection that took it closes."""

    schema: str
    attempt: int
    lock: str

    @property
    def table(self) -> str:
        """The landing table's qualified name."""
        return f'"{self.schema}".landing'


@contextmanager
def slot(conn: Connection, raw_schema: str) -> Iterator[Slot]:
    """Take the first free slot of the shard, empty; empty it again afterwards."""
    taken = _take(conn, raw_schema)
    try:
        yield taken
    finally:
        if not conn.closed:
            conn.rollback()
            sweep(conn, taken)
            with conn, conn.cursor() as cur:
                cur.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (taken.lock,))


def _take(conn: Connection, raw_schema: str) -> Slot:
    for number in range(1, MAX_SLOTS + 1):
        schema = f"{raw_schema}_landing_{number}"
        lock = f"larder landing {schema}"
        with conn, conn.cursor() as cur:
            cur.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (lock,))
            row = cur.fetchone()
        if row and row[0]:
            taken = Slot(schema, uuid.uuid4().int >> 66, lock)
            _prepare(conn, taken)
            return taken
    raise LarderError(
        f"all {MAX_SLOTS} landing slots of the shard are taken by other loads", turn="us", next_command="larder load"
    )


def _prepare(conn: Connection, taken: Slot) -> None:
    """Make the slot's table if it is missing or of another release; else sweep it."""
    shape = str(uuid.uuid5(uuid.NAMESPACE_OID, _COLUMNS))
    with conn, conn.cursor() as cur:
        cur.execute("select obj_description(to_regclass(%s), 'pg_class')", (taken.table,))
        row = cur.fetchone()
        if row is None or row[0] != shape:
            cur.execute(f'drop schema if exists "{taken.schema}" cascade')
            cur.execute(f'create schema "{taken.schema}"')
            cur.execute(f"create unlogged table {taken.table} ({_COLUMNS})")
            cur.execute(f"comment on table {taken.table} is %s", (shape,))
    sweep(conn, taken)


def sweep(conn: Connection, taken: Slot) -> None:
    """Remove every row of the slot, and dlt's record of having loaded them."""
    with conn, conn.cursor() as cur:
        cur.execute(f"select exists (select from {taken.table})")
        row = cur.fetchone()
        if row and row[0]:
            cur.execute(f"truncate {taken.table}")
        cur.execute("select to_regclass(%s)", (f'"{taken.schema}"._dlt_loads',))
        row = cur.fetchone()
        if row and row[0]:
            cur.execute(f'delete from "{taken.schema}"._dlt_loads')


def land(dsn: str, taken: Slot, rows: Iterable[Row]) -> None:
    """Append rows to the slot's table by dlt, in packages of at most 64 MB.

    Raises what dlt raises (`dlt.pipeline.exceptions.PipelineStepFailed`), and what `rows` raises.
    """
    chunks = _chunks(taken.attempt, rows)
    with _DLT:
        for chunk in chunks:
            _run_package(dsn, taken, _package(chunk, chunks))


def _package(first: pa.Table, following: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """`first`, and as many of the following as fit in a package."""
    size = first.nbytes
    yield first
    while size + _CHUNK_BYTES <= PACKAGE_BYTES:
        chunk = next(following, None)
        if chunk is None:
            return
        size += chunk.nbytes
        yield chunk


def _chunks(attempt: int, rows: Iterable[Row]) -> Iterator[pa.Table]:
    held: list[Row] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row.payload or row.payload_text or "")
        if size >= _CHUNK_BYTES or len(held) >= _CHUNK_ROWS:
            yield _table(attempt, held)
            held, size = [], 0
    if held:
        yield _table(attempt, held)


def _table(attempt: int, rows: Sequence[Row]) -> pa.Table:
    columns = [[attempt] * len(rows), *zip(*rows, strict=True)]  # a Row's fields are the columns after `attempt`
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, _ARROW.types, strict=True)], schema=_ARROW)


def _run_package(dsn: str, taken: Slot, tables: Iterator[pa.Table]) -> None:
    import dlt  # 0.9 CPU-s, and only a load needs it
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    from ingestion.landing_postgres import LandingPostgres

    for key, value in _DLT_SETTINGS.items():
        dlt.config[key] = value
    credentials = PostgresCredentials(dsn)
    credentials.password = credentials.password or ""  # dlt refuses none; libpq then looks into its passfile
    # A killed load can wedge its working directory for ever: each attempt has its own.
    with work_folder(_WORK, Path(tempfile.gettempdir())) as folder:
        pipeline = dlt.pipeline(
            f"landing_{uuid.uuid4().hex[:12]}",
            pipelines_dir=str(folder),
            destination=LandingPostgres(credentials=credentials, create_indexes=False),
            dataset_name=taken.schema,
        )
        resource = dlt.resource(tables, name="landing", write_disposition="append")
        # The table is there, made by us with jsonb and uuid columns: dlt copies text into it by name. Giving dlt a
        # json hint instead would make it warn on each load that the hint and the Arrow type differ.
        pipeline.run(resource, loader_file_format="csv", schema=dlt.Schema("landing"))


_DLT_SETTINGS: Mapping[str, object] = {
    "runtime.dlthub_telemetry": False,
    "runtime.log_level": "ERROR",
    "restore_from_destination": False,  # there is no state to restore: cursors are ours
    "normalize.workers": 1,
    "load.workers": 1,
    "data_writer.disable_compression": True,
    "data_writer.buffer_max_items": 1000,  # rows held and read back at once: memory
}
