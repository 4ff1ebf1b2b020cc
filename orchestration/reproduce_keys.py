"""What a shard knows of a block: related records, ids, maps and settings. Read in read-only transactions, and put into
another shard as they were."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from ingestion.blocks import Manifest
from sharding.errors import LarderError
from sharding.model import Shard

Row = dict[str, Any]
CONFORMED = ("location", "employee", "item")
# In the order in which foreign keys let them in; tables of entities go before all.
AFTER_ENTITIES = (*CONFORMED, *(f"{entity}_map" for entity in CONFORMED), "campaign_location_map", "location_setting")


@dataclass(frozen=True)
class Related:
    """A version of a record, in its place in its block."""

    stream: str
    natural_key: str
    block_id: UUID
    generation: int
    ordinal: int
    observed_at: datetime
    payload: str


@dataclass(frozen=True)
class Found:
    """What a shard holds of a block's records: related versions by (block, stream), and their keys."""

    records: dict[tuple[UUID, str], list[Related]]
    keys: frozenset[str]
    clock: str | None
    quarantined: tuple[tuple[int, str, str], ...] = field(default=())


def read_related(
    shard: Shard, manifest: Manifest, keys: Collection[str], values: Collection[str], things: Sequence[str]
) -> Found:
    """Versions that were there when the block was read: of its own `keys`, of records linked with them, of whatever has
    one of `values` for its key, and of all records of the streams `things`."""
    source_id = int(manifest.source_id)
    with _reading(shard) as cursor:
        _run(
            shard,
            cursor,
            """
            with recursive belonging (key) as (
                select unnest(%(keys)s::text[])
                union
                select link.linked_key from belonging
                inner join {raw}.link on link.source_id = %(source)s and link.key = belonging.key
            )
            select head.stream, array_agg(head.natural_key) from {raw}.head
            where head.source_id = %(source)s and (
                head.stream = any(%(things)s) or head.natural_key = any(%(values)s)
                or head.natural_key in (select key from belonging)
            )
            group by head.stream
            """,
            {"keys": list(keys), "values": list(values), "things": list(things), "source": source_id},
        )
        wanted = dict(cursor.fetchall())
        rows: list[Related] = []
        for stream, names in wanted.items():
            rows += _versions(shard, cursor, manifest, stream, names)
        _run(shard, cursor, "select now::text from {keys}.clock")
        clock = cursor.fetchone()
        _run(
            shard,
            cursor,
            "select ordinal, reason, detail from {raw}.quarantine where block_id = %s order by ordinal",
            (manifest.block_id,),
        )
        quarantined = tuple(cursor.fetchall())
    records: dict[tuple[UUID, str], list[Related]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.block_id, row.ordinal)):
        records[row.block_id, row.stream].append(row)
    every = frozenset(keys) | {name for names in wanted.values() for name in names}
    return Found(dict(records), every, clock[0] if clock else None, quarantined)


def _versions(shard: Shard, cursor: Cursor, manifest: Manifest, stream: str, names: Sequence[str]) -> list[Related]:
    """Versions of a stream up to when the block was read; of a record only known since then, its first."""
    table = sql.Identifier(shard.schema(f"raw_{manifest.integration}"), stream)
    cursor.execute(
        sql.SQL(
            """
            select natural_key, block_id, generation, ordinal, observed_at, payload::text
            from (
                select *, row_number() over (partition by natural_key order by observed_at, version_id) as place
                from {} where source_id = %s and natural_key = any(%s) and operation = 'U' and block_id <> %s
            ) as version
            where observed_at <= %s or place = 1
            """
        ).format(table),
        (int(manifest.source_id), list(names), manifest.block_id, manifest.observed_at),
    )
    return [Related(stream, *row) for row in cursor.fetchall()]


def read_keys(shard: Shard, source_id: int, found: Found) -> dict[str, list[Row]]:
    """Ids of the records and of all that their source's vendor names, the maps from these to the business's own things,
    and the settings of the locations; by table."""
    with _reading(shard) as cursor:
        entities = entity_tables(shard, cursor)
        rows: dict[str, list[Row]] = {}
        for name in entities:
            if name.startswith("source_"):
                rows[name] = _rows(shard, cursor, name, "source_id = %s", (source_id,))
            else:
                condition = "source_id = %s and natural_key = any(%s)"
                rows[name] = _rows(shard, cursor, name, condition, (source_id, list(found.keys)))
        ids = [row["id"] for table in rows.values() for row in table]
        for name in entities:
            known = {row["id"] for row in rows[name]}
            hanging = _rows(shard, cursor, name, "source_id = %s and parent_id = any(%s)", (source_id, ids))
            rows[name] += [row for row in hanging if row["id"] not in known]
        for entity in CONFORMED:
            mine = [row["id"] for row in rows.get(f"source_{entity}", [])]
            name, column = f"{entity}_map", f"source_{entity}_id"
            rows[name] = _rows(shard, cursor, name, f"{column} = any(%s)", (mine,))
        campaigns = [row["id"] for row in rows.get("source_campaign", [])]
        name = "campaign_location_map"
        rows[name] = _rows(shard, cursor, name, "source_campaign_id = any(%s)", (campaigns,))
        for entity in CONFORMED:
            mapped = [row[f"{entity}_id"] for row in rows[f"{entity}_map"]]
            if entity == "location":
                mapped += [row["location_id"] for row in rows["campaign_location_map"]]
            rows[entity] = _rows(shard, cursor, entity, "id = any(%s)", (mapped,))
        places = [row["id"] for row in rows["location"]]
        rows["location_setting"] = _rows(shard, cursor, "location_setting", "location_id = any(%s)", (places,))
        rows["counter"] = _rows(shard, cursor, "counter", "business = {keys}.business_of(%s)", (source_id,))
    return {name: table for name, table in rows.items() if table}


def write_keys(shard: Shard, cursor: Cursor, keys: Mapping[str, Sequence[Row]]) -> None:
    """Put ids, maps and settings into a shard that has none of them."""
    first = [name for name in keys if name not in AFTER_ENTITIES and name != "counter"]
    for name in (*first, *(name for name in AFTER_ENTITIES if name in keys)):
        _insert(shard, cursor, name, keys[name])
    for row in keys.get("counter", ()):
        _run(
            shard,
            cursor,
            "insert into {keys}.counter (business, next) values (%(business)s, %(next)s)"
            " on conflict (business) do update set next = greatest(counter.next, excluded.next)",
            row,
        )


def entity_tables(shard: Shard, cursor: Cursor) -> list[str]:
    """Tables of ids by natural key, parents first: nothing but sales has children."""
    cursor.execute(
        "select table_name from information_schema.columns where table_schema = %s and column_name = 'natural_key'"
        " order by table_name not like 'source\\_%%', table_name <> 'sale', table_name",
        (shard.schema("keys"),),
    )
    return [row[0] for row in cursor.fetchall()]


def _rows(shard: Shard, cursor: Cursor, table: str, condition: str, values: tuple[object, ...]) -> list[Row]:
    _run(shard, cursor, f"select to_jsonb(t)::text from {{keys}}.{table} as t where {condition}", values)
    return [json.loads(text) for (text,) in cursor.fetchall()]


def _insert(shard: Shard, cursor: Cursor, table: str, rows: Sequence[Row]) -> None:
    name = f"{{keys}}.{table}"
    _run(
        shard,
        cursor,
        f"insert into {name} select * from jsonb_populate_recordset(null::{name}, %s::jsonb) on conflict do nothing",
        (json.dumps(list(rows)),),
    )


def _run(shard: Shard, cursor: Cursor, statement: str, values: Any = None) -> None:
    cursor.execute(shard.render(statement), values)


class _reading:
    """One read-only snapshot of a shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def __enter__(self) -> Cursor:
        try:
            self._connection = psycopg2.connect(self._shard.dsn, connect_timeout=5, application_name="larder reproduce")
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
            raise LarderError(f"{self._shard.name} does not answer: {reason}", "us", "larder status") from error
        psycopg2.extras.register_uuid(conn_or_curs=self._connection)  # type: ignore[no-untyped-call]
        self._connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        return self._connection.cursor()

    def __exit__(self, *error: object) -> None:
        with closing(self._connection):
            self._connection.rollback()
