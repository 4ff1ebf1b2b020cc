"""How much each business weighs: bytes by its shard's statistics, records a day by the control database's index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.ids import business_of
from sharding.model import Business, Shard
from sharding.moving.copying import connect
from sharding.moving.layout import MovedTable, moved_tables

DAYS = 7
_SMALL = 10_000  # rows of a table below which who has how many of them is nobody's burden


@dataclass(frozen=True)
class Weight:
    """A business, where it lives, how large it is there and how much comes in a day. Both are estimates."""

    business: Business
    bytes: int
    records_a_day: float

    @property
    def shard(self) -> str:
        return self.business.shard


def weigh(catalogue: Catalogue, shards: Sequence[str]) -> list[Weight]:
    """The businesses of some shards; reads statistics and no rows of theirs."""
    incoming = _records_a_day(catalogue)
    found = []
    for name in shards:
        businesses = catalogue.businesses(name)
        sizes = _sizes(catalogue.shard(name), businesses) if businesses else {}
        found += [Weight(one, sizes[one.id], incoming.get(one.id, 0.0)) for one in businesses]
    return found


def _records_a_day(catalogue: Catalogue) -> dict[int, float]:
    """Business → records a day, over the last days that the index knows."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select source_id, sum(records) from control.blocks"
            " where observed_at > (select max(observed_at) from control.blocks) - make_interval(days => %s) group by 1",
            (DAYS,),
        )
        found: dict[int, float] = {}
        for source_id, records in cursor.fetchall():
            found[business_of(source_id)] = found.get(business_of(source_id), 0.0) + float(records) / DAYS
    return found


def _sizes(shard: Shard, businesses: Sequence[Business]) -> dict[int, int]:
    with closing(connect(shard)) as conn:
        large = [
            (table, width) for table in moved_tables(conn, shard, filled=True) if (width := _width(conn, shard, table))
        ]
        return {
            one.id: sum(int(_rows(conn, shard, one.id, table) * width) for table, width in large) for one in businesses
        }


def _width(conn: Connection, shard: Shard, table: MovedTable) -> float:
    """Bytes a row, with its indexes; 0 for a small table."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select pg_total_relation_size(oid) / reltuples from pg_class where oid = %s::regclass and reltuples > %s",
            (table.at(shard).as_string(cursor), _SMALL),
        )
        row = cursor.fetchone()
    return float(row[0]) if row else 0.0


def _rows(conn: Connection, shard: Shard, business: int, table: MovedTable) -> int:
    """As the planner estimates them: from the histogram of the column that names the business."""
    with conn.cursor() as cursor:
        cursor.execute(
            sql.SQL("explain (format json) select from {} where {}").format(table.at(shard), table.rows_of(business))
        )
        [(plan,)] = cursor.fetchall()
    found = json.loads(plan) if isinstance(plan, str) else plan
    return int(found[0]["Plan"]["Plan Rows"])
