"""A business changes shards: every row, nothing of others, no write lost, and back again."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import count

import psycopg2
import pytest

from sharding.errors import LarderError
from sharding.moving import mover
from sharding.moving.copying import connect
from sharding.moving.journal import Journal, moves, steps
from tests.sharding.moving.conftest import BUSINESS, NEIGHBOUR, Town


def test_all_rows_move_with_their_ids_and_nothing_of_others(town: Town) -> None:
    before, beside = town.rows(town.old), town.rows(town.old, NEIGHBOUR)
    assert len(before["raw_till.orders"]) == 60 and len(before["raw.link"]) == 60
    moved = town.mover().move("new")
    assert moved.state == "flipped" and town.owners() == ["new"]
    assert town.rows(town.new) == before
    assert town.rows(town.old, NEIGHBOUR) == beside and town.rows(town.new, NEIGHBOUR) == {}
    assert town.catalogue.business(BUSINESS).shard == "new" and town.catalogue.business(BUSINESS).epoch == 2
    town.sell("after")
    [(drawn,)] = town.sql(town.new, "select max(id) from keys.sale where natural_key = 'after'")
    [(last,)] = town.sql(town.old, "select max(id) from keys.sale where id < %s", drawn)
    assert drawn > last, "numbers go on beyond those of the old shard"
    assert "after" not in str(town.rows(town.old))
    town.mover().finish()
    assert town.rows(town.old) == {} and town.traces(town.old) == {}
    assert town.traces(town.new) == {"route": 1, "counter": 1}
    assert town.rows(town.old, NEIGHBOUR) == beside


def test_there_and_back_it_is_as_if_it_had_never_moved(town: Town) -> None:
    before = town.rows(town.old)
    town.mover().move("new")
    town.mover().roll_back()
    assert town.rows(town.old) == before and town.rows(town.new) == {}
    assert town.traces(town.new) == {} and town.traces(town.old) == {"route": 1, "counter": 1}
    assert town.owners() == ["old"] and town.catalogue.business(BUSINESS).shard == "old"


def test_the_way_back_takes_what_was_written_since(town: Town) -> None:
    town.mover().move("new")
    town.sell("b1", "b2", "a001")
    town.sql(town.new, "delete from raw.link where source_id = %s and key = 'a002'", town.source)
    wanted = town.rows(town.new)
    town.mover().roll_back()
    assert town.rows(town.old) == wanted
    with pytest.raises(LarderError, match="no way back"):
        town.mover().roll_back()


def test_writers_go_on_and_lose_nothing(town: Town) -> None:
    acknowledged: list[str] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def trade(name: str) -> None:
        for number in count():
            if stop.is_set():
                return
            key = f"{name}{number:05d}"
            try:
                town.sell(key, f"a{number % 60:03d}")
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                return
            acknowledged.append(key)

    traders = [threading.Thread(target=trade, args=(name,)) for name in "xy"]
    for trader in traders:
        trader.start()
    try:
        for _ in range(2):
            assert town.mover().move("new").state == "flipped"
            time.sleep(0.2)
            assert town.mover().roll_back().state == "rolled_back"
        town.mover().move("new")
        time.sleep(0.2)
    finally:
        stop.set()
        for trader in traders:
            trader.join()
    assert not failures
    written = [
        key for (key,) in town.sql(town.new, "select natural_key from keys.sale where source_id = %s", town.source)
    ]
    assert len(acknowledged) > 50
    assert sorted(written) == sorted({*acknowledged, *(f"a{n:03d}" for n in range(60))})
    old, new = (set(town.rows(shard).get("keys.sale", ())) for shard in (town.old, town.new))
    assert old <= new, "nothing was written on the old shard after it had left"


def test_one_bit_that_differs_is_copied_anew_and_then_blocks(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(point: str) -> None:
        if point == "models told":
            change = "update raw_till.orders set payload = jsonb_set(payload, '{total}', '1.500')"
            town.sql(town.new, change + " where natural_key = 'a007'")

    moved = town.mover(reached=spoil).move("new")
    repaired = [detail for _, step, detail in steps(town.catalogue, moved.id) if step == "repaired"]
    assert repaired == [{"relation": "raw_till.orders", "chunk": 0}]
    town.mover().roll_back()

    town.sql(town.new, """
        create function raw.spoil() returns trigger language plpgsql as $$ begin
            new.payload := jsonb_set(new.payload, '{total}', '1.500'); return new; end $$;
        select raw.ensure_stream('till', 'orders');
        create trigger spoil before insert on raw_till.orders for each row
            when (new.natural_key = 'a008') execute function raw.spoil();
        alter table raw_till.orders enable always trigger spoil""")  # fmt: skip
    with pytest.raises(LarderError, match=r"raw_till.orders: rows on new are not those of old, also when copied anew"):
        town.mover().move("new")
    assert town.owners() == ["old"]
    assert town.mover().abort().state == "aborted"
    assert town.traces(town.new) == {} and town.rows(town.new) == {}


def test_marts_that_differ_block_the_flip(town: Town) -> None:
    for shard, amount in ((town.old, 1), (town.new, 2)):
        town.sql(shard, "create table marts.fct_sale (sale_id bigint, location_id bigint, net numeric)")
        town.sql(shard, "insert into marts.fct_sale values (1, %s, %s)", town.source, amount)
        town.sql(shard, "create schema if not exists meta; create table meta.mark as select 'fct_sale' as model")
        town.sql(shard, "grant usage on schema marts, meta to larder_mover")
        town.sql(shard, "grant select on marts.fct_sale, meta.mark to larder_mover")
    with pytest.raises(LarderError, match="marts differ on old and new, such as fct_sale: 1 rows each"):
        town.mover().move("new")
    assert town.owners() == ["old"]
    town.sql(town.new, "update marts.fct_sale set net = 1")
    assert town.mover().move().state == "flipped"


def test_a_writer_that_stays_delays_the_flip_and_not_others(town: Town) -> None:
    inside = threading.Event()

    def stay() -> None:
        with closing(connect(town.old)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("select keys.write_gate(%s)", (BUSINESS,))
            inside.set()
            time.sleep(0.8)
            cursor.execute("insert into raw.link values (%s, 'long', 'transaction')", (town.source,))

    writer, flipping = threading.Thread(target=stay), threading.Event()

    def begin(point: str) -> None:
        if point == "flipping":
            flipping.set()
        elif point == "drained" and flipping.is_set() and not inside.is_set():  # just before the flip stands in line
            writer.start()
            inside.wait()

    moved = town.mover(reached=begin).move("new")
    writer.join()
    [detail] = [detail for _, step, detail in steps(town.catalogue, moved.id) if step == "flipped"]
    assert detail["tries"] > 1 and detail["milliseconds"] < 500
    assert f"({town.source},long,transaction)" in town.rows(town.new)["raw.link"]


def test_a_table_is_not_emptied_under_a_move(town: Town) -> None:
    def empty(point: str) -> None:
        if point == "models told":
            with pytest.raises(psycopg2.errors.ObjectInUse, match="cannot be truncated while business 300001 moves"):
                town.sql(town.old, "truncate raw.link")

    assert town.mover(reached=empty).move("new").state == "flipped"


def test_a_stream_that_comes_about_meanwhile_is_not_left_behind(town: Town) -> None:
    def come_about(point: str) -> None:
        if point == "models told":
            town.sql(town.old, "select raw.ensure_stream('till', 'payments')")

    with pytest.raises(LarderError, match=r"raw_till\.payments came about on old since the copy began"):
        town.mover(reached=come_about).move("new")
    assert town.mover().abort().state == "aborted"
    assert town.mover().move("new").state == "flipped"


def test_a_second_driver_is_refused(town: Town) -> None:
    with (
        Journal.driving(town.catalogue, town.catalogue.business(BUSINESS)),
        pytest.raises(LarderError, match="another process"),
    ):
        town.mover().move("new")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("update control.shards set state = 'draining' where shard = 'new'", "new is draining"),
        ("", "it lives there already"),
    ],
)
def test_what_is_in_the_way_is_said_before_anything_is_done(town: Town, spoil: str, said: str) -> None:
    to = "new"
    if spoil:
        with town.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(spoil)
    else:
        to = "old"
    plan = town.mover().plan(to)
    assert plan.obstacles == (said,) and plan.rows > 200 and plan.bytes > 10_000
    with pytest.raises(LarderError, match=said):
        town.mover().move(to)
    assert moves(town.catalogue) == [] and town.traces(town.new) == {}


def test_every_point_is_a_point() -> None:
    assert len(set(mover.POINTS)) == len(mover.POINTS)


MANY = """
do $many$
declare
    files bigint := keys.reserve({b}, 1);
    rota bigint := keys.reserve({b}, 1);
    place bigint := keys.reserve({b}, 1);
    cafe bigint := keys.reserve({b}, 1);
begin
    perform keys.write_gate({b});
    insert into keys.source (id, integration, name) values (files, 'data', 'sheets'), (rota, 'rota', 'rota');
    insert into keys.source_location (id, parent_id, source_id, natural_key) values (place, rota, rota, 'l1');
    insert into keys.location (id, parent_id, name) values (cafe, keys.make_id({b}, 0), 'Cafe');
    insert into keys.location_map (source_location_id, location_id, rule, decided_by)
    values (place, cafe, 'itself', 'test');
    insert into keys.location_setting (location_id, timezone, decided_by) values (cafe, 'Europe/Kyiv', 'test');
    insert into raw_data.guests (version_id, source_id, natural_key, operation, modified_at, observed_at, generation,
        ordinal, hash, payload)
    select keys.reserve({b}, 1), files, 'g' || n, 'U', now(), now(), 1, n, gen_random_uuid(),
        jsonb_build_object('n', n::numeric / 7, 'text', 'Ї “q” \\\\ 🍕')
    from generate_series(1, 50) as n;
    insert into raw.loaded_blocks (block_id, source_id, stream, observed_at, records, versions, unchanged, superseded,
        quarantined)
    values (gen_random_uuid(), files, 'guests', now(), 51, 50, 0, 0, 1);
    insert into raw.quarantine (quarantine_id, block_id, generation, ordinal, source_id, stream, observed_at, reason,
        detail, payload_text)
    values (keys.reserve({b}, 1), gen_random_uuid(), 1, 51, files, 'guests', now(), 'bad_row', 'no date', '"x');
    insert into raw.complete_window (source_id, stream, observed_at, block_id)
    values (files, 'guests', now(), gen_random_uuid());
    insert into raw.read_through values (rota, 'shifts', now());
end $many$
"""


def test_a_business_with_many_vendors_and_tables_of_its_own(town: Town) -> None:
    """Files with a table that no integration declares, maps, settings, quarantine, ledger; and another shard's schema
    that has none of these streams. What the control database knows of its sources stays theirs."""
    for stream in ("guests", "definitions"):
        town.sql(town.old, "select raw.ensure_stream('data', %s)", stream)
    town.sql(town.old, MANY.format(b=BUSINESS))
    with town.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute(
            "insert into control.shapes values (%s, 'orders', '{}')"
            " returning (select count(*) from control.sources where business = %s)",
            (town.source, BUSINESS),
        )
        ((sources,),) = cursor.fetchall()
    before = town.rows(town.old)
    assert {
        "raw_data.guests", "raw.quarantine", "raw.loaded_blocks", "raw.read_through", "raw.complete_window",
        "keys.location_map", "keys.location_setting", "keys.location", "keys.source_location",
    } <= before.keys()  # fmt: skip
    assert town.mover().move("new").state == "flipped"
    assert town.rows(town.new) == before
    town.sell("after")
    moved = town.rows(town.new)
    assert town.mover().roll_back().state == "rolled_back"
    assert town.rows(town.old) == moved and town.rows(town.new) == {}
    with town.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute("select count(*) from control.shapes where source_id = %s", (town.source,))
        assert cursor.fetchall() == [(1,)]
        cursor.execute("select count(*) from control.sources where business = %s", (BUSINESS,))
        assert cursor.fetchall() == [(sources,)]
