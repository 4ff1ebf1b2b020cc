"""A business's role sees nothing of others, by any path; and the matrix that says so can fail."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from tests.sharding.access.conftest import MARK, ROWS, THEIRS, World
from tests.sharding.access.leaks import callable_functions, leaks, writable

POLICY = "using (location_id >= (select low from keys.own_range) and location_id <= (select high from keys.own_range))"


@pytest.mark.parametrize("role", ["bi", "raw"])
def test_no_relation_tells_of_another_business(world: World, role: str) -> None:
    with closing(world.connect()) as admin, closing(world.connect(getattr(world, role))) as session:
        assert list(leaks(admin, session, THEIRS, MARK[THEIRS])) == []


@pytest.mark.parametrize("role", ["bi", "raw"])
def test_no_function_of_ours_is_theirs_to_call(world: World, role: str) -> None:
    with closing(world.connect(getattr(world, role))) as session:
        assert callable_functions(session) == []
        assert writable(session) == []


def test_each_role_sees_its_own_rows(world: World) -> None:
    with closing(world.connect(world.bi)) as session, session.cursor() as cursor:
        cursor.execute("select count(*) from bi.fct_sale")
        assert cursor.fetchall() == [(ROWS,)]
        cursor.execute("select business_slug from bi.dim_business")
        assert [slug for (slug,) in cursor.fetchall() if not slug.startswith("mark")] in ([], ["cafe"])
        cursor.execute("select count(*) from custom.cafe__members")
        assert cursor.fetchall() == [(ROWS,)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("select * from raw.head")
    with closing(world.connect(world.raw)) as session, session.cursor() as cursor:
        cursor.execute("select count(*) from raw.head")
        assert cursor.fetchall() == [(ROWS,)]


@pytest.mark.parametrize(
    ("broken", "undo", "relation", "role"),
    [
        (
            "drop policy own_rows on marts.sum_sales_day; create policy own_rows on marts.sum_sales_day for select"
            " to larder_tenant using (true)",
            f"drop policy own_rows on marts.sum_sales_day; create policy own_rows on marts.sum_sales_day for select"
            f" to larder_tenant {POLICY}",
            "bi.sum_sales_day",
            "bi",
        ),
        (
            "alter table marts.fct_sale disable row level security",
            "alter table marts.fct_sale enable row level security",
            "fct_sale",
            "bi",
        ),
        (
            "alter view bi.fct_sale set (security_invoker = false)",
            "alter view bi.fct_sale set (security_invoker = true)",
            "bi.fct_sale",
            "bi",
        ),
        (
            "grant select on marts.some_totals to larder_tenant",
            "revoke select on marts.some_totals from larder_tenant",
            "some_totals",
            "bi",
        ),
        (
            "alter table raw.head disable row level security",
            "alter table raw.head enable row level security",
            "raw.head",
            "raw",
        ),
    ],
)
def test_the_matrix_shows_what_is_taken_away(world: World, broken: str, undo: str, relation: str, role: str) -> None:
    with (
        world.changed(broken, undo),
        closing(world.connect()) as admin,
        closing(world.connect(getattr(world, role))) as session,
    ):
        assert any(leaks(admin, session, THEIRS, MARK[THEIRS], only=relation))


@pytest.mark.parametrize("role", ["bi", "raw"])
def test_what_sql_can_show_of_ways_out(world: World, role: str) -> None:
    access = getattr(world, role)
    with closing(world.connect(access)) as session, session.cursor() as cursor:
        cursor.execute("select datname from pg_database where datallowconn and has_database_privilege(oid, 'connect')")
        reached = {name for (name,) in cursor.fetchall()}
        assert world.shard.database in reached
        assert not {name for name in reached if name.startswith(("shard", "larder_control"))} - {world.shard.database}
        cursor.execute("select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication"
                       " from pg_roles where rolname = current_user")  # fmt: skip
        assert cursor.fetchall() == [(False,)]
        cursor.execute("select count(*) from pg_foreign_data_wrapper")
        assert cursor.fetchall() == [(0,)]
    refused = (
        "create extension dblink", "create extension postgres_fdw", "create server other foreign data wrapper nothing",
        "copy bi.dim_business to program 'true'", "copy bi.dim_business to '/tmp/out'",
        "select pg_read_file('PG_VERSION')",
        "select pg_ls_dir('.')", "select lo_from_bytea(0, 'x')", "select pg_advisory_lock(19450, 300001)",
        "create table public.mine (a int)", "create schema mine", "create temp table mine (a int)",
        "set role larder_transformer", "set session authorization larder_transformer",
        "set session_replication_role = replica", "set temp_file_limit = -1", "alter role current_user superuser",
        "insert into keys.tenant values ('x', 300001)", "update keys.tenant set business = 300001",
        "do language plpython3u 'pass'", "select * from pg_authid",
    )  # fmt: skip
    for statement in refused:
        with closing(world.connect(access)) as session, session.cursor() as cursor:
            cursor.execute("set default_transaction_read_only = off")
            session.commit()
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement)
                pytest.fail(statement)


def test_a_session_begins_limited(world: World) -> None:
    with closing(world.connect(world.bi)) as session, session.cursor() as cursor:
        cursor.execute(
            "select current_setting('default_transaction_read_only'), current_setting('statement_timeout'),"
            " current_setting('temp_file_limit'), rolconnlimit from pg_roles where rolname = current_user"
        )
        assert cursor.fetchall() == [("on", "1min", "1GB", 10)]


def test_the_reader_of_all_still_reads_all(world: World) -> None:
    """Row security is on under it too."""
    [(rows,)] = world.admin("set local role larder_reader; select count(*) from bi.fct_sale")
    assert rows == 2 * ROWS
