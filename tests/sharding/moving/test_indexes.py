"""Indexes of an own shard are made after the copy: all are there again, however it ended; a shared one keeps its."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from sharding.errors import LarderError
from sharding.moving import indexes
from sharding.moving.copying import connect
from sharding.moving.mover import Mover
from tests.sharding.moving.conftest import BUSINESS, NEIGHBOUR, Town

INDEXES = """
select n.nspname, i.relname, pg_get_indexdef(i.oid), c.contype, x.indisvalid and x.indisready
from pg_index as x
inner join pg_class as i on i.oid = x.indexrelid
inner join pg_namespace as n on n.oid = i.relnamespace
left join pg_constraint as c on c.conindid = i.oid and c.conrelid = x.indrelid
where n.nspname in ('keys', 'raw', 'raw_till')
order by 1, 2
"""
STREAM = "select raw.ensure_stream('till', 'orders', array['$.payment'])"
HEAD = "select count(*) from pg_index where indrelid = 'raw.head'::regclass"


class StoppedError(Exception):
    """The driver stops here."""


def test_they_are_dropped_for_the_copy_and_made_as_they_were(town: Town) -> None:
    town.sql(town.new, STREAM)
    before, seen = town.sql(town.new, INDEXES), {}

    def look(point: str) -> None:
        if point == "rows copied":
            seen["heads"] = town.sql(town.new, HEAD)
            seen["noted"] = town.sql(town.new, "select count(*) from keys.move_index")
            with pytest.raises(LarderError, match="is being copied to this shard, which takes no other"):
                town.catalogue.add_business("third", "Third", "new")
            assert list(Mover(town.catalogue, NEIGHBOUR, lambda shard: None).plan("new").obstacles) == [
                f"business {BUSINESS} is being copied to new, which takes no other until that is done"
            ]

    assert town.mover(reached=look).move("new").state == "flipped"
    assert seen["heads"] == [(0,)] and seen["noted"][0][0] > 4
    assert town.sql(town.new, INDEXES) == before
    assert town.sql(town.new, "select * from keys.move_index") == []


@pytest.mark.parametrize("ending", ["goes on", "is given up"])
def test_they_come_back_after_a_driver_has_stopped(town: Town, ending: str) -> None:
    town.sql(town.new, STREAM)
    before, rows = town.sql(town.new, INDEXES), town.rows(town.old)
    chunks = []

    def stop(point: str) -> None:
        if point == "a chunk copied":
            chunks.append(point)
            if len(chunks) == 12:
                raise StoppedError

    with pytest.raises(StoppedError):
        town.mover(reached=stop, workers=1).move("new")
    assert town.sql(town.new, HEAD) == [(0,)]
    if ending == "goes on":
        assert town.mover().move().state == "flipped"
        assert town.rows(town.new) == rows
    else:
        assert town.mover().abort().state == "aborted"
        assert town.rows(town.new) == {}
    assert town.sql(town.new, INDEXES) == before


def test_where_others_live_they_stay(town: Town) -> None:
    town.sql(town.new, STREAM)
    town.sql(town.new, "insert into keys.route (business, name, display_name) values (%s, 'bar', 'Bar')", NEIGHBOUR)
    with closing(connect(town.new)) as target:
        assert indexes.defer(target, town.new, BUSINESS, ["raw.head", "raw_till.orders"]) == []


def test_a_table_with_rows_or_with_a_reader_keeps_them(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_GIVE_WAY_SECONDS", 0.2)
    town.sql(town.new, STREAM)
    town.sql(town.new, "insert into raw.link values (1, 'a', 'b')")
    with closing(connect(town.new)) as target, closing(psycopg2.connect(town.new.dsn)) as reader:
        with reader.cursor() as cursor:
            cursor.execute("select * from raw.head")
        assert indexes.defer(target, town.new, BUSINESS, ["raw.link", "raw.head", "raw_till.orders"]) == [
            "raw_till.orders"
        ]
        reader.rollback()
        assert indexes.restore(target, town.new, BUSINESS, 2, connect) == 2


def test_rows_that_a_unique_index_does_not_allow_stop_the_move(town: Town) -> None:
    def spoil(point: str) -> None:
        if point == "rows copied":
            town.sql(town.new, "insert into keys.sale select * from keys.sale limit 1")

    with pytest.raises(psycopg2.errors.UniqueViolation):
        town.mover(reached=spoil).move("new")
    assert town.owners() == ["old"]
