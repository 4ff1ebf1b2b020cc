"""Two Postgres servers with a shard each, a business that trades on the first, and one beside it that stays."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from sharding.moving.copying import connect
from sharding.moving.layout import MovedTable, moved_tables
from sharding.moving.mover import Mover
from sharding.provision import provision_shard
from sharding.router import Router
from sharding.settings import Settings
from tests.conftest import UNSAFE_BUT_QUICK, Server, scratch

BUSINESS, NEIGHBOUR = 300_001, 300_000
"""Above 2^18 their ids are negative; the neighbour's end where the business's begin."""

SALE = """
do $sale$
declare
    version bigint := keys.reserve({business}, 1);
    sale bigint := keys.reserve({business}, 1);
begin
    perform keys.write_gate({business});
    insert into raw_till.orders (version_id, source_id, natural_key, operation, modified_at, observed_at, block_id,
        generation, ordinal, hash, payload)
    values (version, {source}, '{key}', 'U', now(), now(), gen_random_uuid(), 1, 1, gen_random_uuid(),
        '{{"total": 1.50, "note": "tab\\tbackslash\\\\"}}');
    insert into raw.head as head (source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id,
        ordinal, generation, last_seen_at)
    values ({source}, 'orders', '{key}', version, gen_random_uuid(), now(), now(), gen_random_uuid(), 1, 1, now())
    on conflict (source_id, stream, natural_key) do update set version_id = excluded.version_id, hash = excluded.hash;
    insert into raw.feed (integration, stream, source_id, natural_key, operation, version_id)
    values ('till', 'orders', {source}, '{key}', 'I', version);
    insert into raw.link values ({source}, '{key}', 'p|{key}') on conflict do nothing;
    insert into keys.sale (id, parent_id, source_id, natural_key) values (sale, {source}, {source}, '{key}')
    on conflict do nothing;
end $sale$
"""


@pytest.fixture(scope="module")
def other_server(server: Server) -> Iterator[Server]:
    """A second Postgres: transaction ids of the first mean nothing on it."""
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    settings = Settings(home=home, control_dsn=None)
    try:
        made = Server(instances.start("other", settings, UNSAFE_BUT_QUICK), settings, itertools.count(1))
        provision_shard(made.shard("shard"))
        yield made
    finally:
        instances.remove("other", settings)
        shutil.rmtree(home)


@dataclass
class Town:
    """Both shards, the catalogue, and the business's source."""

    old: Shard
    new: Shard
    catalogue: Catalogue
    source: int
    neighbour_source: int

    def sql(self, shard: Shard, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with (
            closing(psycopg2.connect(shard.dsn, options="-c timezone=UTC")) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def sell(self, *keys: str, business: int = BUSINESS) -> None:
        """Sales through the router, as loads write them."""
        source = self.source if business == BUSINESS else self.neighbour_source

        def write(connection: Connection) -> None:
            with connection.cursor() as cursor:
                for key in keys:
                    cursor.execute(SALE.format(business=business, source=source, key=key))

        Router(self.catalogue).run(business, write)

    def mover(self, **options: Any) -> Mover:
        """A mover with no models to build."""
        return Mover(self.catalogue, BUSINESS, lambda shard: None, **{"chunk_rows": 20} | options)

    def rows(self, shard: Shard, business: int = BUSINESS) -> dict[str, list[str]]:
        """Table → the business's rows as text, sorted."""
        found = {}
        with closing(connect(shard)) as connection:
            tables: list[MovedTable] = moved_tables(connection, shard)
            for table in tables:
                with connection, connection.cursor() as cursor:
                    cursor.execute(
                        sql.SQL("select row({})::text from {} where {} order by 1").format(
                            table.column_list, table.at(shard), table.rows_of(business)
                        )
                    )
                    if lines := [line for (line,) in cursor.fetchall()]:
                        found[table.name] = lines
        return found

    def owners(self) -> list[str]:
        """Shards on which the business may be written."""
        query = "select state from keys.route where business = %s"
        return [s.name for s in (self.old, self.new) if self.sql(s, query, BUSINESS) == [("active",)]]

    def sales(self, shard: Shard) -> set[str]:
        """Natural keys of the business's sales on a shard."""
        found = self.sql(shard, "select natural_key from keys.sale where source_id = %s", self.source)
        return {key for (key,) in found}

    def traces(self, shard: Shard) -> dict[str, int]:
        """What a move leaves on a shard besides rows: notes, chunks, triggers, routes."""
        counts = {}
        for table in ("move_change", "move_entry", "move_chunk", "move_index", "route", "counter"):
            [(count,)] = self.sql(shard, f"select count(*) from keys.{table} where business = %s", BUSINESS)
            counts[table] = count
        [(count,)] = self.sql(shard, "select count(*) from pg_trigger where tgname like 'move\\_%%' and %s", True)
        return {name: count for name, count in (counts | {"triggers": count}).items() if count}


@pytest.fixture
def new_town(
    other_server: Server, make_shard: Callable[..., Shard], register: Callable[[Shard], Catalogue], control_dsn: str
) -> Iterator[Callable[[], Town]]:
    """Makes a town with some sales, in place of the one before."""
    made: list[str] = []

    def make() -> Town:
        catalogue = Catalogue(control_dsn)
        with catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute("truncate control.shards cascade")
        while made:
            other_server.drop(made.pop())
        old = make_shard("old")
        register(old)
        made.append(other_server.copy_of("shard"))
        return settle(catalogue, old, other_server, made[-1])

    yield make
    for database in made:
        other_server.drop(database)


@pytest.fixture
def town(new_town: Callable[[], Town]) -> Town:
    """A town with some sales."""
    return new_town()


def settle(catalogue: Catalogue, old: Shard, other: Server, database: str) -> Town:
    """Both businesses with sales on the shard `old`, which the catalogue knows, and a shard on the other server."""
    at = other.instance
    secret = f"file:{instances.secret_path(at.name, other.settings)}"
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, secret))
    catalogue.add_shard("new", at.name, database)
    sources = []
    for business, name in ((BUSINESS, "cafe"), (NEIGHBOUR, "bar")):
        catalogue.add_business(name, name.title(), "old", business=business)
        sources.append(catalogue.add_source(name, "till", "till", {}).id)
    made = Town(catalogue.shard("old"), catalogue.shard("new"), catalogue, *sources)
    made.sql(old, "select raw.ensure_stream('till', 'orders', array['$.payment'])")
    made.sell(*(f"a{n:03d}" for n in range(60)))
    made.sell(*(f"a{n:03d}" for n in range(30)), business=NEIGHBOUR)
    return made
