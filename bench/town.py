"""Two servers with a shard each, and businesses with sales on the first, in which `bench.moves` measures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from bench.orders import records
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.moving.copying import connect
from sharding.moving.journal import steps
from sharding.moving.layout import MovedTable, moved_tables
from sharding.moving.mover import Mover
from sharding.provision import provision_control, provision_shard
from sharding.settings import Settings

BUSINESS, NEIGHBOUR = 7, 8
LINES = 2
FACTS = 1 + LINES
"""Rows of facts that a sale makes: itself and its lines. Each has its id in `keys`, beside the record and its head."""
MOVED = ("raw_till.orders", "raw.head", "keys.sale", "keys.sale_item")
_AT_ONCE = 50_000
_SHAPES = 50
_LEFT_OUT = {"tenders", "net_amounts", "total_service_charge_money"}
_LEFT_OUT_OF_A_LINE = {
    "catalog_version", "modifiers", "applied_taxes", "variation_total_price_money", "total_discount_money",
    "total_service_charge_money",
}  # fmt: skip
SALES = f"""
with drawn as (select keys.reserve(%(business)s, %(n)s * {2 + LINES}) as first),
shapes as materialized (select array(select jsonb_array_elements(%(shapes)s)) as shape),
numbered as materialized (
    select
        n, %(prefix)s || n as natural_key, first + n as version, first + %(n)s + n as sale,
        first + {2} * %(n)s + {LINES} * n as item
    from drawn, generate_series(0, %(n)s - 1) as n
),
versions as (
    insert into raw_till.orders (version_id, source_id, natural_key, operation, modified_at, observed_at, block_id,
        generation, ordinal, hash, payload)
    select version, %(source)s, natural_key, 'U', now(), now(), gen_random_uuid(), 1, n, gen_random_uuid(),
        shape[1 + n %% cardinality(shape)] || jsonb_build_object('id', natural_key, 'version', n, 'total', n * 0.25)
    from numbered, shapes
),
heads as (
    insert into raw.head (source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id,
        ordinal, generation, last_seen_at)
    select %(source)s, 'orders', natural_key, version, gen_random_uuid(), now(), now(), gen_random_uuid(), n, 1, now()
    from numbered
),
sold as (
    insert into keys.sale (id, parent_id, source_id, natural_key)
    select sale, %(source)s, %(source)s, natural_key from numbered
)
insert into keys.sale_item (id, parent_id, source_id, natural_key)
select item + line, sale, %(source)s, natural_key || ':' || line from numbered, generate_series(0, {LINES - 1}) as line
"""


def shapes() -> list[dict[str, Any]]:
    """Orders of two lines, some 1.5 KB each, without what a till says three times."""
    found = []
    for text in records(4 * _SHAPES):
        order = {name: value for name, value in json.loads(text).items() if name not in _LEFT_OUT}
        lines = [{k: v for k, v in line.items() if k not in _LEFT_OUT_OF_A_LINE} for line in order["line_items"]]
        if len(lines) == LINES:
            found.append({**order, "line_items": lines})
    return found[:_SHAPES]


class Town:
    """A business with `rows` sales, and a small one beside it."""

    def __init__(self, settings: Settings, rows: int) -> None:
        control = instances.start("control", settings)
        self.catalogue = Catalogue(provision_control(control, settings), settings.home)
        self._superusers = []
        for name in ("old", "new"):
            at = instances.start(name, settings)
            self._superusers.append(instances.superuser_dsn(at, "postgres", settings))
            self.catalogue.add_instance(at)
            provision_shard(self.catalogue.add_shard(name, name, name))
        self.old, self.new = self.catalogue.shard("old"), self.catalogue.shard("new")
        self._shapes = shapes()
        self.sources = {}
        for shard in (self.old, self.new):
            with on(shard) as conn, conn.cursor() as cursor:
                cursor.execute("select raw.ensure_stream('till', 'orders', array[]::text[])")
        for business, name, count in ((BUSINESS, "chain", rows), (NEIGHBOUR, "cafe", 2_000)):
            self.catalogue.add_business(name, name, "old", business=business)
            self.sources[business] = self.catalogue.add_source(name, "till", "till", {}).id
            self._fill(business, count)
        self.tidy_up(self.old)
        with on(self.old) as conn, conn.cursor() as cursor:
            cursor.execute("select pg_table_size('raw_till.orders') / 1e6")
            [(megabytes,)] = cursor.fetchall()
        self.megabytes = float(megabytes)

    def _fill(self, business: int, count: int) -> None:
        parts = [(first, min(_AT_ONCE, count - first)) for first in range(0, count, _AT_ONCE)]

        def fill(part: tuple[int, int]) -> None:
            with on(self.old) as conn, conn.cursor() as cursor:
                cursor.execute("set local synchronous_commit = off")
                cursor.execute(SALES, self.sales(business, part[1], f"s{part[0]}-", self._shapes))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(fill, parts))

    def sales(
        self, business: int, count: int, prefix: str, like: Sequence[Mapping[str, Any]] | None = None
    ) -> dict[str, object]:
        """What `SALES` takes to write so many of them."""
        made = json.dumps(list(like or self._shapes[:1]))
        return {"business": business, "source": self.sources[business], "n": count, "prefix": prefix, "shapes": made}

    def mover(self, business: int) -> Mover:
        """A mover with no models to build."""
        return Mover(self.catalogue, business, lambda shard: None)

    def tables(self) -> list[MovedTable]:
        """The tables with rows that count."""
        with on(self.old) as conn:
            return [table for table in moved_tables(conn, self.old) if table.name in MOVED]

    def told(self, move_id: int, step: str) -> Mapping[str, Any]:
        """What the journal of a move says of a step."""
        [found] = [detail for _, name, detail in steps(self.catalogue, move_id) if name == step]
        return found

    def tidy_up(self, shard: Shard) -> None:
        """Vacuum what was written and deleted, as time would have."""
        with closing(connect(shard)) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            for table in self.tables():
                cursor.execute(sql.SQL("vacuum analyze {}").format(table.at(shard)))

    def settle(self) -> None:
        """Both servers begin what comes with nothing left to write."""
        for dsn in self._superusers:
            with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cursor:
                conn.autocommit = True
                cursor.execute("checkpoint")


@contextmanager
def on(shard: Shard) -> Iterator[Connection]:
    """A connection of the mover: one transaction."""
    with closing(connect(shard)) as conn, conn:
        yield conn
