"""Key tables draw ids down the tree; counters stay right under concurrency; the write gate keeps its word."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.catalogue import Catalogue
from sharding.ids import MAX_NUMBER, business_of, make_id
from sharding.model import Shard, Source
from sharding.router import Router

BUSINESSES = (1, 2**18 - 1, 2**18, 2**19 - 1)


@pytest.fixture(params=BUSINESSES)
def source(request: pytest.FixtureRequest, catalogue: Catalogue) -> Source:
    catalogue.add_business("cafe", "Café", "shard_1", business=request.param)
    return catalogue.add_source("cafe", "till", "main", {})


@pytest.fixture
def cursor(shard: Shard) -> Iterator[Cursor]:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        yield cursor


def insert(cursor: Cursor, table: str, parent: int | None, source: int, key: str) -> int:
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
    assert [id_ & MAX_NUMBER for id_ in ids] == [1, 2, 3, 4, 5]


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
    assert insert(cursor, "sale", source.id, source.id, "order-3") & MAX_NUMBER == 5


def test_a_child_of_another_business_is_refused(source: Source, cursor: Cursor) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        insert(cursor, "sale", make_id(source.business ^ 1, 7), source.id, "order-1")


OF_A_SALE = ("sale_item", "discount", "payment", "refund")
OF_A_SOURCE = ("source_location", "source_employee", "source_item", "source_campaign", "sale", "shift", "ad_spend",
               "review", "mailing")  # fmt: skip


class TestOrphans:
    """No key is without the thing it hangs from, however it is written."""

    @pytest.fixture
    def source(self, catalogue: Catalogue) -> Source:
        catalogue.add_business("cafe", "Café", "shard_1", business=300_000)
        return catalogue.add_source("cafe", "till", "main", {})

    def test_every_table_of_keys_is_known_here(self, source: Source, cursor: Cursor) -> None:
        """A new one has to say what it hangs from."""
        cursor.execute(
            "select c.table_name from information_schema.columns as c inner join information_schema.tables as t"
            " using (table_schema, table_name) where c.table_schema = 'keys' and c.column_name = 'parent_id'"
            " and t.table_type = 'BASE TABLE'"
        )
        assert {name for (name,) in cursor.fetchall()} == {*OF_A_SALE, *OF_A_SOURCE, "location", "employee", "item"}

    @pytest.mark.parametrize("table", OF_A_SALE)
    def test_what_hangs_from_a_sale(self, source: Source, cursor: Cursor, table: str) -> None:
        sale = insert(cursor, "sale", source.id, source.id, "order-1")
        child = insert(cursor, table, sale, source.id, "a")
        assert business_of(child) == source.business
        if table in ("payment", "refund"):  # of no sale that is known
            insert(cursor, table, source.id, source.id, "b")
        for parent in (
            child,
            make_id(source.business, 77),
            *([source.id] if table in ("sale_item", "discount") else []),
        ):
            cursor.execute("savepoint before")
            with pytest.raises(psycopg2.errors.ForeignKeyViolation, match=f"{table} .* hangs from {parent}"):
                insert(cursor, table, parent, source.id, "c")
            cursor.execute("rollback to savepoint before")
        cursor.execute("savepoint before")
        with pytest.raises(psycopg2.errors.ForeignKeyViolation, match=f"{table} {child} hangs from a sale"):
            cursor.execute("delete from keys.sale where id = %s", (sale,))
        cursor.execute("rollback to savepoint before")
        with pytest.raises(psycopg2.errors.RestrictViolation, match="cannot hang from another thing"):
            cursor.execute(f"update keys.{table} set parent_id = %s where id = %s", (source.id, child))

    @pytest.mark.parametrize("table", OF_A_SALE)
    def test_one_orphan_in_a_batch_refuses_the_batch(self, source: Source, cursor: Cursor, table: str) -> None:
        sale = insert(cursor, "sale", source.id, source.id, "order-1")
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            cursor.execute(
                f"insert into keys.{table} (id, parent_id, source_id, natural_key)"
                " select keys.make_id(%(b)s, 1000 + n),"
                " case n when 500 then keys.make_id(%(b)s, 9999) else %(sale)s end,"
                " %(source)s, n::text from generate_series(1, 1000) as n",
                {"b": source.business, "sale": sale, "source": source.id},
            )

    @pytest.mark.parametrize("table", OF_A_SOURCE)
    def test_what_hangs_from_a_source(self, source: Source, cursor: Cursor, table: str) -> None:
        child = insert(cursor, table, source.id, source.id, "a")
        assert business_of(child) == source.business
        for parent, refused in (
            (child, psycopg2.errors.CheckViolation),
            (make_id(source.business, 0), psycopg2.errors.CheckViolation),
            (None, psycopg2.Error),
        ):
            cursor.execute("savepoint before")
            with pytest.raises(refused):
                insert(cursor, table, parent, source.id, "b")
            cursor.execute("rollback to savepoint before")
        stranger = make_id(source.business, 88)
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            insert(cursor, table, stranger, stranger, "b")

    @pytest.mark.parametrize("table", ["location", "employee", "item"])
    def test_what_hangs_from_the_business(self, source: Source, cursor: Cursor, table: str) -> None:
        statement = f"insert into keys.{table} (parent_id, name) values (%s, 'x') returning id"
        cursor.execute(statement, (make_id(source.business, 0),))
        assert business_of((cursor.fetchone() or (0,))[0]) == source.business
        with pytest.raises(psycopg2.errors.CheckViolation):
            cursor.execute(statement, (source.id,))

    def test_a_business_that_has_left_is_deleted_in_any_order(self, source: Source, cursor: Cursor) -> None:
        sale = insert(cursor, "sale", source.id, source.id, "order-1")
        insert(cursor, "sale_item", sale, source.id, "a")
        cursor.execute("update keys.route set state = 'out'")
        cursor.execute("delete from keys.sale")
        assert cursor.rowcount == 1


class TestPinned:
    """A transaction that is pinned to one business writes no other's."""

    MINE, OTHER = 300_000, 300_001

    @pytest.fixture
    def sources(self, catalogue: Catalogue) -> dict[int, int]:
        for name, business in (("cafe", self.MINE), ("bar", self.OTHER)):
            catalogue.add_business(name, name, "shard_1", business=business)
        return {b: catalogue.add_source(b, "till", "main", {}).id for b in (self.MINE, self.OTHER)}

    @pytest.mark.parametrize(
        "statement",
        [
            "select keys.write_gate({other})",
            "select keys.reserve({other}, 10)",
            "insert into keys.sale (parent_id, source_id, natural_key) values ({source}, {source}, 'a')",
            "insert into keys.sale values (keys.make_id({other}, 99), {source}, {source}, 'a')",
            "insert into keys.location (parent_id, name) values (keys.make_id({other}, 0), 'a')",
            "insert into keys.location values (keys.make_id({other}, 99), keys.make_id({other}, 0), 'a')",
            "update keys.source set config = '{{}}' where id = {source}",
            "delete from keys.location_map where location_id = keys.make_id({other}, 5)",
        ],
    )
    def test_refuses_what_is_of_another(
        self, catalogue: Catalogue, shard: Shard, sources: dict[int, int], statement: str
    ) -> None:
        text = statement.format(other=self.OTHER, source=sources[self.OTHER])
        site = "insert into keys.source_location values (keys.make_id({0}, 4), {1}, {1}, 'a')"
        with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(site.format(self.OTHER, sources[self.OTHER]))
            cursor.execute(
                "insert into keys.location values (keys.make_id(%(b)s, 5), keys.make_id(%(b)s, 0), 'theirs')",
                {"b": self.OTHER},
            )
            cursor.execute(
                "insert into keys.location_map (source_location_id, location_id, rule, decided_by)"
                f" values (keys.make_id({self.OTHER}, 4), keys.make_id({self.OTHER}, 5), 'itself', 'rule')"
            )

        def write(connection: Connection) -> None:
            connection.cursor().execute(text)

        router = Router(catalogue)
        with pytest.raises(psycopg2.Error, match="is written under a pin of business 300000") as caught:
            router.run("cafe", write)
        assert caught.value.pgcode == "LD002"
        router.run("bar", write)

    def test_without_a_pin_many_are_written(self, cursor: Cursor, sources: dict[int, int]) -> None:
        for source in sources.values():
            insert(cursor, "sale", source, source, "order-1")


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

    def test_refuses_a_snapshot_that_would_not_see_a_move(self, cursor: Cursor) -> None:
        cursor.execute("set transaction isolation level repeatable read")
        with pytest.raises(psycopg2.Error, match="would not see that it has moved") as caught:
            cursor.execute("select keys.write_gate(1)")
        assert caught.value.pgcode == "LD003"

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
