"""The last changes: brought and compared while writes wait, gone rows and odd values too; one bit blocks."""

from __future__ import annotations

from contextlib import closing

import pytest

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving import flip
from sharding.moving.copying import connect
from sharding.moving.journal import steps
from sharding.moving.layout import feeds
from tests.sharding.moving.conftest import BUSINESS, Town

ODD = """
update raw_till.orders set payload = '{"a": 1.50, "b": 1e3, "c": "\\\\ \\" \u00e9 %s", "d": [null, true, {}]}',
    modified_at = '-infinity', observed_at = '2026-01-01 00:00:00.123456+00' where natural_key = 'a003';
update keys.source set config = '{"n": 0.10}' where id = %s;
delete from raw.link where source_id = %s and key = 'a004';
"""


def before_the_gate(town: Town, monkeypatch: pytest.MonkeyPatch, statement: str, *values: object) -> None:
    """Let a writer be the last one that is through before the gate closes."""
    true_close = flip.late.close
    left = [statement]

    def write_first(here: object, *rest: object) -> object:
        if left:
            town.sql(town.old, left.pop(), *values)
        return true_close(here, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(flip.late, "close", write_first)


def test_what_is_written_last_comes_along_as_it_is(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = ODD.replace("%s", "%%s", 1)
    before_the_gate(town, monkeypatch, statement, town.source, town.source)
    moved = town.mover().move("new")
    [told] = [detail for _, step, detail in steps(town.catalogue, moved.id) if step == "flipped"]
    assert told["keys"] == 3 or told["tries"] > 1  # a machine that is busy tries again
    rows = town.rows(town.new)
    assert rows == town.rows(town.old)
    assert "-infinity" in str(rows["raw_till.orders"]) and "1.50" in str(rows["raw_till.orders"])
    assert len(rows["raw.link"]) == 59


def test_the_rehearsal_leaves_nothing_and_keeps_nobody_waiting(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    true_arrive, true_rehearse, rehearsed = flip.late._arrive, flip.late.rehearse, list[set[str]]()

    def everything() -> list[object]:
        found: list[object] = []
        for shard in (town.old, town.new):
            with closing(connect(shard)) as conn:
                told = [town.sql(shard, f"select * from {feed.name} order by xid") for feed in feeds(conn, shard)]
            found += [town.rows(shard), town.traces(shard), told]
            found += [town.sql(shard, f"select * from keys.{table} order by 1") for table in ("route", "counter")]
        return found

    def sell_meanwhile(
        into: object, shard: Shard, business: int, left: flip.late.Left, parts: object, *rest: object
    ) -> object:
        if town.owners() == ["old"] and not rehearsed:
            rehearsed.append(set(left.noted))
            town.sell("meanwhile")
        return true_arrive(into, shard, business, left, parts, *rest)  # type: ignore[arg-type]

    def watch(*given: object) -> None:
        true_rehearse(*given)  # type: ignore[arg-type]
        before = everything()
        true_rehearse(*given)  # type: ignore[arg-type]
        assert everything() == before

    monkeypatch.setattr(flip.late, "_arrive", sell_meanwhile)
    monkeypatch.setattr(flip.late, "rehearse", watch)
    assert town.mover().move("new").state == "flipped"
    assert {"raw_till.orders", "raw.head", "raw.link", "keys.sale", "keys.source"} <= rehearsed[0]
    assert "meanwhile" in town.sales(town.new) and town.rows(town.new) == town.rows(town.old)


def test_a_row_that_arrives_otherwise_blocks_the_flip(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit: the same amount of money, written with a zero more."""
    town.sql(town.new, """
        create function raw.spoil() returns trigger language plpgsql as $$ begin
            new.payload := jsonb_set(new.payload, '{total}', '1.500'); return new; end $$;
        select raw.ensure_stream('till', 'orders');
        create trigger spoil before insert on raw_till.orders for each row
            when (new.natural_key = 'last') execute function raw.spoil();
        alter table raw_till.orders enable always trigger spoil""")  # fmt: skip
    true_close = flip.late.close
    left = ["last"]

    def sell_first(here: object, *rest: object) -> object:
        if left:
            town.sell(left.pop())
        return true_close(here, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(flip.late, "close", sell_first)
    # A machine that is busy tries again: then it is found when the change is brought before the next try.
    with pytest.raises(LarderError, match=r"raw_till\.orders: .* as they were"):
        town.mover().move("new")
    assert town.owners() == ["old"]
    town.sql(town.new, "alter table raw_till.orders disable trigger spoil")
    assert town.mover().move().state == "flipped"
    assert town.rows(town.new) == town.rows(town.old)


def test_a_route_that_is_not_expected_blocks_the_flip(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    true_close = flip.late.close
    for shard, said in ((town.old, "does not take writes on old"), (town.new, "does not expect the business")):

        def close(here: object, *rest: object, shard: Shard = shard) -> object:
            town.sql(shard, "update keys.route set state = 'paused' where business = %s", BUSINESS)
            return true_close(here, *rest)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(flip.late, "close", close)
            with pytest.raises(LarderError, match=said):
                town.mover().move("new")
        assert "active" not in str(town.sql(town.new, "select state from keys.route where business = %s", BUSINESS))
        back = "active" if shard is town.old else "arriving"
        town.sql(shard, "update keys.route set state = %s where business = %s", back, BUSINESS)
    assert town.mover().move().state == "flipped"


def test_a_difference_at_the_cutover_is_told_with_the_way_back(town: Town) -> None:
    def spoil(point: str) -> None:
        if point == "closed here":  # after the last comparison inside the flip
            town.sql(
                town.old,
                "set session_replication_role = replica; update raw.link set linked_key = '?' where key = 'a001'",
            )

    with pytest.raises(LarderError, match=r"raw.link differed on old and new at the cutover") as refused:
        town.mover(reached=spoil).move("new")
    assert refused.value.next_command == "larder business move cafe --rollback"
    assert town.owners() == ["new"]
