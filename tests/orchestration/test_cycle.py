"""Extract, load, build: what is due and nothing else, each source and shard for itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from orchestration.cycle import Scope, cycle_events, due, run_cycle
from orchestration.events import CycleReport
from tests.orchestration.shop import Shop


def sums(shop: Shop, shard: int) -> list[tuple[object, ...]]:
    return shop.rows(shard, "select business_date, net_sales from {marts}.sum_sales_day order by 1")


def states(report: CycleReport) -> dict[str, str]:
    return {b.shard: b.state for b in report.builds}


def test_a_cycle_twice_does_no_work_twice(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    assert set(due(shop.installation)) == {"shard_1", "shard_2"}
    first = run_cycle(shop.installation)
    assert not first.failures and states(first) == {"shard_1": "built", "shard_2": "built"}
    assert [(e.business, e.records) for e in first.extracted] == [("cafe", 1), ("diner", 1)]
    assert [(e.records, e.versions) for e in first.loaded] == [(1, 1), (1, 1)]
    assert sums(shop, 0) == [(date(2025, 3, 10), Decimal("3.1000"))]
    assert sums(shop, 1) == [(date(2025, 3, 10), Decimal("7.2500"))]
    assert [c.step for c in first.costs] == ["extract", "load", "build"]

    assert due(shop.installation) == {}
    second = run_cycle(shop.installation)
    assert second.idle and states(second) == {"shard_1": "skipped", "shard_2": "skipped"}


def test_a_change_at_one_vendor_builds_one_shard(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    run_cycle(shop.installation)
    shop.now += timedelta(minutes=10)
    shop.sell("diner", "b", "6.25")
    report = run_cycle(shop.installation)
    assert states(report) == {"shard_1": "skipped", "shard_2": "built"}
    assert [b.reason for b in report.builds if b.state == "built"] == ["new in raw"]
    assert sums(shop, 1) == [(date(2025, 3, 10), Decimal("6.2500"))]


def test_a_refused_source_holds_up_nobody(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    shop.broken = {"cafe"}
    report = run_cycle(shop.installation)
    [(who, failure)] = report.failures
    assert (who, failure.turn) == ("cafe/till", "credentials")
    assert sums(shop, 1) == [(date(2025, 3, 10), Decimal("7.2500"))]
    shop.broken = set()
    assert not run_cycle(shop.installation).failures
    assert sums(shop, 0) == [(date(2025, 3, 10), Decimal("3.1000"))]


def test_a_dead_shard_keeps_its_blocks_and_holds_up_nobody(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    catalogue = shop.installation.catalogue
    with catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.shards set database = 'gone' where shard = 'shard_1'")
    report = run_cycle(shop.installation)
    assert states(report) == {"shard_1": "failed", "shard_2": "built"}
    assert {who for who, _ in report.failures} == {"cafe/till", "shard_1"}
    assert sums(shop, 1) == [(date(2025, 3, 10), Decimal("7.2500"))]

    with catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.shards set database = %s where shard = 'shard_1'", (shop.shards[0].database,))
    assert states(run_cycle(shop.installation)) == {"shard_1": "built", "shard_2": "skipped"}
    assert sums(shop, 0) == [(date(2025, 3, 10), Decimal("3.1000"))]


def test_a_bad_row_fails_its_shard_and_is_built_again_when_mended(shop: Shop) -> None:
    shop.sell("cafe", "a", None)
    shop.sell("diner", "b", "7.25")
    report = run_cycle(shop.installation)
    assert states(report) == {"shard_1": "failed", "shard_2": "built"}
    [(who, failure)] = report.failures
    assert (who, failure.turn) == ("shard_1", "data")
    assert failure.next_command.startswith("larder build --shard shard_1 --select not_null_fct_sale_total")
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "3.10")
    assert states(run_cycle(shop.installation)) == {"shard_1": "built", "shard_2": "skipped"}


def test_steps_and_scope(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    extracted = CycleReport.of(shop.now, cycle_events(shop.installation, Scope(steps=("extract",))))
    assert len(extracted.extracted) == 2 and not extracted.loaded and not extracted.builds
    assert all("to load" in why for why in due(shop.installation).values())
    one = run_cycle(shop.installation, Scope(shards=frozenset({"shard_2"})))
    assert [e.shard for e in one.loaded] == ["shard_2"] and states(one) == {"shard_2": "built"}
    assert set(due(shop.installation)) == {"shard_1"}


def test_a_python_model_reads_its_refs_and_is_published_by_dbt(shop: Shop) -> None:
    for weeks, total in ((1, "10"), (2, "20"), (3, "33")):
        shop.sell("cafe", f"s{weeks}", total, str(date(2025, 3, 10) - timedelta(weeks=weeks)))
    report = run_cycle(shop.installation)
    [build] = [b for b in report.builds if b.shard == "shard_1"]
    assert build.result is not None
    order = [n.unique_id for n in build.result.models]
    assert order.index("model.larder.sum_sales_day") < order.index("python.larder.forecast_sales_day")
    assert order.index("python.larder.forecast_sales_day") < order.index("model.larder.forecast_sales_day")
    assert shop.rows(
        0, "select business_date, forecast_net_sales, weekdays_used from {marts}.forecast_sales_day order by 1"
    ) == [(date(2025, 3, 10), Decimal("21.0000"), 3), (date(2025, 3, 17), Decimal("21.0000"), 3)]


def test_a_report_is_plain_json(shop: Shop) -> None:
    import json

    shop.sell("cafe", "a", "3.10")
    text = json.dumps(run_cycle(shop.installation).as_json())
    assert shop.shards[0].password not in text
    assert json.loads(text)["loaded"][0]["versions"] == 1


def test_force_extracts_and_builds_what_is_not_due(shop: Shop) -> None:
    run_cycle(shop.installation)
    report = run_cycle(shop.installation, replace(Scope(), force=True))
    assert len(report.extracted) == 2 and set(states(report).values()) == {"built"}
