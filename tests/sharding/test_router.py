"""The router finds a business, notices when catalogue and shard disagree, and repeats refused writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.router import Router, fan_out


def execute(dsn: str, *statements: str) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def write(connection: Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute("select keys.write_gate(1), current_database()")
        [(_, database)] = cursor.fetchall()
        cursor.execute("insert into keys.location (parent_id, name) values (keys.make_id(1, 0), 'here')")
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
    with router.pinned("cafe") as connection:
        assert write(connection) == shard.database
    assert locations(shard) == 1
    with pytest.raises(RuntimeError), router.pinned(1) as connection:
        write(connection)
        raise RuntimeError
    assert locations(shard) == 1
    assert connection.closed


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
    attempts: list[int] = []

    def resumed_meanwhile(connection: Connection) -> str:
        attempts.append(1)
        if len(attempts) == 2:
            execute(shard.dsn, "update keys.route set state = 'active'")
        return write(connection)

    assert Router(catalogue).run("cafe", resumed_meanwhile) == shard.database


def test_other_errors_are_not_repeated(two: tuple[Shard, Shard, Catalogue]) -> None:
    calls: list[int] = []

    def fail(connection: Connection) -> None:
        calls.append(1)
        connection.cursor().execute("select 1 / 0")

    with pytest.raises(psycopg2.errors.DivisionByZero):
        Router(two[2]).run("cafe", fail)
    assert len(calls) == 1


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
