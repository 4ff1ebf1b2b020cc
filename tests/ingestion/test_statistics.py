"""A big load leaves statistics behind, a small one does not pay for them."""

from __future__ import annotations

from contextlib import closing
from uuid import uuid4

import psycopg2
import pytest

from ingestion.publish import BlockCount
from ingestion.statistics import refresh
from sharding.model import Shard
from tests.conftest import Server


def _count(versions: int) -> BlockCount:
    return BlockCount(uuid4(), 1, 1, "till", "orders", versions, versions, 0, 0, 0, 0)


@pytest.mark.parametrize(("present", "new", "analyzed"), [(0, 999, False), (0, 1000, True), (9000, 1000, False)])
def test_tables_that_grew_by_a_fifth_are_analyzed(
    server: Server, shard: Shard, present: int, new: int, analyzed: bool
) -> None:
    with closing(psycopg2.connect(shard.dsn)) as conn:
        with conn, conn.cursor() as cur:
            cur.execute(shard.render("select {raw}.ensure_stream('till', 'orders')"))
            cur.execute(
                shard.render("""
                insert into {raw}_till.orders
                select n, 1, n::text, 'U', now(), now(), null, 1, n, gen_random_uuid(), '{}'
                from generate_series(1, %s) as n
                """),
                (present,),
            )
            if present:
                cur.execute(shard.render("analyze {raw}_till.orders"))
        if present:
            told = shard.render("update pg_class set reltuples = 9000 where oid = '{raw}.head'::regclass")
            server.execute(told, shard.database, as_superuser=True)
        tables = refresh(conn, shard.schema("raw"), [_count(new)])
        assert bool(tables) is analyzed
        if analyzed:
            with conn, conn.cursor() as cur:
                cur.execute("select last_analyze is not null from pg_stat_user_tables where relname = 'orders'")
                assert cur.fetchone() == (True,)
