"""Everything that a shard holds of one business, as files that any program reads: gzipped CSV, as COPY writes it.

All tables are read at one snapshot. What COPY wrote COPY reads back: column types stand in the manifest, an empty field
is NULL and a quoted empty one is text.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from typing import IO, Any

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.erasing.traces import connect, holders
from sharding.errors import LarderError
from sharding.ids import id_range
from sharding.model import Business, Shard
from sharding.moving.layout import moved_tables, relation

Create = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class ExportedTable:
    """One file. `name` is the table's on a shard without namespace; `sha256` is that of the compressed file."""

    name: str
    file: str
    columns: dict[str, str]
    rows: int
    bytes: int
    sha256: str


def export_tables(shard: Shard, business: Business, create: Create) -> tuple[list[ExportedTable], dict[str, Any]]:
    """Write the business's records, keys, maps, ledger, quarantine, facts and summaries.

    Returns the files in the order in which they can be read back, and what the shard knows of the business besides:
    its route, its next free number, the streams of its integrations.

    Raises:
        LarderError: turn `us`: the shard does not hold it.
    """
    with closing(connect(shard)) as conn:
        conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        with conn.cursor() as cursor:
            cursor.execute("set local timezone = 'UTC'")
        known = _known(conn, shard, business)
        files = [
            _export(conn, shard, name, columns, condition, create)
            for name, columns, condition in _tables(conn, shard, business.id)
        ]
        conn.rollback()
    return files, known


def export_control(catalogue: Catalogue, business: Business) -> dict[str, Any]:
    """The business's row, its sources without secrets, and where their streams stand."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select source_id::text, stream, cursor from control.cursors"
            " where source_id in (select source_id from control.sources where business = %s) order by 1, 2",
            (business.id,),
        )
        cursors = [{"source": source, "stream": stream, "cursor": at} for source, stream, at in cursor.fetchall()]
    sources = [
        {"id": str(s.id), "name": s.name, "integration": s.integration, "config": dict(s.config), "state": s.state}
        for s in catalogue.sources(business.id)
    ]
    return {"business": asdict(business), "sources": sources, "cursors": cursors}


def _known(conn: Connection, shard: Shard, business: Business) -> dict[str, Any]:
    with conn.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select to_jsonb(r), c.next from {} as r inner join {} as c using (business)"
                " where business = %s and r.state in ('active', 'paused')"
            ).format(relation(shard, "keys.route"), relation(shard, "keys.counter")),
            (business.id,),
        )
        row = cursor.fetchone()
        if row is None:
            raise LarderError(f"{business.name} is not on {shard.name}", "us", "larder business moves")
        cursor.execute(
            sql.SQL(
                "select integration, stream, links from {} where integration in (select integration from {}"
                " where id between %s and %s) order by 1, 2"
            ).format(relation(shard, "raw.stream"), relation(shard, "keys.source")),
            id_range(business.id),
        )
        streams = [{"integration": i, "stream": s, "links": links} for i, s, links in cursor.fetchall()]
    return {"route": row[0], "next_number": str(row[1]), "streams": streams}


def _tables(conn: Connection, shard: Shard, business: int) -> Iterator[tuple[str, list[str], sql.Composed]]:
    """(name without namespace, columns, condition): what records hang from comes first, marts last."""
    for table in moved_tables(conn, shard):
        yield table.name, list(table.columns), table.rows_of(business)
    with conn.cursor() as cursor:
        for holder in holders(cursor, shard, []):
            if holder.schema == shard.schema("marts"):
                cursor.execute(
                    "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
                    " and not attisdropped and atttypid <> 'xid8'::regtype order by attnum",
                    (f'"{holder.schema}"."{holder.table}"',),
                )
                columns = [column for (column,) in cursor.fetchall()]
                yield f"marts.{holder.table}", columns, holder.rows_of(business)


def _export(
    conn: Connection, shard: Shard, name: str, columns: list[str], condition: sql.Composed, create: Create
) -> ExportedTable:
    at, file = relation(shard, name), f"tables/{name}.csv.gz"
    with conn.cursor() as cursor:
        cursor.execute(
            sql.SQL("select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = {}::regclass")
            .format(sql.Literal(at.as_string(conn)))
        )  # fmt: skip
        types = dict(cursor.fetchall())
        wanted = sql.SQL("select {} from {} where {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), at, condition
        )
        with create(file) as target:
            hashing = _Hashing(target)
            with gzip.GzipFile(fileobj=hashing, mode="wb", mtime=0) as packed:
                cursor.copy_expert(sql.SQL("copy ({}) to stdout (format csv, header)").format(wanted), packed)
        rows = int(cursor.rowcount)
    return ExportedTable(name, file, {c: types[c] for c in columns}, rows, hashing.size, hashing.digest.hexdigest())


class _Hashing:
    """Counts and hashes what passes into a file."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self.size, self.digest = target, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()
