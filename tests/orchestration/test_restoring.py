"""Backups that were restored: every row is there, what was loaded since is loaded again, the numbers are the till's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from orchestration.backups import back_up, backup_of, vault_of
from orchestration.cycle import Installation, Scope, run_cycle
from orchestration.erasing import Eraser
from orchestration.events import STEPS
from orchestration.restoring import Restorer
from orchestration.transform import target_of
from reconcile.compare import NOT_LOADED, LedgerProblem
from reconcile.run import Reconciliation, SourceResult
from sharding import instances
from sharding.access.tenants import drop_roles, grant_access, revoke_access
from sharding.backup.settle import GAP
from sharding.erasing.traces import traces
from sharding.errors import LarderError
from sharding.model import Business, Instance, Shard
from sharding.placing import place
from sharding.query import read_only
from sharding.settings import Settings
from tests.conftest import UNSAFE_BUT_QUICK, Server
from tests.orchestration.shop import Shop

SUMS = "select business_date::text, net_sales from {marts}.sum_sales_day order by location_id, 1"
SALES = "select natural_key, total from {marts}.fct_sale order by 1"


def rows(shard: Shard, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute(shard.render(query))
        return cursor.fetchall() if cursor.description else []


def from_the_till(shop: Shop) -> Callable[[Installation, Shard, Business], Reconciliation]:
    """The shop's auditor: what the vendor's books add up to, beside the summaries of a shard."""

    def compare(at: Installation, shard: Shard, business: Business) -> Reconciliation:
        latest = {sale["id"]: sale for sale in shop.sales.get(business.name, [])}
        books = sum((Decimal(str(sale["total"])) for sale in latest.values()), Decimal(0))
        low, high = (business.id << 45), (business.id << 45) | ((1 << 45) - 1)
        marts = rows(shard, f"select coalesce(sum(net_sales), 0) from {{marts}}.sum_sales_day"
                            f" where location_id between {low} and {high}")[0][0]  # fmt: skip
        wrong = [] if books == marts else [LedgerProblem("", "sales", f"books {books}, marts {marts}")]
        pending = LedgerProblem("", "?", NOT_LOADED)  # such as an extract leaves meanwhile: not this shard's fault
        result = SourceResult("till", "acme", 0, 0, 0, 0, 0, {}, ledger=[*wrong, pending])
        return Reconciliation(business.name, [result], [])

    return compare


@pytest.fixture
def safe(shop: Shop, settings: Settings, tmp_path: Path) -> Settings:
    """The shop's settings with a place for backups; a first day of trade is built."""
    shop.sell("cafe", "a", "3.10")
    shop.sell("cafe", "b", "4.20", "2025-03-09")
    shop.sell("diner", "c", "7.25")
    assert not run_cycle(shop.installation).failures
    return settings.model_copy(update={"backups": f"file://{tmp_path}/vault"})


@pytest.fixture
def restorer(shop: Shop, safe: Settings) -> Restorer:
    return Restorer(shop.installation, safe, compare=from_the_till(shop))


@pytest.fixture
def drop(server: Server, shop: Shop) -> Iterator[None]:
    """Databases that a restore made are dropped again."""
    before = databases(server)
    yield
    for name in databases(server) - before:
        server.drop(name)


def databases(server: Server) -> set[str]:
    with closing(psycopg2.connect(server.dsn("postgres"))) as conn, conn.cursor() as cursor:
        cursor.execute("select datname from pg_database")
        return {name for (name,) in cursor.fetchall()}


def trade_on(shop: Shop) -> None:
    """After the backup: an edited sale, new ones, in two blocks."""
    for key, total, steps in (("a", "5.10", STEPS[:2]), ("d", "1.00", STEPS)):
        shop.now += timedelta(minutes=30)
        shop.sell("cafe", key, total)
        assert not run_cycle(shop.installation, Scope(steps)).failures


def test_a_lost_shard_comes_back_with_what_was_loaded_since(
    shop: Shop, safe: Settings, restorer: Restorer, server: Server, drop: None
) -> None:
    catalogue = shop.installation.catalogue
    grant_access(catalogue, "cafe", raw=True)
    made = back_up(safe, catalogue, "shard_1")
    assert made == backup_of(vault_of(safe), "shard_1") and made.content.known["ledger"]["blocks"] == 1
    trade_on(shop)
    catalogue.add_source("cafe", "acme", "second till", {"base_url": "https://acme.example"})  # unknown to the backup
    catalogue.set_source_state("cafe/second till", "paused")
    alive = rows(shop.shards[0], SUMS), rows(shop.shards[0], SALES)
    ids = dict(rows(shop.shards[0], "select name, id from {keys}.source"))
    server.drop(shop.shards[0].database)  # the loss

    done = restorer.in_place(made)

    assert (done.rows, done.lost, done.reconciled) == (made.rows, 2, ("cafe",))
    assert done.settled is not None and done.settled.marks_kept and done.settled.sources == 1
    back = catalogue.shard("shard_1")
    assert back.database == shop.shards[0].database
    assert (rows(back, SUMS), rows(back, SALES)) == alive
    assert dict(rows(back, "select name, id from {keys}.source")) == ids
    [(number,)] = rows(back, "select next from {keys}.counter")
    assert number > GAP  # what was given away since the backup is not given to another thing
    policies = "select count(*) from pg_policies where schemaname in ('raw', 'raw_acme', 'keys', 'marts')"
    assert rows(back, policies) == rows(shop.shards[1], policies)
    rights = "select has_table_privilege('larder_loader', 'raw_acme.sales', 'insert'),"
    rights += " has_table_privilege('larder_reader', 'raw_acme.sales', 'select')"
    assert rows(back, rights) == [(True, False)]

    shop.now += timedelta(hours=1)
    shop.sell("cafe", "e", "2.00")  # and trade goes on, on marks that still hold
    report = run_cycle(shop.installation)
    assert not report.failures
    assert [b.reason for b in report.builds if b.shard == "shard_1"] != ["restored on another cluster"]
    assert sum(total for _, total in rows(back, SUMS)) == Decimal("12.3000")
    revoke_access(catalogue, "cafe")


def test_who_left_or_was_erased_does_not_come_back(shop: Shop, safe: Settings, restorer: Restorer, drop: None) -> None:
    catalogue = shop.installation.catalogue
    bar = catalogue.add_business("bar", "Bar", "shard_1").id
    made = back_up(safe, catalogue, "shard_1")
    place(catalogue, "bar", "shard_2")
    cafe = catalogue.business("cafe").id
    Eraser(shop.installation, safe).erase("cafe")
    catalogue.add_business("late", "Late", "shard_1")

    done = restorer.in_place(made)

    assert done.settled is not None
    assert done.settled.gone == tuple(sorted((bar, cafe))) and done.reconciled == ("late",)
    back = catalogue.shard("shard_1")
    assert rows(back, "select name, state from {keys}.route") == [("late", "active")]
    with closing(psycopg2.connect(back.dsn)) as conn:
        assert traces(conn, back, cafe, []) == traces(conn, back, bar, []) == {}


@pytest.mark.faults
def test_beside_it_is_as_it_was_and_nobody_writes_it(
    shop: Shop, safe: Settings, restorer: Restorer, drop: None
) -> None:
    catalogue = shop.installation.catalogue
    then = rows(shop.shards[0], SALES)
    made = back_up(safe, catalogue, "shard_1")
    trade_on(shop)

    restorer.beside(made, "then")

    beside = catalogue.shard("then")
    assert rows(beside, SALES) == then != rows(shop.shards[0], SALES)
    assert beside.state == "retired" and "then" not in {shard.name for shard in catalogue.shards()}
    assert read_only(beside, "select count(*) from {marts}.fct_sale").rows == [(2,)]
    with pytest.raises(psycopg2.Error, match="takes no writes"):
        rows(beside, "select {keys}.write_gate(1)")
    with pytest.raises(LarderError, match="there is a shard shard_2"):
        restorer.beside(made, "shard_2")


@pytest.mark.faults
def test_without_its_last_loads_a_restored_shard_is_refused(
    shop: Shop, safe: Settings, restorer: Restorer, drop: None, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    made = back_up(safe, shop.installation.catalogue, "shard_1")
    trade_on(shop)
    before = databases(server)
    monkeypatch.setattr("ingestion.recovery.lost_loads", lambda *arguments: [])

    with pytest.raises(LarderError, match=r"cafe on the restored shard_1 differs.*books 10\.30, marts 7\.3"):
        restorer.in_place(made)

    assert databases(server) == before
    assert rows(shop.shards[0], "select state from {keys}.route") == [("active",)]  # the old one goes on
    with pytest.raises(LarderError):
        restorer.test(made)
    tested = backup_of(vault_of(safe), made.name).tested
    assert tested is not None and not tested.good and "books 10.30" in tested.said


@pytest.mark.faults
def test_a_restore_test_leaves_a_word_and_nothing_else(
    shop: Shop, safe: Settings, restorer: Restorer, server: Server
) -> None:
    made = back_up(safe, shop.installation.catalogue, "shard_1")
    trade_on(shop)
    before = databases(server)
    index = "select block_id, loaded_at from control.blocks order by 1"
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute(index)
        known = cursor.fetchall()

    tested = restorer.test(made)

    assert (tested.good, tested.rows, tested.caught_up, tested.reconciled) == (True, made.rows, 2, 1)
    assert backup_of(vault_of(safe), "shard_1").tested == tested
    assert databases(server) == before
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute(index)
        assert cursor.fetchall() == known


def test_on_another_server_marks_are_given_up_and_roles_are_made(
    shop: Shop, safe: Settings, restorer: Restorer, tmp_path: Path
) -> None:
    catalogue = shop.installation.catalogue
    role = grant_access(catalogue, "cafe").role
    made = back_up(safe, catalogue, "shard_1")
    trade_on(shop)
    alive = rows(shop.shards[0], SUMS)
    home = Path("/var/tmp") / f"larder-test-other-{tmp_path.parent.name}-{tmp_path.name}"
    home.mkdir(mode=0o755)
    other = Settings(home=home, control_dsn=None)
    try:
        there = instances.start("other", other, UNSAFE_BUT_QUICK)
        secret = instances.secret_path("other", other)
        catalogue.add_instance(
            Instance("elsewhere", "external", there.host, there.port, there.username, f"file:{secret}")
        )
        done = restorer.in_place(made, instance="elsewhere")

        assert done.settled is not None and not done.settled.marks_kept
        back = catalogue.shard("shard_1")
        assert (back.instance, back.port) == ("elsewhere", there.port)
        assert rows(back, SUMS) == alive
        [(marks, late)] = rows(
            back,
            "select count(*), count(*) filter (where cluster <> (select system_identifier from pg_control_system())"
            " or pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot())) from {meta}.mark",
        )
        assert (marks, late) == (2, 0)
        assert rows(back, "select rolcanlogin from pg_roles where rolname = '" + role + "'") == [(True,)]
        assert rows(back, "select business from {keys}.tenant where role = '" + role + "'") == [(1,)]
        assert not run_cycle(shop.installation).failures
        assert shop.installation.transform.due([target_of(back)]) == {}  # no entry of the other server is news for ever
        shop.now += timedelta(hours=1)
        shop.sell("cafe", "e", "2.00")  # a change after it is followed, not passed over
        assert not run_cycle(shop.installation).failures
        assert sum(total for _, total in rows(back, SUMS)) == Decimal("12.3000")
    finally:
        drop_roles(shop.shards[0], catalogue.business("cafe").id)
        instances.remove("other", other)
        shutil.rmtree(home)
