"""What a chunk was on the old shard when it was read to be copied, so that it need not be hashed there again.

To hash a document is to write it out as text, as to send it is: what a table with documents says is hashed by the
statement that sends it. Rows that are the same versions later, in the same places, are the same rows: to see that they
are takes a seventh of the time. Where any is not, all of the chunk are hashed again.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from sharding.model import Shard
from sharding.moving.layout import MovedTable

_DOCUMENT = "jsonb"
_KEPT = "larder.witness"  # where the statement leaves what it found, until the transaction ends
_VERSIONS = "coalesce(sum(hash_record_extended(row(here.{}, here.{}), 0)), 0)"


@dataclass(frozen=True)
class Witness:
    """Count and digest of a chunk's rows, and the digest of which versions of them these were, and where they lay."""

    rows: int
    digest: int
    versions: int


def is_worth_it(table: MovedTable) -> bool:
    """Whether a table's rows are dearer to hash than to look whether they are the same."""
    return _DOCUMENT in table.types


def reading(table: MovedTable, shard: Shard, wanted: sql.Composable) -> sql.Composed:
    """The rows as COPY gives them in its binary format, by a query that also notes what they are.

    A document's binary form is its text behind the number of the form, 1.
    """
    columns = list(zip(table.columns, table.types, strict=True))
    names = {name: sql.Identifier(name) for name in table.columns}
    return sql.SQL(
        """
        with here as materialized (
            select {read}, ctid as "its place", xmin as "its version" from {table} where {wanted}
        ),
        noted as materialized (
            select set_config({kept}, (
                select concat_ws(':', count(*), coalesce(sum(hash_record_extended(row({hashed}), 0)), 0), {versions})
                from here
            ), true)
        )
        select {sent} from noted, here
        """
    ).format(
        read=sql.SQL(", ").join(
            sql.SQL("{0}::text as {0}" if type_ == _DOCUMENT else "{0}").format(names[name]) for name, type_ in columns
        ),
        table=table.at(shard),
        wanted=wanted,
        kept=sql.Literal(_KEPT),
        hashed=table.hashed,
        versions=_versions("its place", "its version"),
        sent=sql.SQL(", ").join(
            sql.SQL("chr(1) || here.{}" if type_ == _DOCUMENT else "here.{}").format(names[name])
            for name, type_ in columns
        ),
    )


def noted(cursor: Cursor) -> Witness | None:
    """What `reading` found in this transaction; None if it gave no row."""
    cursor.execute("select current_setting(%s, true)", (_KEPT,))
    [(found,)] = cursor.fetchall()
    return Witness(*map(int, found.split(":"))) if found else None


def still_there(cursor: Cursor, rows: sql.Composable, witness: Witness) -> bool:
    """Whether the rows of `… as here …` are the versions that were read."""
    cursor.execute(sql.SQL("select count(*), {} from {}").format(_versions("ctid", "xmin"), rows))
    [(count, versions)] = cursor.fetchall()
    return (int(count), int(versions)) == (witness.rows, witness.versions)


def _versions(place: str, version: str) -> sql.Composed:
    return sql.SQL(_VERSIONS).format(sql.Identifier(place), sql.Identifier(version))
