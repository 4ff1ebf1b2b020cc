"""A shard of the demo's world is lost and comes back: equal to its receipts, to the cent.

Minutes long: `make faults` runs it. The same on a small project is in tests/orchestration/test_restoring.py.
"""

from __future__ import annotations

from datetime import date

import pytest

from cli.context import get_context
from orchestration.reimport import Reimport
from tests.conftest import Server
from tests.integration.conftest import World

pytestmark = pytest.mark.faults


def test_a_lost_shard_comes_back_equal_to_its_receipts_and_moves_the_world_on(world: World, server: Server) -> None:
    made = world.larder("backup", "make", "--json")
    assert made.code == 0, made.out + made.err
    [backup] = [row for row in made.json if row["backup"].startswith("shard_1/")]
    assert world.larder("sandbox", "advance", "13h").code == 0
    assert world.larder("cycle").code == 0
    loaded = world.one("jaffle_shop", "select count(*) from raw.loaded_blocks")

    tested = world.larder("backup", "test", backup["backup"], "--json")
    assert tested.code == 0, tested.out + tested.err
    [told] = tested.json
    assert told["good"] and told["reconciled"] == 2 and told["caught_up"] > 3

    lost = world.shard_of("jaffle_shop")
    collected = "select sum(total_collected) from marts.sum_sales_day"
    before = world.one("jaffle_shop", collected)
    server.drop(lost.database)

    restored = world.larder("restore", "shard_1", "--in-place", "--yes", "--json")
    assert restored.code == 0, restored.out + restored.err
    assert sorted(restored.json["reconciled"]) == ["jaffle_shop", "kavarnia"]
    assert world.one("jaffle_shop", "select count(*) from raw.loaded_blocks") == loaded
    assert world.one("jaffle_shop", collected) == before
    assert world.larder("reconcile").code == 0

    assert world.larder("sandbox", "advance", "11h").code == 0
    assert world.larder("cycle").code == 0
    assert world.larder("reconcile").code == 0
    assert world.larder("verify", "--shard", "shard_1").code == 0, "every model equals its own SELECT"


def read_again(world: World) -> None:
    """Two days of the till are read once more, and the blocks are kept though nothing changed."""
    with world.entered():
        context = get_context()
        till = context.catalogue.source("jaffle_shop/till")
        work = Reimport(context.catalogue, context.store, context.clock, till, context.settings.home)
        with work.run(work.days(date(2024, 3, 31), date(2024, 4, 1)), None, 60.0) as running:
            assert running.adopt()
    loaded = world.larder("load")
    assert loaded.code == 0, loaded.out + loaded.err


def test_what_is_given_up_is_missed_by_nobody(world: World) -> None:
    for _ in range(2):
        read_again(world)
    world.control("update control.blocks set indexed_at = indexed_at - interval '400 days'")
    gone = world.larder("blocks", "retention", "run", "--business", "jaffle_shop", "--days", "365", "--json").json
    assert {"orders", "payments"} <= {row["stream"] for row in gone}
    assert world.larder("reconcile").code == 0
    assert world.larder("blocks", "verify", "--all").code == 0
    assert world.larder("blocks", "retention", "run", "--business", "jaffle_shop", "--days", "365", "--json").json == []
