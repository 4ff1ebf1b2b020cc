"""Brings to the new shard what changed on the old one since, and compares what was brought. One snapshot a drain."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED, ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.copying import as_replica
from sharding.moving.layout import Feed, MovedTable, relation
from sharding.moving.pipe import transfer


@dataclass(frozen=True)
class Drained:
    """What a drain brought. `keys`: rows that were brought or are gone; `entries`: what models were told of them."""

    snapshot: str
    keys: int
    entries: int


@contextmanager
def one_snapshot(source: Connection) -> Iterator[str]:
    """All reads of `source` inside see the same state; yields the snapshot's text."""
    source.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
    try:
        with source, source.cursor() as cursor:
            yield snapshot_of(cursor)
    finally:
        source.set_session(isolation_level=ISOLATION_LEVEL_READ_COMMITTED)


def snapshot_of(cursor: Cursor) -> str:
    """The current snapshot's text."""
    cursor.execute("select pg_current_snapshot()::text")
    [(snapshot,)] = cursor.fetchall()
    return str(snapshot)


def drain(
    source: Connection,
    into: Cursor,
    from_: Shard,
    to: Shard,
    business: int,
    tables: Sequence[MovedTable],
    target_feeds: Sequence[Feed],
    snapshot: str,
) -> Drained:
    """Bring every noted change to the new shard, in the target's open transaction, and compare each row brought.

    `source` must see one state throughout: inside `one_snapshot`, or while nobody writes the business.

    Raises:
        LarderError: turn `us`: a row is not as on the source; the target's transaction must not commit.
    """
    as_replica(into)
    changed = noted_keys(source, from_, business)
    by_name = {table.name: table for table in tables}
    for name, keys in changed.items():
        _bring(source, into, from_, to, by_name[name], keys)
    entries = _tell(source, into, from_, to, business, {feed.name: feed for feed in target_feeds})
    return Drained(snapshot, sum(map(len, changed.values())), entries)


def forget_drained(source: Connection, from_: Shard, business: int, snapshot: str) -> None:
    """Forget what a drain at this snapshot saw, once its transaction has committed."""
    with source, source.cursor() as cursor:
        for name in ("keys.move_change", "keys.move_entry"):
            cursor.execute(
                sql.SQL("delete from {} where business = %s and pg_visible_in_snapshot(xid, %s::pg_snapshot)").format(
                    relation(from_, name)
                ),
                (business, snapshot),
            )


def waiting(source: Connection, from_: Shard, business: int) -> int:
    """How many rows have changed since the last drain."""
    return sum(map(len, noted_keys(source, from_, business).values()))


def noted_keys(source: Connection, from_: Shard, business: int) -> Mapping[str, list[list[str]]]:
    """Table → keys of rows that have changed."""
    with source.cursor() as cursor:
        cursor.execute(
            sql.SQL("select relation, key from {} where business = %s group by relation, key").format(
                relation(from_, "keys.move_change")
            ),
            (business,),
        )
        found: dict[str, list[list[str]]] = {}
        for name, key in cursor.fetchall():
            found.setdefault(name, []).append(key)
        return found


def _bring(
    source: Connection, into: Cursor, from_: Shard, to: Shard, table: MovedTable, keys: Sequence[Sequence[str]]
) -> None:
    # As a value and not in a table: a temporary one costs a flip more than all else that it does.
    noted = sql.SQL(
        "(select array(select jsonb_array_elements_text(value)) as key from jsonb_array_elements({}::jsonb)) as noted"
    ).format(sql.Literal(json.dumps(keys)))
    into.execute(
        sql.SQL("delete from {} as there using {} where {}").format(
            table.at(to), noted, table.same_key("there", "noted.key")
        )
    )
    here, there = (
        sql.SQL("{} as here inner join {} on {}").format(at, noted, table.same_key("here", "noted.key"))
        for at in (table.at(from_), table.at(to))
    )
    columns = sql.SQL(", ").join(sql.SQL("here.{}").format(sql.Identifier(name)) for name in table.columns)
    transfer(
        source,
        into,
        sql.SQL("select {} from {}").format(columns, here),
        sql.SQL("{} ({})").format(table.at(to), table.column_list),
    )
    with source.cursor() as reader:
        wanted, found = digest(reader, table, here), digest(into, table, there)
    if wanted != found:
        raise LarderError(
            f"{table.name}: of the changed rows {found[0]} arrived and {wanted[0]} were sent, or not as they were",
            "us",
            "larder business moves",
        )


def digest(cursor: Cursor, table: MovedTable, rows: sql.Composable) -> tuple[int, int]:
    """Count and hash of the rows of `… as here …`, whatever their order; every bit of every copied column counts."""
    cursor.execute(
        sql.SQL("select count(*), coalesce(sum(hash_record_extended(row({}), 0)), 0) from {}").format(
            table.hashed, rows
        )
    )
    [(count, total)] = cursor.fetchall()
    return int(count), int(total)


def _tell(
    source: Connection, into: Cursor, from_: Shard, to: Shard, business: int, target_feeds: Mapping[str, Feed]
) -> int:
    """What models of the old shard were told, for those of the new one; a feed that it lacks has no reader there."""
    with source.cursor() as cursor:
        cursor.execute(
            sql.SQL("select relation, jsonb_agg(distinct entry)::text from {} where business = %s group by 1").format(
                relation(from_, "keys.move_entry")
            ),
            (business,),
        )
        noted = cursor.fetchall()
    told = 0
    for name, entries in noted:
        feed = target_feeds.get(name)
        if feed is None:
            continue
        if feed.columns:
            columns = sql.SQL(", ").join(map(sql.Identifier, feed.columns))
            statement = sql.SQL("insert into {0} ({1}) select {1} from jsonb_populate_recordset(null::{0}, %s)").format(
                relation(to, name), columns
            )
            into.execute(statement, (entries,))
        else:
            into.execute(sql.SQL("insert into {} default values").format(relation(to, name)))
        told += into.rowcount
    return told
