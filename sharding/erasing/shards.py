"""Takes a business off every shard that has, or had, anything of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.access.tenants import drop_roles
from sharding.catalogue import Catalogue
from sharding.erasing import control
from sharding.erasing.control import Erasure
from sharding.erasing.traces import connect, forget_dead_rows, remove_traces, traces
from sharding.errors import LarderError
from sharding.model import WRITE_GATE, Shard
from sharding.moving.capture import stop_capture
from sharding.moving.erase import erase
from sharding.moving.layout import relation

Build = Callable[[Shard], None]
_ROUNDS = 3


def count(catalogue: Catalogue, erasure: Erasure, shard: Shard, others: Sequence[Shard]) -> Erasure:
    """Keep what a shard holds of the business before anything of it is taken away. `others`: see `traces`."""
    with closing(connect(shard)) as conn:
        return control.note(catalogue, erasure, part(shard), traces(conn, shard, erasure.business, others))


def part(shard: Shard) -> str:
    """What a shard is called in an erasure's record."""
    return f"shard {shard.name}"


def erase_from_shard(
    erasure: Erasure, shard: Shard, others: Sequence[Shard], build: Build, reached: Callable[[str], None]
) -> None:
    """Delete what one shard holds, let its models follow, and look again until nothing is found.

    Raises:
        LarderError: turn `us`: rows keep coming back.
    """
    business = erasure.business
    with closing(connect(shard)) as conn:
        if not erasure.removed[part(shard)]:
            return
        _close(conn, shard, business)
        drop_roles(shard, business)
        stop_capture(conn, shard, business)
        reached("closed")
        follow = build if _has_models(conn, shard) else lambda shard: None
        erase(conn, shard, business, follow)
        reached("rows gone")
        follow(shard)  # the route went last, and models know of it too
        for _ in range(_ROUNDS):
            remove_traces(conn, shard, business, others)
            left = traces(conn, shard, business, others)
            if not left:
                break
        else:
            table, rows = next(iter(left.items()))
            raise LarderError(f"{rows} rows of {erasure.name} stay in {table} on {shard.name}", "us", "larder doctor")
        forget_dead_rows(conn, list(erasure.removed[part(shard)]))
        reached("traces gone")


def retired_shards(catalogue: Catalogue) -> list[Shard]:
    """Shards that are out of every cycle and whose databases still answer."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select shard from control.shards where state = 'retired' order by 1")
        names = [name for (name,) in cursor.fetchall()]
    answering = []
    for name in names:
        shard = catalogue.shard(name)
        try:
            psycopg2.connect(shard.dsn, connect_timeout=5).close()
        except psycopg2.OperationalError:
            continue
        answering.append(shard)
    return answering


def _close(conn: Connection, shard: Shard, business: int) -> None:
    """Take no more writes; those that run now are waited for."""
    with conn, conn.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s, %s)", (WRITE_GATE, business))
        cursor.execute(
            sql.SQL("update {} set state = 'out' where business = %s").format(relation(shard, "keys.route")),
            (business,),
        )


def _has_models(conn: Connection, shard: Shard) -> bool:
    with conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("select exists (select from {})").format(relation(shard, "raw.build_mark")))
        return cursor.fetchone() == (True,)
