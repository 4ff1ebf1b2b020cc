"""`larder export`: a business's marts as Parquet in an object store, for people who work in files.

Everything is read in one snapshot, through the views of `bi`, with the business's own read role: row security holds as
it does for its BI tool. A mart with a date is cut into months. What a month holds has a signature that Postgres makes
in place (how many rows, and sums of their hashes); only months whose signature is another than the last manifest's are
read and written, so a row that was deleted counts as much as one that came. A file's name is its signature, the
manifest is written last and names the files that count: a reader sees the last export whole or this one, and an export
that is killed leaves the last one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ingestion.blocks import BlockStore
from orchestration.mart_types import Column, exported, partition_column, schema_of, table_of
from sharding.access.tenants import open_session
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Business, Shard

FORMAT = "larder parquet 1"
MANIFEST = "manifest.json"
WHOLE = "all"
"""The partition of a mart that has no date."""
NO_DATE = "none"
_BATCH = 20_000  # rows in memory, and in a row group
_SETTINGS = "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '30min'"
_NOTE = """
insert into control.exports (business, store, shard, system_identifier, snapshot) values (%s, %s, %s, %s, %s)
on conflict (business, store) do update set shard = excluded.shard, system_identifier = excluded.system_identifier,
    snapshot = excluded.snapshot, exported_at = clock_timestamp()
"""
_TEXT = "set local timezone = 'UTC'; set local datestyle = 'ISO'; set local extra_float_digits = 1"


@dataclass(frozen=True)
class Part:
    """A month of a mart, or all of it, and its file."""

    partition: str
    rows: int
    signature: str
    file: str
    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Mart:
    """A view of `bi` and its files."""

    name: str
    partition_by: str | None
    columns: Mapping[str, str]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Exported:
    """What an export did. `changed`, `removed`: months written, and those that are no more; of `parts` in all."""

    business: str
    marts: int
    parts: int
    rows: int
    changed: int
    removed: int
    bytes: int
    manifest: str


def export_marts(catalogue: Catalogue, name: str, to: str, *, full: bool = False) -> Exported:
    """Bring the files of a business up to date.

    Args:
        to: folder or fsspec URL; the business's files are below `<to>/<business>/`.
        full: write every month again, whatever its signature.

    Raises:
        LarderError: turn `you`: the business has no role of its own, or another export of it runs; `us`: its rows
            cannot be seen there now (it moves), or a value does not fit its column.
    """
    business = catalogue.business(name)
    store = BlockStore(to if "://" in to else f"file://{Path(to).absolute()}")
    with _alone(catalogue, business) as control, closing(open_session(catalogue, business.name)) as conn:
        shard = catalogue.shard(business.shard)
        known = _read_manifest(store, business)
        before = {} if full else {part.file: part for mart in known for part in mart.parts}
        conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        with conn.cursor() as cursor:
            cursor.execute(
                f"{_SETTINGS}; {_TEXT}; select pg_current_snapshot()::text, statement_timestamp(), system_identifier"
                " from pg_control_system()"
            )
            [(snapshot, at, cluster)] = cursor.fetchall()
        views = [_look(conn, shard, business, view) for view in _views(conn, shard)]
        if known and not any(part.rows for mart, _ in views for part in mart.parts):
            cause = f"{shard.name} shows no row of {business.name} now: it is on its way, or nothing is built there"
            raise LarderError(cause, "us", f"larder export --business {business.name}")
        written: list[Part] = []
        marts = []
        for mart, columns in views:
            parts = []
            for part in mart.parts:
                if part.file not in before:
                    part = _write(conn, shard, business, store, mart, columns, part)
                    written.append(part)
                parts.append(before.get(part.file, part))
            marts.append(replace(mart, parts=tuple(parts)))
        conn.rollback()
        manifest = {
            "format": FORMAT,
            "business": business.name,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "read_at": at.isoformat(),
            "snapshot": snapshot,
            "marts": [asdict(mart) for mart in marts],
        }
        path = f"{business.name}/{MANIFEST}"
        store.write_bytes(path, json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n")
        now = {part.file for mart in marts for part in mart.parts} | {path}
        for file in list(store.files(f"{business.name}/")):
            if file not in now:
                store.delete(file)
        control.execute(_NOTE, (business.id, to, shard.name, cluster, snapshot))
    places = {(mart.name, part.partition) for mart in marts for part in mart.parts}
    removed = {(mart.name, part.partition) for mart in known for part in mart.parts} - places
    return Exported(
        business.name, len(marts), len(places), sum(part.rows for mart in marts for part in mart.parts),
        len(written), len(removed), sum(part.bytes for part in written), store.path(path),
    )  # fmt: skip


@contextmanager
def _alone(catalogue: Catalogue, business: Business) -> Iterator[Cursor]:
    """One export of a business at a time: the second would delete the first one's files."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"larder export {business.id}",))
        if cursor.fetchone() != (True,):
            cause = f"another export of {business.name} runs"
            raise LarderError(cause, "you", f"larder export --business {business.name}")
        yield cursor


def _read_manifest(store: BlockStore, business: Business) -> list[Mart]:
    """What the last export left; nothing where there was none, or one of another format."""
    try:
        manifest = json.loads(store.fs.cat_file(store.path(f"{business.name}/{MANIFEST}")))
    except FileNotFoundError:
        return []
    if manifest["format"] != FORMAT:
        return []
    return [Mart(**{**mart, "parts": tuple(Part(**part) for part in mart["parts"])}) for mart in manifest["marts"]]


def _views(conn: Connection, shard: Shard) -> list[str]:
    """The views that the role may read, by name."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relkind = 'v' and has_table_privilege(c.oid, 'select') order by 1",
            (shard.schema("bi"),),
        )
        return [name for (name,) in cursor.fetchall()]


def _look(conn: Connection, shard: Shard, business: Business, view: str) -> tuple[Mart, list[Column]]:
    """A mart with the signature of each of its months."""
    at = sql.Identifier(shard.schema("bi"), view)
    with conn.cursor() as cursor:
        cursor.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
            (at.as_string(conn),),
        )
        columns = exported([Column(*row) for row in cursor.fetchall()])
        unscaled = [column.name for column in columns if column.unscaled]
        if unscaled:
            deepest = [sql.SQL("coalesce(max(scale({})), 0)").format(sql.Identifier(name)) for name in unscaled]
            cursor.execute(sql.SQL("select {} from {}").format(sql.SQL(", ").join(deepest), at))
            [found] = cursor.fetchall()
            scales = dict(zip(unscaled, found, strict=True))
            columns = [replace(column, scale=scales.get(column.name)) for column in columns]
        by = partition_column(view, columns)
        row = sql.SQL("row({})::text").format(sql.SQL(", ").join(sql.Identifier(column.name) for column in columns))
        cursor.execute(
            sql.SQL(
                "select {month}, count(*), sum(hashtextextended({row}, 0)::numeric),"
                " sum(hashtextextended({row}, 1)::numeric) from {at} group by 1 order by 1"
            ).format(month=_month(by), row=row, at=at)
        )
        types = {column.name: str(column.arrow) for column in columns}
        parts = [_part(business, view, by, types, *found) for found in cursor.fetchall()]
    return Mart(view, by, types, tuple(parts)), columns


def _month(by: str | None) -> sql.Composable:
    if by is None:
        return sql.SQL("null::date")
    return sql.SQL("date_trunc('month', {}::timestamp)::date").format(sql.Identifier(by))


def _part(
    business: Business, view: str, by: str | None, types: Mapping[str, str], month: date | None, rows: int, *sums: Any
) -> Part:
    partition = WHOLE if by is None else NO_DATE if month is None else f"{month:%Y-%m}"
    said = json.dumps([FORMAT, view, partition, dict(types), rows, *map(str, sums)])
    signature = hashlib.sha256(said.encode()).hexdigest()[:32]
    folder = f"{business.name}/{view}" + (f"/month={partition}" if by else "")
    return Part(partition, rows, signature, f"{folder}/{signature}.parquet")


def _write(
    conn: Connection, shard: Shard, business: Business, store: BlockStore, mart: Mart, columns: list[Column], part: Part
) -> Part:
    """One file, some rows in memory at a time."""
    about = {"business": business.name, "mart": mart.name, "partition": part.partition}
    schema = schema_of(columns, about)
    wanted = [
        sql.SQL("{}::text").format(sql.Identifier(c.name)) if c.as_text else sql.Identifier(c.name) for c in columns
    ]
    month = None if part.partition in (WHOLE, NO_DATE) else f"{part.partition}-01"
    query = sql.SQL("select {} from {} where {} is not distinct from {}::date").format(
        sql.SQL(", ").join(wanted),
        sql.Identifier(shard.schema("bi"), mart.name),
        _month(mart.partition_by),
        sql.Literal(month),
    )
    rows = 0
    with store.open_write(part.file) as target, conn.cursor(name="larder_export") as cursor:
        cursor.itersize = _BATCH
        hashing = _Hashing(target)
        cursor.execute(query)
        try:
            with pq.ParquetWriter(hashing, schema, compression="zstd") as writer:
                while batch := cursor.fetchmany(_BATCH):
                    writer.write_table(table_of(batch, schema))
                    rows += len(batch)
        except pa.ArrowInvalid as error:
            cause = f"{mart.name} of {business.name}, {part.partition}: {error}"
            raise LarderError(cause, "us", f"larder export --business {business.name} --full") from error
        if rows != part.rows:
            raise AssertionError(f"{mart.name} {part.partition}: {rows} rows of {part.rows} in one snapshot")
    return replace(part, bytes=hashing.size, sha256=hashing.digest.hexdigest())


class _Hashing:
    """A file to be written in one go: counted and hashed."""

    closed = False

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self.size, self.digest = target, 0, hashlib.sha256()

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.size += len(piece)
        self.digest.update(piece)
        self._target.write(piece)
        return len(piece)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._target.flush()

    def close(self) -> None:
        """The store closes it."""
