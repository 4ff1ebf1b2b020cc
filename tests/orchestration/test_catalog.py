"""The catalog is vacuumed where temporary tables have left more dead rows than live ones."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from orchestration.catalog import tidy_catalog
from sharding.model import Shard
from tests.waiting import until


def test_a_bloated_catalog_is_vacuumed_and_a_tidy_one_left_alone(shard: Shard) -> None:
    with closing(psycopg2.connect(shard.dsn)) as conn:
        assert tidy_catalog(conn) == ()
        with conn, conn.cursor() as cur:
            for number in range(300):
                cur.execute(f"create temporary table t{number} ({', '.join(f'c{i} int' for i in range(40))})")
            for number in range(300):
                cur.execute(f"drop table t{number}")
    with closing(psycopg2.connect(shard.dsn)) as conn:
        # Statistics of the session that made them arrive when it ends.
        why = "12,000 dead rows of pg_attribute were not found"
        until(lambda: "pg_attribute" in tidy_catalog(conn, many=1000), every=0.1, why=why)
