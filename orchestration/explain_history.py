"""How a number came to be: the versions of the records behind it, in the order in which they arrived."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

Key = tuple[int, str]  # source, natural key


@dataclass(frozen=True)
class Version:
    """A version of a record; `arrived`: when its block was loaded."""

    version_id: int
    stream: tuple[str, str]
    key: Key
    is_deletion: bool
    position: tuple[Any, ...]
    observed_at: datetime
    block_id: UUID | None
    generation: int
    arrived: datetime


def belonging(cursor: Cursor, raw: str, keys: Iterable[Key]) -> tuple[set[Key], list[tuple[Key, Key]]]:
    """The keys with all that ever belonged together with them, and the links."""
    wanted = list(keys)
    cursor.execute(
        f"""
        with recursive belonging (source_id, key) as (
            select * from unnest(%s::bigint[], %s::text[])
            union
            select link.source_id, link.linked_key from belonging
            inner join {raw}.link on link.source_id = belonging.source_id and link.key = belonging.key
        )
        select belonging.source_id, belonging.key, link.linked_key from belonging
        left join {raw}.link on link.source_id = belonging.source_id and link.key = belonging.key
        """,
        ([source for source, _ in wanted], [key for _, key in wanted]),
    )
    found, links = set[Key](), list[tuple[Key, Key]]()
    for source, key, linked in cursor.fetchall():
        found.add((source, key))
        if linked is not None:
            links.append(((source, key), (source, linked)))
    return found, links


def groups(keys: Iterable[Key], links: Iterable[tuple[Key, Key]]) -> dict[Key, Key]:
    """Each key → one of those that it belongs together with, the same for all of them."""
    first = {key: key for key in keys}

    def root(key: Key) -> Key:
        while first[key] != key:
            first[key] = first[first[key]]
            key = first[key]
        return key

    for left, right in links:
        if left in first and right in first:
            first[root(left)] = root(right)
    return {key: root(key) for key in first}


def changed_records(
    cursor: Cursor, raw: str, streams: Mapping[tuple[str, str], str], sources: Sequence[int], since: str, most: int
) -> list[Key]:
    """Records with a version that is no longer in force, written since a day: they may have been part of the number
    once. At most `most + 1`."""
    found: list[Key] = []
    for (_, stream), table in streams.items():
        cursor.execute(
            f"""
            select distinct version.source_id, version.natural_key from {table} as version
            inner join {raw}.head on head.source_id = version.source_id and head.stream = %s
                and head.natural_key = version.natural_key
            where version.source_id = any(%s) and version.observed_at >= %s::date - 1
                and (head.version_id <> version.version_id or head.is_deleted)
            limit %s
            """,
            (stream, list(sources), since, most + 1 - len(found)),
        )
        found += cursor.fetchall()
    return found


def read_versions(
    cursor: Cursor, raw: str, streams: Mapping[tuple[str, str], str], keys: Iterable[Key]
) -> list[Version]:
    """All versions of these records."""
    wanted = list(keys)
    found: list[Version] = []
    for stream, table in streams.items():
        cursor.execute(
            f"""
            select
                version.version_id, version.source_id, version.natural_key, version.operation = 'D',
                version.modified_at::text, version.observed_at, version.block_id::text, version.ordinal,
                version.generation, coalesce(ledger.loaded_at, version.observed_at)
            from unnest(%s::bigint[], %s::text[]) as wanted (source_id, natural_key)
            inner join {table} as version using (source_id, natural_key)
            left join {raw}.loaded_blocks as ledger
                on ledger.block_id = version.block_id and ledger.generation = version.generation
            """,
            ([source for source, _ in wanted], [key for _, key in wanted]),
        )
        for row in cursor.fetchall():
            number, source, key, is_deletion, modified, observed, block, ordinal, generation, arrived = row
            position = ("" if modified == "-infinity" else modified, observed, block or "", ordinal, generation)
            found.append(
                Version(
                    number,
                    stream,
                    (source, key),
                    is_deletion,
                    position,
                    observed,
                    UUID(block) if block else None,
                    generation,
                    arrived,
                )
            )
    return found


def arrivals(versions: Iterable[Version]) -> Iterator[tuple[list[Version], dict[tuple[Any, Key], Version]]]:
    """The versions that arrived together (of one block), one block after the other, and after each of them the version
    in force of every record seen so far, deletions among them."""
    batches: dict[tuple[datetime, str, int], list[Version]] = defaultdict(list)
    for version in versions:
        batches[version.arrived, str(version.block_id), version.generation].append(version)
    state: dict[tuple[Any, Key], Version] = {}
    for when in sorted(batches):
        for version in batches[when]:
            place = (version.stream, version.key)
            if place not in state or state[place].position < version.position:
                state[place] = version
        yield batches[when], state


def relation(cursor: Cursor, schema: str, table: str) -> str:
    """A quoted name."""
    return sql.Identifier(schema, table).as_string(cursor)
