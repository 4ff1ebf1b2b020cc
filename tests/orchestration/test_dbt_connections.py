"""dbt's nodes, one after the other over one connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from orchestration.dbt_call import call_dbt
from sharding.model import Shard

LOOKED_UP = """
select
    pg_backend_pid() as pid,
    current_setting('work_mem') as work_mem,
    to_regclass('pg_temp.left_over') is not null as has_left_over,
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks
"""
LEAVES = """
{{ config(pre_hook=["set work_mem = '7MB'; create temporary table left_over (n int); select pg_advisory_lock(1)"]) }}
"""
DIES = "select pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def dbt(shard: Shard, tmp_path: Path) -> Callable[..., Any]:
    """`dbt(model=sql, …)`: run these models, in the order of their names; the result."""
    at = {
        "type": "postgres", "host": shard.host, "port": shard.port, "user": shard.username, "password": shard.password,
        "dbname": shard.database, "schema": "public", "application_name": "kept", "threads": 1,
    }  # fmt: skip
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"p": {"target": "t", "outputs": {"t": at}}}))
    project = {"name": "some", "profile": "p", "models": {"+materialized": "table"}}
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(project))
    (tmp_path / "models").mkdir()

    def run(**models: str) -> Any:
        for name, query in models.items():
            (tmp_path / "models" / f"{name}.sql").write_text(query)
        places = ["--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path), "--log-path", str(tmp_path)]
        return call_dbt(["run", "--quiet", "--no-send-anonymous-usage-stats", *places])

    return run


def rows(shard: Shard, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(shard.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_nodes_share_a_connection_and_nothing_that_they_did_in_it(dbt: Callable[..., Any], shard: Shard) -> None:
    assert dbt(a=LEAVES + LOOKED_UP, b=LOOKED_UP, c=LOOKED_UP).success
    [(a, *left), (b, *seen), (c, *again)] = rows(
        shard, "select * from a union all select * from b union all select * from c"
    )
    assert a == b == c and left == ["7MB", True, 1]
    assert seen == again and seen[0] != "7MB" and seen[1:] == [False, 0]
    assert rows(shard, "select count(*) from pg_stat_activity where application_name = 'kept'") == [(0,)]


def test_a_connection_that_was_lost_is_not_used_again(dbt: Callable[..., Any], shard: Shard) -> None:
    done = dbt(a=DIES, b=LOOKED_UP)
    assert {r.node.name: str(r.status) for r in done.result.results} == {"a": "error", "b": "success"}
    assert len(rows(shard, "select pid from b")) == 1
