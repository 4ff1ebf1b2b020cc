"""A move with real models: the marts follow, before anybody sees the business there."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from orchestration.cycle import run_cycle
from orchestration.installation import Larder
from orchestration.move_job import move_business_job
from orchestration.moves import build_shard, go_on_with_flips, mover
from sharding.moving.mover import Mover
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
    told = record.asset_materialization
    assert told is not None and told.metadata["shard"].value == "shard_2" and told.metadata["state"].value == "flipped"
    assert "milliseconds" in str(told.metadata["flipped"].value)
