"""Reads on a real streaming replica: only while it is fresh, and on the primary when it gives up, lags, or is gone."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Address, Instance, Shard
from sharding.provision import provision_control, provision_shard
from sharding.replicas import Position, Progress, lags, lsn
from sharding.router import Router
from sharding.settings import Settings
from tests.conftest import UNSAFE_BUT_QUICK, Server, scratch
from tests.sharding.standby import Standby, standby
from tests.waiting import until

SALE = "insert into keys.location (parent_id, name) values (keys.make_id(1, 0), %s)"


@dataclass
class Pair:
    """A primary with a shard and the control database, and its replica."""

    catalogue: Catalogue
    shard: Shard
    replica: Standby

    def router(self, lag: float = 30.0) -> Router:
        return Router(self.catalogue, Settings(replica_lag=lag))

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """On the primary, past the router."""
        with closing(psycopg2.connect(self.shard.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def level(self) -> None:
        self.replica.wait_until_level_with(self.shard.dsn)


@pytest.fixture(scope="module")
def primary() -> Iterator[tuple[Instance, Settings, str]]:
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    settings = Settings(home=home, control_dsn=None)
    try:
        instance = instances.start("main", settings, UNSAFE_BUT_QUICK)
        yield instance, settings, provision_control(instance, settings)
    finally:
        instances.remove("main", settings)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def made(primary: tuple[Instance, Settings, str]) -> Iterator[Pair]:
    instance, settings, dsn = primary
    catalogue = Catalogue(dsn, settings.home)
    catalogue.add_instance(instance)
    provision_shard(catalogue.add_shard("shard_1", instance.name, "shard_1"))
    catalogue.add_business("cafe", "Café", "shard_1", business=1)
    catalogue.add_business("bar", "Bar", "shard_1", business=2)
    with standby(instance, settings) as replica:
        catalogue.add_replica(instance.name, replica.address)
        pair = Pair(catalogue, catalogue.shard("shard_1"), replica)
        pair.sql("create table public.seen (n int) with (autovacuum_enabled = off)")
        pair.sql("grant select on public.seen to larder_router")
        yield pair


@pytest.fixture
def pair(made: Pair) -> Iterator[Pair]:
    """The replica replays, and has all."""
    made.level()
    yield made
    made.replica.sql("select pg_wal_replay_resume()")


def where(router: Router, business: str = "cafe") -> str:
    with router.pinned(business) as connection, connection.cursor() as cursor:
        return asked(cursor)


def asked(cursor: Any) -> str:
    cursor.execute("select pg_is_in_recovery()")
    return "replica" if cursor.fetchone() == (True,) else "primary"


def locations(router: Router, business: str = "cafe") -> set[str]:
    with router.pinned(business) as connection, connection.cursor() as cursor:
        cursor.execute("select name from keys.location")
        return {name for (name,) in cursor.fetchall()}


def open_location(name: str) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute(SALE, (name,))

    return write


def test_reads_go_to_the_replica_and_writes_to_the_primary(pair: Pair) -> None:
    router = pair.router()
    assert where(router) == "replica"
    with router.pinned("cafe", primary=True) as connection, connection.cursor() as cursor:
        assert asked(cursor) == "primary"
    assert where(Router(pair.catalogue, Settings(replica_lag=0))) == "primary"


def test_an_idle_primary_does_not_make_its_replica_old(pair: Pair) -> None:
    router = pair.router(lag=1.5)
    assert where(router) == "replica"
    time.sleep(2)  # longer than it may be behind, and nobody writes
    assert where(router) == "replica"


def test_a_log_that_ends_at_the_end_of_a_file_does_not_make_the_replica_old(
    pair: Pair, primary: tuple[Instance, Settings, str]
) -> None:
    """Where the next entry will be is behind the header of a page that nobody has begun."""
    dsn = instances.superuser_dsn(primary[0], "postgres", primary[1])
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_switch_wal()")  # as archive_timeout and base backups do
        cursor.execute("select (pg_walfile_name_offset(pg_current_wal_insert_lsn())).file_offset")
        assert cursor.fetchone() == (40,)
    until(lambda: lags(pair.shard, 30)[0].bytes == 0, seconds=5)  # after some fifteen more Postgres writes by itself


def test_a_replica_that_is_behind_is_not_read(pair: Pair) -> None:
    router = pair.router(lag=0.5)
    pair.replica.sql("select pg_wal_replay_pause()")
    pair.sql(SALE, "behind")
    time.sleep(0.6)  # now it is too old
    assert "behind" in locations(router) and where(router) == "primary"
    [lag] = lags(pair.shard, 0.5)
    assert lag.state == "behind" and lag.bytes and lag.seconds and lag.seconds > 0.5
    pair.replica.sql("select pg_wal_replay_resume()")
    until(lambda: where(router) == "replica")
    [lag] = lags(pair.shard, 30)
    assert lag.state == "fresh"


def test_what_was_written_here_is_read_here(pair: Pair) -> None:
    router, other = pair.router(lag=60), pair.router(lag=60)
    pair.replica.sql("select pg_wal_replay_pause()")
    assert where(router) == where(other) == "replica"
    router.run("cafe", open_location("mine"))
    assert "mine" in locations(router) and where(router) == "primary"
    assert "mine" not in locations(other) and where(other) == "replica"
    until(lambda: where(router, "bar") == "replica")  # nothing was written of that one
    pair.replica.sql("select pg_wal_replay_resume()")
    pair.level()
    until(lambda: where(router) == "replica")
    assert "mine" in locations(router)


def test_a_move_that_the_replica_has_not_seen_is_read_on_the_primary(pair: Pair) -> None:
    router = pair.router(lag=60)
    pair.replica.sql("select pg_wal_replay_pause()")
    assert where(router) == "replica"
    pair.sql("update keys.route set epoch = epoch + 1 where business = 1")
    with pair.catalogue.connect() as control, control.cursor() as cursor:
        cursor.execute("update control.businesses set epoch = epoch + 1 where business = 1")
    assert where(pair.router(lag=60)) == "primary"


@pytest.mark.parametrize("replayed", ["vacuum public.seen", "truncate public.seen"])
def test_what_the_replica_cancels_is_asked_of_the_primary(pair: Pair, replayed: str) -> None:
    pair.sql("truncate public.seen")
    pair.sql("insert into public.seen select generate_series(1, 100)")
    pair.level()
    slow = "select count(*), case when pg_is_in_recovery() then pg_sleep(60)::text end from public.seen"
    cancelled = "select confl_snapshot + confl_lock from pg_stat_database_conflicts where datname = current_database()"
    [(before,)] = pair.replica.sql(cancelled, pair.shard.database)

    def give_reason() -> None:
        running = "select 1 from pg_stat_activity where query like 'select count(*), case%' and state = 'active'"
        until(lambda: bool(pair.replica.sql(running)))
        pair.sql("delete from public.seen where n > 10")
        pair.sql(replayed)

    other = threading.Thread(target=give_reason)
    router = pair.router()
    with router.pinned("cafe") as connection, connection.cursor() as cursor, connection.cursor() as second:
        assert asked(cursor) == "replica"
        second.execute("select n from public.seen order by n")
        other.start()
        cursor.execute(slow)
        other.join()
        assert cursor.fetchall() == [(0 if "truncate" in replayed else 10, None)]
        assert asked(cursor) == "primary"
        assert len(second.fetchall()) == 100  # read before, and still there
        assert asked(second) == "primary"
    router.close()  # a session tells its statistics when it ends
    until(lambda: pair.replica.sql(cancelled, pair.shard.database) == [(before + 1,)])


def test_a_statement_that_takes_too_long_is_not_sent_again(pair: Pair) -> None:
    with (
        pytest.raises(psycopg2.errors.QueryCanceled),
        pair.router().pinned("cafe") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("set local statement_timeout = 50")
        cursor.execute("select pg_sleep(60)")


def test_a_replica_that_is_killed_is_done_without(pair: Pair) -> None:
    router = pair.router()
    with router.pinned("cafe") as connection, connection.cursor() as cursor:
        assert asked(cursor) == "replica"
        pair.replica.stop("immediate")
        assert asked(cursor) == "primary"
    assert where(router) == "primary"
    [lag] = lags(pair.shard, 30)
    assert lag.state == "down" and "refused" in lag.message
    pair.replica.start()
    router = pair.router()
    until(lambda: where(router) == "replica")


def test_a_promoted_replica_is_none_any_more(pair: Pair, primary: tuple[Instance, Settings, str]) -> None:
    instance, settings, _ = primary
    with standby(instance, settings) as second:
        second.wait_until_level_with(pair.shard.dsn)
        shard = replace(pair.shard, replicas=(second.address,))
        pair.catalogue.add_replica(instance.name, second.address)
        pair.catalogue.remove_replica(instance.name, pair.replica.address)
        try:
            router = pair.router()
            until(lambda: where(router) == "replica")
            second.control("promote")
            second.sql("delete from keys.route", pair.shard.database)
            assert where(router) == where(router) == "primary"  # over the connection that it had, and over a new one
            [lag] = lags(shard, 30)
            assert lag.state == "promoted"
        finally:
            pair.catalogue.add_replica(instance.name, pair.replica.address)
            pair.catalogue.remove_replica(instance.name, second.address)


def test_another_cluster_is_no_replica(pair: Pair, server: Server) -> None:
    stranger = Address(server.instance.host, server.instance.port)
    secret = instances.secret_path(server.instance.name, server.settings)
    assert secret.read_text() != pair.shard.password  # else it would be asked, and found to be another cluster
    pair.catalogue.add_replica("main", stranger)
    try:
        router = pair.router()
        assert {where(router) for _ in range(4)} == {"replica", "primary"} or where(router) == "replica"
        [foreign] = [lag for lag in lags(pair.catalogue.shard("shard_1"), 30) if lag.address == stranger]
        assert foreign.state == "down"
    finally:
        pair.catalogue.remove_replica("main", stranger)
    with pytest.raises(LarderError, match="main has no replica at"):
        pair.catalogue.remove_replica("main", stranger)


class TestProof:
    """What proves that a replica is at most the bound behind, without a server."""

    def test_a_position_noted_within_the_bound(self) -> None:
        progress = Progress(10)
        progress.note(Position(at=100, lsn=50, clock=1000, system=1))
        progress.note(Position(at=108, lsn=90, clock=1008, system=1))
        assert progress.proves(50, None, 105) and progress.proves(89, None, 109)
        assert not progress.proves(49, None, 105)
        assert not progress.proves(89, None, 111)  # the first is too old, the second not reached
        assert progress.proves(90, None, 117) and not progress.proves(90, None, 119)

    def test_the_time_of_the_last_transaction_by_the_primarys_clock(self) -> None:
        progress = Progress(10)
        assert not progress.proves(10, 1000, 0)
        progress.note(Position(at=100, lsn=50, clock=5000, system=1))
        assert progress.proves(10, 4995, 104) and not progress.proves(10, 4993, 104)

    def test_the_primary_is_asked_again_before_proofs_run_out(self) -> None:
        progress = Progress(10)
        assert progress.due(0)
        progress.note(Position(at=100, lsn=50, clock=5000, system=1))
        assert not progress.due(104) and progress.due(106)

    def test_positions_are_numbers(self) -> None:
        assert lsn("0/16B3748") < lsn("0/FFFFFFFF") < lsn("1/0") == 2**32
