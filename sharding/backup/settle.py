"""A shard that was restored, made to fit the present: transaction ids of another server, who lives there now, sources
that came since.

The database is the backup's; the control database is today's. What the shard owns alone (which id a sale has, what a
person decided) is as it was at the backup; the blocks that were loaded since are loaded again afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from sharding.backup.dump import Content
from sharding.erasing.traces import remove_traces
from sharding.model import WRITE_GATE, Business, Shard, Source
from sharding.moving.capture import stop_capture
from sharding.moving.erase import erase
from sharding.moving.layout import relation

GAP = 1_000_000_000
"""Numbers of each business that are left out after a restore: those that were given away since the backup are not
given to other things. There are 2^45 for each business, enough for 35,000 restores."""


@dataclass(frozen=True)
class Settled:
    """What was done. `gone`: businesses that no longer live on the shard; their rows were taken off."""

    marks_kept: bool
    came: tuple[int, ...]
    gone: tuple[int, ...]
    sources: int


def settle_transactions(conn: Connection, shard: Shard, content: Content) -> bool:
    """Make the shard's marks and feeds mean something on the server where it is now; True if they still do.

    A mark compares transaction ids: "not seen" is what a snapshot could not see. On the server that gave them, all
    that is written from now on is later. Elsewhere, and on the same server set back, ids come again that the marks
    take for seen, and changes would be passed over. There marks and feeds are emptied: all models are computed whole,
    once.
    """
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "select system_identifier::text = %s and pg_current_xact_id()::text::bigint >= %s from pg_control_system()",
            (content.cluster, content.next_xid),
        )
        if cursor.fetchone() == (True,):
            return True
        cursor.execute(
            "select format('%%I.%%I', n.nspname, c.relname)"
            " from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace"
            " where c.relkind = 'r' and ((n.nspname = any(%s) and c.relname like 'feed\\_\\_%%')"
            " or (n.nspname = %s and c.relname = 'feed') or (n.nspname = %s and c.relname in ('mark', 'run')))",
            (list(shard.schemas.values()), shard.schema("raw"),
             shard.schema("meta")),
        )  # fmt: skip
        emptied = [name for (name,) in cursor.fetchall()]
        cursor.execute(f"truncate {', '.join(emptied)}")
        cursor.execute(sql.SQL("delete from {}").format(relation(shard, "raw.build_mark")))
        cursor.execute("select to_regclass(%s) is not null", (f"{shard.schema('meta')}.feed",))
        if cursor.fetchone() == (True,):
            cursor.execute(
                sql.SQL("update {} set epoch = gen_random_uuid(), pruned_to = '0'").format(relation(shard, "meta.feed"))
            )
            _number_history(cursor, shard)
    return False


def _number_history(cursor: Cursor, shard: Shard) -> None:
    """What builds changed is history by its time; its transaction ids, a part of its key, are to meet no new one."""
    cursor.execute(
        sql.SQL(
            "update {0} as history set xid = numbered.n::text::xid8 from ("
            " select ctid, %(half)s::numeric + row_number() over (order by run_at, model)"
            " + (select count(*) from {0} where xid > %(half)s::text::xid8) as n"
            " from {0} where xid <= %(half)s::text::xid8"
            ") as numbered where history.ctid = numbered.ctid"
        ).format(relation(shard, "meta.model_change")),
        {"half": 1 << 63},
    )


def settle_businesses(
    conn: Connection,
    shard: Shard,
    businesses: Sequence[Business],
    sources: Sequence[Source],
    build: Callable[[Shard], None],
) -> Settled:
    """Make the shard the home of those businesses that the catalogue places there, with the sources they have now.

    Args:
        build: brings the shard's models up to date, while rows of a business that left are taken off.
    """
    ours = {business.id for business in businesses}
    with conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("select business, state from {}").format(relation(shard, "keys.route")))
        there = dict(cursor.fetchall())
        cursor.execute(sql.SQL("update {} set next = next + %s").format(relation(shard, "keys.counter")), (GAP,))
        for one in businesses:
            _open(cursor, shard, one)
        added = sum(_add(cursor, shard, source) for source in sources)
    gone = sorted(set(there) - ours)
    for business in gone:
        _take_off(conn, shard, business, build)
    for business in ours:
        stop_capture(conn, shard, business)  # of a move that was under way
    return Settled(True, tuple(sorted(ours - set(there))), tuple(gone), added)


def close(conn: Connection, shard: Shard, state: str) -> None:
    """Let nobody write the businesses of a shard (`paused`), nobody live there any more (`out`), or open it again
    (`active`). Writers that are at it are waited for."""
    with conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("select business from {} order by 1").format(relation(shard, "keys.route")))
        for (business,) in cursor.fetchall():
            cursor.execute("select pg_advisory_xact_lock(%s, %s)", (WRITE_GATE, business))
        cursor.execute(
            sql.SQL("update {} set state = %s where state in ('active', 'paused')").format(
                relation(shard, "keys.route")
            ),
            (state,),
        )


def _open(cursor: Cursor, shard: Shard, business: Business) -> None:
    cursor.execute(
        sql.SQL(
            "insert into {} (business, name, display_name, epoch, first_weekday, reporting_currency)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (business) do update set state = 'active',"
            " name = excluded.name, display_name = excluded.display_name, epoch = excluded.epoch,"
            " first_weekday = excluded.first_weekday, reporting_currency = excluded.reporting_currency"
        ).format(relation(shard, "keys.route")),
        (business.id, business.name, business.display_name, business.epoch, business.first_weekday,
         business.reporting_currency),
    )  # fmt: skip
    cursor.execute(
        sql.SQL("insert into {} (business, next) values (%s, %s) on conflict do nothing").format(
            relation(shard, "keys.counter")
        ),
        (business.id, 1 + GAP),
    )


def _add(cursor: Cursor, shard: Shard, source: Source) -> int:
    cursor.execute(
        sql.SQL(
            "insert into {} as source (id, integration, name, config) values (%s, %s, %s, %s)"
            " on conflict (id) do update set config = excluded.config where source.config <> excluded.config"
            " returning xmax = 0"
        ).format(relation(shard, "keys.source")),
        (source.id, source.integration, source.name, Json(dict(source.config))),
    )
    return int(cursor.fetchone() == (True,))


def _take_off(conn: Connection, shard: Shard, business: int, build: Callable[[Shard], None]) -> None:
    """Rows of a business that has moved away, or was erased, since the backup."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            sql.SQL("update {} set state = 'out' where business = %s").format(relation(shard, "keys.route")),
            (business,),
        )
        cursor.execute(
            sql.SQL("delete from {} where business = %s").format(relation(shard, "keys.tenant")), (business,)
        )
    stop_capture(conn, shard, business)
    erase(conn, shard, business, build)
    remove_traces(conn, shard, business, [])  # such as entries that told models of it
