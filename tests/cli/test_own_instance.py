"""An enterprise's own instance: a second Postgres that is made for one business, which moves there while it trades."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from pytest_httpserver import HTTPServer

from orchestration.cycle import run_cycle
from orchestration.erasing import Eraser
from orchestration.moves import mover
from sharding import instances
from sharding.access.tenants import carry_access, open_session
from sharding.model import INSPECTOR, LOADER, MOVER, ROUTER, TRANSFORMER, Shard, postgres_url
from sharding.placing import own_shard
from sharding.settings import Settings, get_settings
from tests.cli.conftest import Ran
from tests.cli.world import shop_world
from tests.conftest import Server
from tests.orchestration.shop import Shop

pytestmark = pytest.mark.faults

OWN = "pg_cafe"
VIEW = "create or replace view {bi}.fct_sale with (security_invoker = true) as select * from {marts}.fct_sale"
SALES = "select natural_key, total from bi.fct_sale order by 1"


@pytest.fixture
def shop(server: Server, httpserver: HTTPServer, tmp_path: Path) -> Iterator[Shop]:
    """Two businesses that trade on shards of one server."""
    with shop_world(server, httpserver, tmp_path) as made:
        try:
            yield made
        finally:
            if OWN in instances.known(get_settings()):
                instances.remove(OWN, get_settings())


@pytest.fixture
def settings(shop: Shop) -> Settings:
    """The shop's, for the command line."""
    return get_settings()


def rows(session: Connection, query: str) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall() if cursor.description else []


def show(shard: Shard) -> None:
    """The view that the project's models make over facts."""
    with closing(psycopg2.connect(shard.as_role(TRANSFORMER).dsn)) as conn, conn:
        opened = "select {keys}.open_to_bi(array['{bi}.fct_sale', '{marts}.fct_sale']::regclass[])"
        rows(conn, shard.render(f"{VIEW}; {opened}"))


def test_an_enterprise_has_a_server_to_itself(
    larder: Callable[..., Ran], shop: Shop, settings: Settings, server: Server
) -> None:
    catalogue = shop.installation.catalogue
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    assert not run_cycle(shop.installation).failures
    show(shop.shards[0])
    granted = larder("access", "grant", "cafe", "--raw", "--json").json
    refused = larder("access", "grant", "cafe", "--raw", "--workspace", "1")
    catalogue.add_business("corner", "Corner", "shard_2")
    assert refused.code != 0 and "shares" in refused.err
    with closing(open_session(catalogue, "cafe")) as session:
        assert rows(session, SALES) == [("a", Decimal("3.1000"))]

    # As `larder business isolate cafe --instance pg_cafe`, over the shop's few models.
    own = own_shard(catalogue, settings, "cafe", "instance", OWN, lambda line: None)
    assert mover(shop.installation, "cafe").move("own_cafe").state == "flipped"
    assert (own.instance, own.username) == (OWN, "larder_admin") and own.port != server.instance.port
    assert [b.name for b in catalogue.businesses() if b.shard == "own_cafe"] == ["cafe"]

    # Trade goes on, on the new server.
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "c", "1.00")
    assert not run_cycle(shop.installation).failures
    show(own)
    assert mover(shop.installation, "cafe").finish().state == "done"

    # The role has gone along, with its password, and has a schema to write in, of a megabyte.
    changed = larder("access", "grant", "cafe", "--raw", "--workspace", "1", "--json").json
    assert changed["role"] == granted["role"] and changed["shard"] == "own_cafe"
    with closing(open_session(catalogue, "cafe")) as session:
        session.autocommit = True
        assert rows(session, SALES) == [("a", Decimal("3.1000")), ("c", Decimal("1.0000"))]
        assert rows(session, "select count(*) from raw_acme.sales_current") == [(2,)]
        rows(session, "create table workspace.budget as select natural_key, total * 2 as goal from bi.fct_sale")
        assert rows(session, "select sum(goal) from workspace.budget") == [(Decimal("8.2000"),)]
        with pytest.raises(psycopg2.errors.DiskFull):
            rows(session, "create table workspace.more as select repeat('x', 500) from generate_series(1, 5000)")
        query = "select datname from pg_database where datallowconn and has_database_privilege(oid, 'connect')"
        reachable = rows(session, query)
        assert reachable == [(own.database,)]
        for statement in (
            "create extension dblink", "create extension postgres_fdw", "create server other foreign data wrapper none",
            "copy bi.fct_sale to program 'cat'", "select pg_read_file('PG_VERSION')", "select pg_advisory_lock(1)",
            "create schema mine", "create table marts.mine ()", "drop event trigger larder_hold_workspaces",
            "set role larder_admin", "select * from pg_authid",
            "create subscription s connection 'host=127.0.0.1' publication p",
        ):  # fmt: skip
            with pytest.raises(psycopg2.Error):
                rows(session, statement)
                pytest.fail(statement)
        password = session.info.password
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg2.OperationalError, match="CONNECT privilege"):
            psycopg2.connect(postgres_url(granted["role"], password, own.host, own.port, database))
    with pytest.raises(psycopg2.OperationalError):  # where it was, it is no more
        psycopg2.connect(postgres_url(granted["role"], password, own.host, server.instance.port, "postgres"))

    # Nobody of Larder's is a superuser there, nor was anybody but the one who made the server.
    with closing(psycopg2.connect(own.server_dsn)) as admin:
        parts = ["larder_admin", LOADER, TRANSFORMER, MOVER, ROUTER, INSPECTOR, granted["role"]]
        found = rows(admin, "select rolname::text from pg_roles where rolsuper or rolbypassrls or rolreplication")
        assert not {name for (name,) in found} & set(parts)
        owners = rows(admin, "select datname::text, pg_get_userbyid(datdba)::text from pg_database where datallowconn")
        assert dict(owners)[own.database] == "larder_admin"

    # A neighbour cannot come to an instance with a workspace, nor the workspace to one with neighbours.
    with pytest.raises(Exception, match="shares"):
        carry_access(catalogue, "cafe", "shard_2")

    # It is kept with the rest, and goes with the rest.
    kept = larder("backup", "make", "own_cafe", "--json")
    assert kept.code == 0, kept.err
    beside = larder("restore", "own_cafe", "--as", "again")
    assert beside.code == 0, beside.err
    again = catalogue.shard("again")
    with closing(psycopg2.connect(again.dsn)) as admin:
        assert rows(admin, "select sum(goal) from workspace.budget") == [(Decimal("8.2000"),)]
        owner = "select tableowner::text from pg_tables where schemaname = 'workspace'"
        assert rows(admin, owner) == [(granted["role"],)]
    Eraser(shop.installation, settings).erase("cafe")
    with closing(psycopg2.connect(own.dsn)) as admin:
        assert rows(admin, "select to_regnamespace('workspace')") == [(None,)]
        assert rows(admin, "select count(*) from raw_acme.sales") == [(0,)]
