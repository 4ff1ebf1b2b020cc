"""Where a business is to live: a shard chosen before it has data, and a shard of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Literal

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import id_range
from sharding.model import WRITE_GATE, Business, Shard
from sharding.moving.copying import connect
from sharding.moving.journal import Journal
from sharding.moving.layout import moved_tables, relation
from sharding.provision import provision_shard
from sharding.settings import Settings

Own = Literal["schema", "database", "instance"]
Say = Callable[[str], None]

PLACED_POINTS = ("closed here", "open there", "gone here")
"""Where a kill leaves another state behind, in order; each is played in tests."""


def make_shard(
    catalogue: Catalogue, settings: Settings, name: str, instance: str, database: str, namespace: str, say: Say
) -> Shard:
    """Add a shard: its instance if it is new (an embedded one), its database and its schemas. Safe to repeat.

    Raises:
        LarderError: turn `you`: the name belongs to a shard elsewhere.
    """
    if instance not in {known.name for known in catalogue.instances()}:
        catalogue.add_instance(instances.start(instance, settings))
        say(f"{instance}: made and started")
    shard = next((known for known in catalogue.shards() if known.name == name), None)
    if shard is None:
        shard = catalogue.add_shard(name, instance, database, namespace)
    elif (shard.instance, shard.database, shard.namespace) != (instance, database, namespace):
        raise LarderError(f"shard {name} is elsewhere: {shard.instance}, {shard.database}", "you", "larder shard list")
    applied = provision_shard(shard)
    say(f"{name}: {'schema version ' + applied[-1] if applied else 'is there already'}")
    return shard


def own_shard(catalogue: Catalogue, settings: Settings, name: str, kind: Own, instance: str | None, say: Say) -> Shard:
    """A shard for one business alone: schemas or a database beside where it lives, or a database of another instance.

    What others can read in a shared catalogue, names of schemas and databases, bears its number and not its name.
    """
    business = catalogue.business(name)
    here = catalogue.shard(business.shard)
    own = f"own_{business.name}"[:41]
    if here.name == own:
        raise LarderError(f"{business.name} has a shard of its own: {own}", "you", f"larder shard show {own}")
    mark = f"b{business.id}"
    if kind == "schema":
        return make_shard(catalogue, settings, own, here.instance, here.database, mark, say)
    return make_shard(catalogue, settings, own, instance or here.instance, f"larder_{mark}", "", say)


def place(catalogue: Catalogue, name: str, shard: str, reached: Callable[[str], None] = lambda point: None) -> Business:
    """Let a business live on another shard, while it has sources at most. Killed, it is repeated.

    Raises:
        LarderError: turn `you`: it has data, which a move brings; the shard takes nobody; it is on its way.
    """
    placed, to = catalogue.business(name), catalogue.shard(shard)
    if placed.shard == to.name:
        return placed
    if to.state != "active":
        raise LarderError(f"{shard} is {to.state}: it takes no new business", "you", "larder shard list")
    from_ = catalogue.shard(placed.shard)
    with Journal.driving(catalogue, placed) as journal:
        if (move := journal.open_move()) is not None:
            raise LarderError(f"{name} is on its way to {move.to_shard}", "you", "larder business moves")
        with closing(connect(from_)) as source, closing(connect(to)) as target:
            if _close_here(source, from_, placed):
                reached("closed here")
                _open_there(source, target, from_, to, placed)
                reached("open there")
                _forget_here(source, from_, placed.id)
                reached("gone here")
        with catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "update control.businesses set shard = %s, epoch = %s where business = %s",
                (to.name, placed.epoch + 1, placed.id),
            )
    return catalogue.business(placed.id)


def _close_here(source: Connection, shard: Shard, business: Business) -> bool:
    """Take no more writes of a business without data. False: it is gone from here, and stands on its new shard."""
    with source, source.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s, %s)", (WRITE_GATE, business.id))
        cursor.execute(
            sql.SQL("select state from {} where business = %s").format(relation(shard, "keys.route")), (business.id,)
        )
        if cursor.fetchone() is None:
            return False
        for table in moved_tables(source, shard):
            if table.name != "keys.source":
                cursor.execute(
                    sql.SQL("select exists (select from {} where {})").format(
                        table.at(shard), table.rows_of(business.id)
                    )
                )
                if cursor.fetchone() == (True,):
                    raise LarderError(
                        f"{business.name} has data on {shard.name} ({table.name})",
                        "you",
                        f"larder business move {business.name} --to SHARD",
                    )
        cursor.execute(
            sql.SQL("update {} set state = 'out' where business = %s").format(relation(shard, "keys.route")),
            (business.id,),
        )
    return True


def _open_there(source: Connection, target: Connection, from_: Shard, to: Shard, business: Business) -> None:
    low, high = id_range(business.id)
    with source, source.cursor() as here, target, target.cursor() as there:
        _copy(
            here, there, from_, to, "keys.source", "id, integration, name, config::text", f"id between {low} and {high}"
        )
        _copy(here, there, from_, to, "keys.counter", "business, next", f"business = {business.id}")
        there.execute(
            sql.SQL(
                "insert into {} (business, name, display_name, epoch, first_weekday, reporting_currency)"
                " values (%s, %s, %s, %s, %s, %s)"
                " on conflict (business) do update set state = 'active', epoch = excluded.epoch"
            ).format(relation(to, "keys.route")),
            (
                business.id, business.name, business.display_name, business.epoch + 1,
                business.first_weekday, business.reporting_currency,
            ),
        )  # fmt: skip


def _copy(here: Cursor, there: Cursor, from_: Shard, to: Shard, name: str, columns: str, condition: str) -> None:
    here.execute(
        sql.SQL("select {} from {} where {}").format(sql.SQL(columns), relation(from_, name), sql.SQL(condition))
    )
    for row in here.fetchall():
        there.execute(
            sql.SQL("insert into {} ({}) values ({}) on conflict do nothing").format(
                relation(to, name),
                sql.SQL(columns.replace("::text", "")),
                sql.SQL(", ").join(sql.Placeholder() * len(row)),
            ),
            row,
        )


def _forget_here(source: Connection, shard: Shard, business: int) -> None:
    low, high = id_range(business)
    with source, source.cursor() as cursor:
        cursor.execute(
            sql.SQL("delete from {} where id between %s and %s").format(relation(shard, "keys.source")), (low, high)
        )
        for name in ("keys.counter", "keys.route"):
            cursor.execute(sql.SQL("delete from {} where business = %s").format(relation(shard, name)), (business,))
