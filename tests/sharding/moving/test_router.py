"""Pins and pools while a business really changes shards: many threads write through one router, and nothing is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.router import Router
from sharding.settings import Settings
from tests.sharding.moving.conftest import BUSINESS, NEIGHBOUR, SALE, Town

WRITERS, READERS = 6, 2


def test_many_threads_write_through_a_move_and_back(town: Town) -> None:
    router = Router(town.catalogue, Settings(pool_size=4))
    stop = threading.Event()
    epochs: set[int] = set()

    def write(writer: int) -> list[str]:
        acknowledged = []
        number = 0
        business, source = (BUSINESS, town.source) if writer else (NEIGHBOUR, town.neighbour_source)
        while not stop.is_set():
            number += 1
            key = f"w{writer}-{number}"

            def sell(connection: Connection, key: str = key) -> None:
                with connection.cursor() as cursor:
                    cursor.execute(SALE.format(business=business, source=source, key=key))

            router.run(business, sell)
            acknowledged.append(key)
            stop.wait(0.01)
        return acknowledged

    def read() -> int:
        reads = 0
        while not stop.is_set():
            with router.pinned(BUSINESS) as connection, connection.cursor() as cursor:
                cursor.execute("select state, epoch from keys.route where business = %s", (BUSINESS,))
                [(state, epoch)] = cursor.fetchall()
                assert state == "active"
                epochs.add(epoch)
            reads += 1
            stop.wait(0.005)
        return reads

    with ThreadPoolExecutor(WRITERS + READERS) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        readers = [pool.submit(read) for _ in range(READERS)]
        try:
            town.mover().move("new")
            assert town.owners() == ["new"]
            town.mover().roll_back()
        finally:
            stop.set()
        written = [future.result() for future in writers]
        assert all(future.result() for future in readers)
    assert town.owners() == ["old"] and epochs == {1, 2, 3}
    found = [key for (key,) in town.sql(town.old, "select natural_key from raw_till.orders where natural_key ~ '^w'")]
    assert sorted(found) == sorted(key for keys in written for key in keys)  # each once, and none lost
    for shard in (town.old, town.new):
        query = (
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'larder'"
        )
        [(connections,)] = town.sql(shard, query)
        assert connections <= 4


def test_a_pin_that_was_opened_before_the_flip_ends_before_it(town: Town) -> None:
    """The flip waits for it, or is refused: nothing is written on the shard that the business has left."""
    router = Router(town.catalogue)
    mover = town.mover()
    with ThreadPoolExecutor(1) as pool:
        with router.pinned(BUSINESS, primary=True) as connection, connection.cursor() as cursor:
            moving = pool.submit(mover.move, "new")
            cursor.execute("select pg_sleep(0.5)")
            cursor.execute(SALE.format(business=BUSINESS, source=town.source, key="late"))
            assert town.owners() == ["old"]
        moving.result()
    assert town.sql(town.new, "select count(*) from raw_till.orders where natural_key = 'late'") == [(1,)]
    with router.pinned(BUSINESS) as connection:
        assert connection.info.dbname == town.new.database


def test_where_catalogue_and_shards_disagree_for_good_it_is_said(town: Town) -> None:
    router = Router(town.catalogue)
    with router.pinned(BUSINESS):
        pass
    town.sql(town.old, "update keys.route set state = 'out' where business = %s", BUSINESS)
    with pytest.raises(LarderError, match="which does not hold it"), router.pinned(BUSINESS):
        pass
    with pytest.raises(LarderError, match=r"takes no writes on this shard \(out\)"):
        router.run(BUSINESS, lambda connection: None, patience=0.1)
