"""Key tables draw ids down the tree; counters stay right under concurrency; the write gate keeps its word."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from sharding.catalogue import Catalogue
from sharding.ids import business_of, make_id, number_of
from sharding.model import Shard, Source

BUSINESSES = (1, 2**18 - 1, 2**18, 2**19 - 1)


@pytest.fixture(params=BUSINESSES)
def source(request: pytest.FixtureRequest, catalogue: Catalogue) -> Source:
    catalogue.add_business("cafe", "Café", "shard_1", business=request.param)
    return catalogue.add_source("cafe", "till", "main", {})


@pytest.fixture
def cursor(shard: Shard) -> Iterator[Cursor]:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        yield cursor


def insert(cursor: Cursor, table: str, parent: int, source: int, key: str) -> int:
    cursor.execute(
        f"insert into keys.{table} (parent_id, source_id, natural_key) values (%s, %s, %s) returning id",
        (parent, source, key),
    )
    [(id_,)] = cursor.fetchall()
    return int(id_)


def test_triggers_hand_the_business_down_the_tree(source: Source, cursor: Cursor) -> None:
    sale = insert(cursor, "sale", source.id, source.id, "order-1")
    line = insert(cursor, "sale_item", sale, source.id, "order-1/line-1")
    site = insert(cursor, "source_location", source.id, source.id, "site-1")
    cursor.execute(
        "insert into keys.location (parent_id, name) values (%s, 'Main') returning id", (make_id(source.business, 0),)
    )
    [(location,)] = cursor.fetchall()
    ids = [source.id, sale, line, site, location]
    assert {business_of(id_) for id_ in ids} == {source.business}
    assert [number_of(id_) for id_ in ids] == [1, 2, 3, 4, 5]


def test_a_batch_takes_one_range_and_its_ids_are_kept(source: Source, cursor: Cursor) -> None:
    cursor.execute(
        """
        with first as (select keys.reserve(%(b)s, 3) as id)
        insert into keys.sale (id, parent_id, source_id, natural_key)
        select first.id + n, %(s)s, %(s)s, 'order-' || n from first, generate_series(0, 2) as n
        returning id
        """,
        {"b": source.business, "s": source.id},
    )
    ids = [row[0] for row in cursor.fetchall()]
    assert ids == [make_id(source.business, n) for n in (2, 3, 4)]
    assert number_of(insert(cursor, "sale", source.id, source.id, "order-3")) == 5


def test_a_child_of_another_business_is_refused(source: Source, cursor: Cursor) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        insert(cursor, "sale", make_id(source.business ^ 1, 7), source.id, "order-1")


def test_a_natural_key_has_one_id_a_source(source: Source, cursor: Cursor) -> None:
    insert(cursor, "sale", source.id, source.id, "order-1")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        insert(cursor, "sale", source.id, source.id, "order-1")


@pytest.mark.parametrize("how_many", [0, -5])
def test_reserving_nothing_is_refused(shard: Shard, cursor: Cursor, how_many: int) -> None:
    with pytest.raises(psycopg2.Error, match="cannot reserve"):
        cursor.execute("select keys.reserve(1, %s)", (how_many,))


def test_a_counter_stops_at_its_end(shard: Shard, cursor: Cursor) -> None:
    cursor.execute("insert into keys.counter values (1, %s)", (2**45 - 1,))
    cursor.execute("select keys.reserve(1, 1)")
    assert cursor.fetchone() == (make_id(1, 2**45 - 1),)
    with pytest.raises(psycopg2.errors.CheckViolation):
        cursor.execute("select keys.reserve(1, 1)")


def test_concurrent_reservations_never_overlap(shard: Shard) -> None:
    def work(size: int) -> list[range]:
        taken = []
        with closing(psycopg2.connect(shard.dsn)) as connection:
            for _ in range(25):
                with connection, connection.cursor() as cursor:
                    cursor.execute("select keys.reserve(%s, %s)", (2**18, size))
                    [(first,)] = cursor.fetchall()
                    taken.append(range(first, first + size))
        return taken

    with ThreadPoolExecutor(6) as pool:
        ranges = [taken for result in pool.map(work, (1, 2, 3, 5, 8, 13)) for taken in result]
    ids = sorted(id_ for taken in ranges for id_ in taken)
    assert ids == list(range(make_id(2**18, 1), make_id(2**18, 1) + 25 * 32))


class TestWriteGate:
    """The first statement of every write transaction."""

    @pytest.fixture(autouse=True)
    def business(self, catalogue: Catalogue) -> None:
        catalogue.add_business("cafe", "Café", "shard_1", business=1)

    @pytest.mark.parametrize("state", ["paused", "out"])
    def test_refuses_a_business_that_is_not_active(self, cursor: Cursor, state: str) -> None:
        cursor.execute("update keys.route set state = %s", (state,))
        with pytest.raises(psycopg2.Error, match="takes no writes") as caught:
            cursor.execute("select keys.write_gate(1)")
        assert caught.value.pgcode == "LD001"

    def test_refuses_a_business_that_is_not_here(self, cursor: Cursor) -> None:
        with pytest.raises(psycopg2.Error, match="not placed here") as caught:
            cursor.execute("select keys.write_gate(2)")
        assert caught.value.pgcode == "LD001"

    def test_gives_the_epoch_and_holds_a_pause_back_until_commit(self, cursor: Cursor, shard: Shard) -> None:
        cursor.execute("select keys.write_gate(1)")
        assert cursor.fetchone() == (1,)
        pause = "select pg_try_advisory_xact_lock(19450, 1)"
        with closing(psycopg2.connect(shard.dsn)) as mover, mover.cursor() as other:
            other.execute(pause)
            assert other.fetchone() == (False,)
            cursor.connection.commit()
            other.execute(pause)
            assert other.fetchone() == (True,)
