"""Statistics of statements: by role and database, for the inspector alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest

from sharding import statements
from sharding.access.tenants import grant_access, open_session, revoke_access
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import INSPECTOR, LOADER, Shard, postgres_url
from tests.conftest import Server


def ask(shard: Shard, role: str, query: str, times: int = 1) -> None:
    with closing(psycopg2.connect(shard.as_role(role).dsn)) as conn, conn, conn.cursor() as cur:
        for _ in range(times):
            cur.execute(query)


def test_what_a_role_asked_is_counted(shard: Shard) -> None:
    ask(shard, INSPECTOR, "select count(*), 'of whom' from keys.route where name = 'a guest'", times=3)
    ask(shard, LOADER, "select pg_sleep(0.05)")
    found = {one.reader: one for one in statements.usage(shard, [shard.database])}
    assert found[INSPECTOR].calls >= 3 and found[INSPECTOR].total_ms > 0
    assert found[LOADER].max_ms >= 50
    assert {one.database for one in found.values()} == {shard.database}
    slowest = statements.slowest(shard, shard.database, LOADER)
    assert slowest[0].text == "select pg_sleep($1)" and slowest[0].mean_ms >= 50
    mine = [one.text for one in statements.slowest(shard, shard.database, INSPECTOR, limit=100)]
    assert any("keys.route" in text for text in mine) and not any("a guest" in text for text in mine)


def test_commands_are_not_kept(shard: Shard) -> None:
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("create role told_of login password 'never-to-be-seen'")
        cur.execute("drop role told_of")
        cur.execute("select 'a query'")
    texts = [one.text for one in statements.slowest(shard, shard.database, limit=1000)]
    assert "select $1" in texts and not any("never-to-be-seen" in text for text in texts)


@pytest.mark.parametrize("reads_raw", [False, True])
def test_a_business_learns_nothing_of_it(server: Server, catalogue: Catalogue, shard: Shard, reads_raw: bool) -> None:
    catalogue.add_business("cafe", "Cafe", "shard_1")
    role = grant_access(catalogue, "cafe", raw=reads_raw).role
    try:
        with closing(open_session(catalogue, "cafe")) as session:
            at = session.get_dsn_parameters()
            password = session.info.password
            with session.cursor() as cur:
                cur.execute("select count(*) from pg_extension where extname = 'pg_stat_statements'")
                assert cur.fetchall() == [(0,)]  # not in the database that it may enter
        dsn = postgres_url(at["user"], password, at["host"], int(at["port"]), "postgres")
        with pytest.raises(psycopg2.OperationalError, match="does not have CONNECT privilege"):
            psycopg2.connect(dsn)
        server.execute(f"grant connect on database postgres to {role}")  # as servers that others run may do
        for query in (
            f"select * from {statements.SCHEMA}.pg_stat_statements",
            f"select * from {statements.SCHEMA}.pg_stat_statements_info",
            f"select * from {statements.SCHEMA}.pg_stat_statements(true)",
            f"select {statements.SCHEMA}.pg_stat_statements_reset()",
        ):
            with (
                closing(psycopg2.connect(dsn)) as conn,
                conn.cursor() as cur,
                pytest.raises(psycopg2.errors.InsufficientPrivilege),
            ):
                cur.execute(query)
    finally:
        revoke_access(catalogue, "cafe")


def test_the_inspector_reads_and_does_not_reset(shard: Shard) -> None:
    at = shard.as_role(INSPECTOR)
    dsn = postgres_url(at.username, at.password, at.host, at.port, "postgres")
    with (
        closing(psycopg2.connect(dsn)) as conn,
        conn.cursor() as cur,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cur.execute(f"select {statements.SCHEMA}.pg_stat_statements_reset()")


def test_a_server_without_it_says_what_to_do(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_is_loaded", lambda cursor: False)
    assert statements.install(shard) is False
    with pytest.raises(LarderError, match="shared_preload_libraries") as missing:
        statements.usage(shard, [shard.database])
    assert missing.value.turn == "config" and "larder up" in missing.value.next_command


def test_installing_again_does_nothing(shard: Shard) -> None:
    assert statements.install(shard) and statements.install(shard)


def test_an_administrator_who_may_not_goes_without(server: Server, shard: Shard) -> None:
    server.execute("create role plain login createrole password 'plain'")
    server.execute("grant connect on database postgres to plain")
    try:
        assert statements.install(replace(shard, username="plain", password="plain")) is False
    finally:
        server.execute("revoke connect on database postgres from plain")
        server.execute("drop role plain")
