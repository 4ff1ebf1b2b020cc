"""The router finds a business, notices when catalogue and shard disagree, and repeats refused writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.router import Router, fan_out
from sharding.settings import Settings
from tests.aside import Ended, aside

NEW_LOCATION = "insert into keys.location (parent_id, name) values (keys.make_id(1, 0), 'here')"


def execute(dsn: str, *statements: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def write(connection: Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute("select keys.write_gate(1), current_database()")
        [(_, database)] = cursor.fetchall()
        cursor.execute(NEW_LOCATION)
        return str(database)


def locations(shard: Shard) -> int:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from keys.location")
        [(count,)] = cursor.fetchall()
        return int(count)


@pytest.fixture
def two(make_shard: Callable[..., Shard], register: Callable[[Shard], Catalogue]) -> tuple[Shard, Shard, Catalogue]:
    """Business 1 on shard_1, and shard_2 beside it."""
    shards = make_shard("shard_1"), make_shard("shard_2")
    for shard in shards:
        catalogue = register(shard)
    catalogue.add_business("cafe", "Café", "shard_1", business=1)
    return *shards, catalogue


def move(from_shard: Shard, to_shard: Shard, catalogue: Catalogue) -> None:
    execute(from_shard.dsn, "update keys.route set state = 'out', epoch = 2")
    execute(to_shard.dsn, "insert into keys.route (business, name, display_name, epoch) values (1, 'cafe', 'Café', 2)")
    execute(catalogue.dsn, f"update control.businesses set shard = '{to_shard.name}', epoch = 2")


def test_pinned_commits_and_rolls_back(two: tuple[Shard, Shard, Catalogue]) -> None:
    shard, _, catalogue = two
    router = Router(catalogue)
    with router.pinned("cafe", primary=True) as connection:
        assert write(connection) == shard.database
    assert locations(shard) == 1
    with pytest.raises(RuntimeError), router.pinned(1, primary=True) as connection:
        write(connection)
        raise RuntimeError
    assert locations(shard) == 1
    assert connection.closed


def test_a_pin_writes_only_where_it_says_so(two: tuple[Shard, Shard, Catalogue]) -> None:
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), Router(two[2]).pinned("cafe") as connection:
        connection.cursor().execute(NEW_LOCATION)


def test_nothing_can_be_done_with_a_pin_that_has_ended(two: tuple[Shard, Shard, Catalogue]) -> None:
    router = Router(two[2])
    with router.pinned("cafe") as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
    for use in (lambda: connection.cursor(), lambda: cursor.execute("select 1"), lambda: connection.info):
        with pytest.raises(LarderError, match="the pin of business 1 has ended"):
            use()
    with router.pinned("cafe") as connection:
        for end in (connection.commit, connection.rollback):
            with pytest.raises(LarderError, match="a pin is one transaction"):
                end()


def test_an_error_that_is_kept_from_the_pin_is_not_taken_for_success(two: tuple[Shard, Shard, Catalogue]) -> None:
    shard, _, catalogue = two
    router = Router(catalogue)

    def keeps_an_error() -> None:
        with router.pinned("cafe", primary=True) as connection, connection.cursor() as cursor:
            cursor.execute(NEW_LOCATION)
            with pytest.raises(psycopg2.errors.DivisionByZero):
                cursor.execute("select 1 / 0")

    with pytest.raises(LarderError, match="nothing of the pin of cafe was committed"):
        keeps_an_error()
    assert locations(shard) == 0


LEAVINGS = (
    "set statement_timeout = '10min'",
    "create temporary table left_over (n int)",
    "select pg_advisory_lock(1)",
    "prepare left_over as select 1",
    "listen left_over",
    "declare left_over cursor with hold for select 1",
    "set role left_over_role",
    "set larder.business = '9'",
)
LEFT = """
    select current_setting('statement_timeout') = '0' and to_regclass('pg_temp.left_over') is null
        and not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and objid = 1)
        and not exists (select from pg_prepared_statements) and not exists (select from pg_listening_channels())
        and not exists (select from pg_cursors where name = 'left_over') and current_user = session_user
        and coalesce(current_setting('larder.business', true), '') = '', pg_backend_pid()
"""


def test_no_state_of_a_session_reaches_the_next_pin(two: tuple[Shard, Shard, Catalogue]) -> None:
    router = Router(two[2])
    make_role = "drop role if exists left_over_role", "create role left_over_role"
    execute(two[0].dsn, *make_role, "grant left_over_role to larder_router with inherit false")
    for primary in (True, False):
        with router.pinned("cafe", primary=primary) as connection, connection.cursor() as cursor:
            pid = connection.info.backend_pid
            for statement in LEAVINGS:
                if primary or "temporary" not in statement:
                    cursor.execute(statement)
        with router.pinned("cafe") as connection, connection.cursor() as cursor:
            cursor.execute(LEFT)
            assert cursor.fetchall() == [(True, pid)]
    execute(two[0].dsn, "drop role left_over_role")


def test_a_shard_that_does_not_hold_the_business_is_no_place_for_a_pin(two: tuple[Shard, Shard, Catalogue]) -> None:
    _, _, catalogue = two
    execute(catalogue.dsn, "update control.businesses set shard = 'shard_2'")
    with pytest.raises(LarderError, match="shard_2, which does not hold it"), Router(catalogue).pinned("cafe"):
        pass


def test_a_pin_of_another_epoch_is_refused(two: tuple[Shard, Shard, Catalogue]) -> None:
    shard, _, catalogue = two
    execute(shard.dsn, "update keys.route set epoch = 5")
    with pytest.raises(LarderError, match="at epoch 5, the catalogue says 1"), Router(catalogue).pinned("cafe"):
        pass


def test_a_write_refused_by_a_move_is_repeated_on_the_new_shard(two: tuple[Shard, Shard, Catalogue]) -> None:
    old, new, catalogue = two
    seen: list[str] = []

    def during_a_move(connection: Connection) -> str:
        if not seen:
            move(old, new, catalogue)
        seen.append(connection.info.dbname)
        return write(connection)

    assert Router(catalogue).run("cafe", during_a_move) == new.database
    assert seen == [old.database, new.database]
    assert (locations(old), locations(new)) == (0, 1)


def test_a_paused_business_is_waited_for_and_then_named(two: tuple[Shard, Shard, Catalogue]) -> None:
    shard, _, catalogue = two
    execute(shard.dsn, "update keys.route set state = 'paused'")
    with pytest.raises(LarderError, match=r"business 1 takes no writes on this shard \(paused\)"):
        Router(catalogue).run("cafe", write, patience=0.2)

    with closing(psycopg2.connect(shard.dsn)) as lock, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Router(catalogue).run, "cafe", write)
        with lock, lock.cursor() as cursor:
            cursor.execute("update keys.route set state = 'active'")
        assert waiting.result() == shard.database


def test_other_errors_are_not_repeated(two: tuple[Shard, Shard, Catalogue]) -> None:
    calls: list[int] = []

    def fail(connection: Connection) -> None:
        calls.append(1)
        connection.cursor().execute("select 1 / 0")

    with pytest.raises(psycopg2.errors.DivisionByZero):
        Router(two[2]).run("cafe", fail)
    assert len(calls) == 1


class TestInside:
    """Pins within pins."""

    @pytest.fixture
    def router(self, two: tuple[Shard, Shard, Catalogue]) -> Router:
        two[2].add_business("bar", "Bar", "shard_2", business=2)
        return Router(two[2])

    def test_the_same_business_is_the_same_transaction(self, router: Router) -> None:
        with router.pinned("cafe", primary=True) as outer:
            write(outer)
            with router.pinned(1) as inner, inner.cursor() as cursor:
                assert inner is outer
                cursor.execute("select count(*) from keys.location")
                assert cursor.fetchall() == [(1,)]
        with router.pinned("cafe") as outer, router.pinned("cafe") as inner:
            assert inner is outer

    def test_an_inner_error_takes_back_what_the_inner_pin_wrote(
        self, router: Router, two: tuple[Shard, Shard, Catalogue]
    ) -> None:
        with router.pinned("cafe", primary=True) as outer:
            write(outer)
            with pytest.raises(RuntimeError), router.pinned("cafe", primary=True) as inner:
                write(inner)
                raise RuntimeError
            router.run("cafe", write)
        assert locations(two[0]) == 2

    def test_what_is_read_cannot_be_written_inside(self, router: Router) -> None:
        with router.pinned("cafe"), pytest.raises(LarderError, match="cannot be written inside a pin that only reads"):
            router.run("cafe", write)

    def test_another_business_is_read_over_a_connection_of_its_own(self, router: Router) -> None:
        for primary in (True, False):
            with router.pinned("cafe", primary=primary) as outer, router.pinned("bar") as inner:
                assert inner.info.dbname != outer.info.dbname
        with router.pinned("cafe"), router.pinned("bar", primary=True) as inner:
            assert not inner.closed

    def test_two_businesses_are_never_written_as_if_in_one_transaction(self, router: Router) -> None:
        with router.pinned("cafe", primary=True):
            with pytest.raises(LarderError, match="business 2 cannot be written inside a pin that writes business 1"):
                router.run("bar", write)
            with router.pinned("bar"), pytest.raises(LarderError, match="inside a pin that"):
                router.run("bar", write)


class TestPools:
    """Connections that are kept."""

    def test_a_connection_is_used_again_and_a_dead_one_replaced(self, two: tuple[Shard, Shard, Catalogue]) -> None:
        router = Router(two[2])
        pids = []
        for _ in range(2):
            with router.pinned("cafe", primary=True) as connection:
                pids.append(connection.info.backend_pid)
        assert pids[0] == pids[1]
        execute(two[1].dsn, f"select pg_terminate_backend({pids[0]}, 5000)")
        assert router.run("cafe", write) == two[0].database
        assert backends(two[0]) == 1
        router.close()
        assert backends(two[0]) == 0

    def test_no_more_than_the_limit_and_the_wait_ends(self, two: tuple[Shard, Shard, Catalogue]) -> None:
        router = Router(two[2], Settings(pool_size=2, pool_wait=0.2))
        together = threading.Barrier(2)

        def hold() -> None:
            with router.pinned("cafe"):
                together.wait(10)  # both are held
                together.wait(10)  # the third has given up

        with ThreadPoolExecutor(2) as pool:
            held = pool.submit(hold)
            with router.pinned("cafe"):
                together.wait(10)
                with pytest.raises(LarderError, match=r"all 2 connections to shard_1 were in use for 0\.2 s"):
                    ThreadPoolExecutor(1).submit(lambda: router.pinned("cafe").__enter__()).result()
                together.wait(10)
            held.result()
        assert backends(two[0]) == 2
        with router.pinned("cafe"):
            pass

    def test_many_threads_share_a_few_connections(self, two: tuple[Shard, Shard, Catalogue]) -> None:
        router = Router(two[2], Settings(pool_size=3))
        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(lambda _: router.run("cafe", write), range(60))) == {two[0].database}
        assert locations(two[0]) == 60
        assert backends(two[0]) <= 3

    def test_errors_of_every_kind_give_the_connection_back(self, two: tuple[Shard, Shard, Catalogue]) -> None:
        router = Router(two[2], Settings(pool_size=1, pool_wait=0.2))
        for failing in ("select 1 / 0", "commit", "select pg_terminate_backend(pg_backend_pid())"):
            for primary in (True, False):
                ends = pytest.raises((psycopg2.Error, LarderError, KeyboardInterrupt))
                with ends, router.pinned("cafe", primary=primary) as connection:
                    connection.cursor().execute(failing)
                    raise KeyboardInterrupt
        execute(two[0].dsn, "update keys.route set state = 'paused'")
        with pytest.raises(LarderError, match="takes no writes"):
            router.run("cafe", write, patience=0)
        with router.pinned("cafe") as connection:
            assert not connection.closed

    def test_a_fork_uses_none_of_its_parents_connections(self, two: tuple[Shard, Shard, Catalogue]) -> None:
        router = Router(two[2])
        with router.pinned("cafe"):
            pass
        with router.pinned("cafe", primary=True) as outer:

            def use() -> None:
                with pytest.raises(LarderError, match="of the parent process"):
                    outer.cursor()
                with router.pinned("cafe") as inner:
                    assert inner is not outer

            assert aside(use) == Ended(0, "")
            write(outer)  # the child has neither closed nor ended it
        assert locations(two[0]) == 1


def backends(shard: Shard) -> int:
    """Connections to the shard's database by routers; one that was closed may take a moment to go."""
    query = "select count(*) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    with closing(psycopg2.connect(shard.dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        before = -1
        while True:
            cursor.execute(query, (shard.database,))
            [(count,)] = cursor.fetchall()
            if count == before:
                return int(count)
            before = count
            cursor.execute("select pg_sleep(0.1)")


def test_a_placement_that_became_old_is_asked_for_again(two: tuple[Shard, Shard, Catalogue]) -> None:
    old, new, catalogue = two
    router = Router(catalogue)
    for primary in (True, False):
        with router.pinned("cafe", primary=primary) as connection:
            assert connection.info.dbname == old.database
    move(old, new, catalogue)
    for primary in (False, True):
        with router.pinned("cafe", primary=primary) as connection:
            assert connection.info.dbname == new.database


def test_a_server_that_is_reached_elsewhere_now_is_found(two: tuple[Shard, Shard, Catalogue]) -> None:
    shard, _, catalogue = two
    router = Router(catalogue)
    router.run("cafe", write)
    router.close()
    instance = catalogue.instance(shard.instance)
    wrong = replace(router._placements["cafe"].shard, port=1)
    router._placements["cafe"] = replace(router._placements["cafe"], shard=wrong)
    assert router.run("cafe", write) == shard.database
    catalogue.add_instance(replace(instance, port=1))
    fresh = Router(catalogue)
    with pytest.raises(psycopg2.OperationalError), fresh.pinned("cafe"):
        pass


def test_fan_out_lets_no_failure_stop_the_others(two: tuple[Shard, Shard, Catalogue]) -> None:
    first, second, _ = two

    def fn(shard: Shard) -> str:
        if shard == first:
            raise LarderError("broken", "us", "larder status")
        return shard.name

    outcomes = fan_out(fn, [first, second])
    assert [outcome.value for outcome in outcomes] == [None, "shard_2"]
    assert isinstance(outcomes[0].error, LarderError)


def test_a_namespace_makes_a_second_shard_of_the_same_kind(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard("shard_9", "acme")
    assert shard.schema("raw_till") == "acme_raw_till"
    execute(shard.dsn, "select acme_raw.ensure_stream('till', 'orders')", "select * from acme_raw_till.orders_current")
