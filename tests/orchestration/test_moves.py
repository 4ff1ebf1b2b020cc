"""A move with real models: the marts follow, before anybody sees the business there."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from psycopg2 import sql

from orchestration.cycle import run_cycle
from orchestration.installation import Larder
from orchestration.move_job import move_business_job, moves_to_tend, stage_key
from orchestration.moves import build_shard, go_on_with_flips, mover, tend
from orchestration.transform import Choice, target_of
from orchestration.verify import verify
from sharding.errors import LarderError
from sharding.ids import id_range
from sharding.moving.copying import connect
from sharding.moving.layout import moved_tables
from sharding.moving.mover import POINTS, RETURN_POINTS, Mover
from tests.orchestration.shop import Shop

SUMS = "select location_id >> 45 & 524287, business_date, net_sales from {marts}.sum_sales_day order by 1, 2"
TENTH = date(2025, 3, 10)


def numbers(shop: Shop) -> tuple[int, int]:
    catalogue = shop.installation.catalogue
    return catalogue.business("cafe").id, catalogue.business("diner").id


def test_marts_go_along_and_trade_goes_on(shop: Shop) -> None:
    cafe, diner = numbers(shop)
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    run_cycle(shop.installation)
    assert mover(shop.installation, "cafe").move("shard_2").state == "flipped"
    assert shop.rows(1, SUMS) == [(cafe, TENTH, Decimal("3.1000")), (diner, TENTH, Decimal("7.2500"))]
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "4.10")
    shop.sell("cafe", "c", "1.00")
    report = run_cycle(shop.installation)
    assert not report.failures and {b.shard: b.state for b in report.builds}["shard_2"] == "built"
    assert shop.rows(1, SUMS) == [(cafe, TENTH, Decimal("5.1000")), (diner, TENTH, Decimal("7.2500"))]
    assert mover(shop.installation, "cafe").finish().state == "done"
    assert shop.rows(0, SUMS) == []
    assert shop.rows(1, SUMS) == [(cafe, TENTH, Decimal("5.1000")), (diner, TENTH, Decimal("7.2500"))]


def test_the_way_back_brings_the_marts_up_to_date(shop: Shop) -> None:
    cafe, diner = numbers(shop)
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    run_cycle(shop.installation)
    mover(shop.installation, "cafe").move("shard_2")
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "4.10")
    run_cycle(shop.installation)
    assert mover(shop.installation, "cafe").roll_back().state == "rolled_back"
    assert shop.rows(1, SUMS) == [(diner, TENTH, Decimal("7.2500"))]
    run_cycle(shop.installation)
    assert shop.rows(0, SUMS) == [(cafe, TENTH, Decimal("4.1000"))]


def test_a_flip_that_was_cut_off_is_brought_to_its_end_by_the_next_tick(shop: Shop) -> None:
    cafe, _ = numbers(shop)
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation)

    def die(point: str) -> None:
        if point == "closed here":
            raise KeyboardInterrupt

    at = shop.installation
    with pytest.raises(KeyboardInterrupt):
        Mover(at.catalogue, "cafe", lambda shard: build_shard(at, shard), reached=die).move("shard_2")
    [done] = go_on_with_flips(at)
    assert done.startswith("cafe: its change-over had been cut off") and go_on_with_flips(at) == []
    assert at.catalogue.business("cafe").shard == "shard_2"
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "4.10")
    assert not run_cycle(at).failures
    assert (cafe, TENTH, Decimal("4.1000")) in shop.rows(1, SUMS)


def test_the_job_says_where_the_business_lives_now(shop: Shop, tmp_path: Path) -> None:
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        done = move_business_job.execute_in_process(
            run_config={"ops": {"move": {"config": {"business": "cafe", "to": "shard_2"}}}},
            resources={"larder": Larder(shop.installation)},
            instance=instance,
        )
        assert done.success
        [record] = instance.fetch_materializations(dg.AssetKey(["businesses", "cafe"]), limit=5).records
        for step in ("copied", "verified", "marts equal", "flipped", "verified at the cutover"):
            assert len(instance.fetch_materializations(stage_key(step), limit=5).records) == 1, step
    told = record.asset_materialization
    assert told is not None and told.metadata["shard"].value == "shard_2" and told.metadata["state"].value == "flipped"
    assert "milliseconds" in str(told.metadata["flipped"].value)


def everything(shop: Shop, shard: int, business: int) -> dict[str, list[str]]:
    """Table → the business's rows as text, sorted: what it keeps on a shard, and its marts."""
    at = shop.shards[shard]
    low, high = id_range(business)
    found = {}
    with closing(connect(at)) as conn:
        for table in moved_tables(conn, at):
            with conn, conn.cursor() as cursor:
                query = sql.SQL("select row({})::text from {} where {} order by 1")
                cursor.execute(query.format(table.column_list, table.at(at), table.rows_of(business)))
                found[table.name] = [line for (line,) in cursor.fetchall()]
    for mart in ("fct_sale", "sum_sales_day"):
        rows = shop.rows(shard, f"select t::text from {{marts}}.{mart} as t where location_id between {low} and {high}")
        found[mart] = sorted(line for (line,) in rows)
    return {name: lines for name, lines in found.items() if lines}


VISIBLE = """
select coalesce(sum(net_sales), 0) from {marts}.sum_sales_day as s
inner join {keys}.route as r on r.business = s.location_id >> 45 & 524287 and r.state = 'active'
"""


def test_at_each_point_one_copy_is_seen_and_its_sum_is_right(shop: Shop) -> None:
    """The sum over both shards, in between and on the way back; while nobody owns it, nobody sees it."""
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    run_cycle(shop.installation)
    at = shop.installation
    seen: dict[str, Decimal] = {}

    def look(point: str) -> None:
        seen[point] = sum((shop.rows(shard, VISIBLE)[0][0] for shard in (0, 1)), Decimal())

    for points, act in ((POINTS, lambda m: m.move("shard_2")), (RETURN_POINTS, lambda m: m.roll_back())):
        seen.clear()
        act(Mover(at.catalogue, "cafe", lambda shard: build_shard(at, shard), reached=look))
        assert seen == {point: Decimal("7.25" if point == "closed here" else "10.35") for point in points}


def test_a_business_that_moved_and_came_back_is_as_one_that_never_did(shop: Shop) -> None:
    """With sales, a change and a withdrawal before, between and after; its blocks are loaded where it lives."""
    cafe, _ = numbers(shop)
    for key in ("a", "b", "c"):
        shop.sell("cafe", key, "3.10")
    run_cycle(shop.installation)
    way = mover(shop.installation, "cafe")
    way.move("shard_2")
    before = everything(shop, 0, cafe)
    assert everything(shop, 1, cafe) == before, "right after the move: the rows and marts of the old shard"
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "b", "4.10", day="2025-03-09")
    shop.sell("cafe", "d", "1.00")
    assert not run_cycle(shop.installation).failures
    moved = everything(shop, 1, cafe)
    assert moved != before
    mover(shop.installation, "cafe").roll_back()
    assert everything(shop, 0, cafe) == moved and everything(shop, 1, cafe) == {}
    # Every block again, as after a loss of the ledger: nothing is new, since versions and blocks came along.
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute("update control.blocks set loaded_at = null")
    assert not run_cycle(shop.installation).failures
    assert everything(shop, 0, cafe) == moved
    for shard in (0, 1):
        verified = next(iter(verify(shop.installation.transform, [target_of(shop.shards[shard])])))
        assert not verified.unequal and not verified.failed, verified


def test_cursors_follow_the_business(shop: Shop) -> None:
    """The first extraction after a move asks for what came since, and no more."""
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation)
    mover(shop.installation, "cafe").move("shard_2")
    shop.now += timedelta(minutes=10)
    report = run_cycle(shop.installation)
    assert [(e.shard, e.records) for e in report.extracted if e.business == "cafe"] in ([], [("shard_2", 0)])


@pytest.mark.faults
def test_models_made_anew_during_a_move(shop: Shop) -> None:
    """`dbt build --full-refresh` on both shards while the rows go over, and before the flip."""
    cafe, diner = numbers(shop)
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    run_cycle(shop.installation)
    at = shop.installation

    def refresh(point: str) -> None:
        if point in ("rows copied", "compared"):
            built = list(at.transform.build([target_of(shard) for shard in shop.shards], Choice(full_refresh=True)))
            assert {b.state for b in built} == {"built"}
            if point == "compared":
                shop.sell("cafe", "c", "1.00")
                shop.now += timedelta(minutes=10)
                run_cycle(at)

    Mover(at.catalogue, "cafe", lambda shard: build_shard(at, shard), reached=refresh).move("shard_2")
    assert shop.rows(1, SUMS) == [(cafe, TENTH, Decimal("4.1000")), (diner, TENTH, Decimal("7.2500"))]


@pytest.mark.faults
def test_a_way_back_whose_time_is_over_is_given_up(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation)
    at = shop.installation
    mover(at, "cafe").move("shard_2")
    assert tend(at) == []
    with at.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute("update control.moves set keep_until = now() - interval '1 second'")
    [done] = tend(at)
    assert (done.rest, done.error) == ("finish", None) and tend(at) == []
    assert shop.rows(0, SUMS) == []
    with pytest.raises(LarderError, match=r"cafe has no way back: its copy on shard_1 was deleted at 20"):
        mover(at, "cafe").roll_back()


@pytest.mark.faults
def test_a_way_back_that_was_cut_off_is_brought_to_its_end(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation)
    at = shop.installation
    mover(at, "cafe").move("shard_2")

    def die(point: str) -> None:
        if point == "closed here":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Mover(at.catalogue, "cafe", lambda shard: build_shard(at, shard), reached=die).roll_back()
    [done] = tend(at)
    assert (done.rest, done.error) == ("roll_back", None) and tend(at) == []
    assert at.catalogue.business("cafe").shard == "shard_1"


def test_a_schedule_runs_what_has_to_go_on(shop: Shop, tmp_path: Path) -> None:
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation)
    resources = {"larder": Larder(shop.installation)}
    mover(shop.installation, "cafe", keep=timedelta(0)).move("shard_2")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        context = dg.build_schedule_context(instance=instance, resources=resources)
        [request] = moves_to_tend(context)
        done = move_business_job.execute_in_process(
            run_config=request.run_config, resources=resources, instance=instance
        )
        assert done.success
        assert isinstance(moves_to_tend(context), dg.SkipReason)
        [record] = instance.fetch_materializations(stage_key("cleaned up"), limit=5).records
    told = record.asset_materialization
    assert told is not None and told.metadata["business"].value == "cafe"
