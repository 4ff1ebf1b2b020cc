"""Shards at different schema versions: the one that is behind is neither loaded nor built, and nobody else waits."""

from __future__ import annotations

import pytest

from orchestration.cycle import run_cycle
from sharding.migrate import MIGRATIONS
from tests.faults.record import Figure
from tests.orchestration.shop import Shop

NEWEST = max(path.name[:4] for path in (MIGRATIONS / "shard").glob("*.sql"))
SUMS = "select net_sales::text from {marts}.sum_sales_day"


@pytest.mark.fault(29)
def test_a_shard_that_is_behind_is_refused_alone_and_loses_nothing(shop: Shop, figure: Figure) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    [(sha256,)] = shop.rows(1, f"delete from {{keys}}.schema_history where revision = '{NEWEST}' returning sha256")
    report = run_cycle(shop.installation)
    assert {b.shard: b.state for b in report.builds} == {"shard_1": "built", "shard_2": "failed"}
    [failure] = [failure for who, failure in report.failures if who == "diner/till"]
    assert f"this code needs {NEWEST}" in failure.cause and failure.turn == "config"
    assert "larder shard migrate --only shard_2" in f"{failure.cause} {failure.next_command}"
    [refused] = [b.reason for b in report.builds if b.shard == "shard_2"]
    assert f"this code needs {NEWEST}" in refused
    assert shop.rows(0, SUMS) == [("3.1000",)]

    shop.rows(1, f"insert into {{keys}}.schema_history (revision, sha256) values ('{NEWEST}', '{sha256}') returning 1")
    assert not run_cycle(shop.installation).failures  # its blocks were waiting
    assert shop.rows(1, SUMS) == [("7.2500",)]
    figure("shards left out", sum(b.state == "failed" for b in report.builds))
