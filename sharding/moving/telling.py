"""Tells the models of the new shard of a business whose rows have been copied there."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection

from sharding.model import Shard
from sharding.moving.layout import MovedTable, feeds, relation

_FEEDS = "meta.feed"  # one row a feed, of the models that follow changes
_GIVE_WAY = "1s"  # for models that are just being built for the first time; then they are told row by row


def tell(target: Connection, to: Shard, business: int, tables: Iterable[MovedTable]) -> None:
    """Let the next build on the new shard make what the business's rows are for."""
    if not _all_anew(target, to, business):
        _row_by_row(target, to, business, {table.name: table for table in tables})


def _all_anew(target: Connection, to: Shard, business: int) -> bool:
    """Where no other business lives, models that were built before are computed whole, which is no more than to look at
    every row that has come: their feeds begin a new epoch. One whose build is under way has read the old one.

    False if others live there, or if models keep the list of feeds to themselves for so long.
    """
    with target, target.cursor() as cursor:
        cursor.execute(
            sql.SQL("select exists (select from {} where business <> %s), to_regclass(%s) is not null").format(
                relation(to, "keys.route")
            ),
            (business, relation(to, _FEEDS).as_string(cursor)),
        )
        [(others, follows)] = cursor.fetchall()
    if others or not follows:  # models that are not there yet read everything when they are
        return not others
    known = relation(to, _FEEDS)
    try:
        with target, target.cursor() as cursor:
            cursor.execute("select set_config('lock_timeout', %s, true)", (_GIVE_WAY,))
            cursor.execute(sql.SQL("lock table {} in share row exclusive mode").format(known))  # a feed may just come
            cursor.execute(sql.SQL("update {} set epoch = gen_random_uuid()").format(known))
    except errors.LockNotAvailable:
        return False
    return True


def _row_by_row(target: Connection, to: Shard, business: int, tables: dict[str, MovedTable]) -> None:
    head, keys = tables["raw.head"], relation(to, "keys.source")
    with target, target.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "insert into {} (integration, stream, source_id, natural_key, operation, version_id)"
                " select source.integration, here.stream, here.source_id, here.natural_key, 'I', here.version_id"
                " from {} as here inner join {} as source on source.id = here.source_id where {}"
            ).format(relation(to, "raw.feed"), head.at(to), keys, sql.SQL("here.") + head.rows_of(business))
        )
        for feed in feeds(target, to):
            schema, _, name = feed.name.partition(".")
            table = tables.get(f"{schema}.{name.removeprefix('feed__')}")
            if table is not None and schema in ("keys", "raw") and name.startswith("feed__"):
                columns = sql.SQL(", ").join(map(sql.Identifier, feed.columns))
                cursor.execute(
                    sql.SQL("insert into {} ({columns}) select {columns} from {} where {}").format(
                        relation(to, feed.name), table.at(to), table.rows_of(business), columns=columns
                    )
                )
