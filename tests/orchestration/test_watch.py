"""Checks that turn red when data grow old, though nothing runs."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

import dagster as dg
import psycopg2

from orchestration.cycle import run_cycle
from orchestration.installation import Larder
from orchestration.keys import vendor_key
from orchestration.specs import Graph
from orchestration.watch import AGAIN, FRESH, LATE, QUICK, READERS, news, readers_asset, watch_checks, watch_sensor
from tests.orchestration.shop import Shop

ACME = vendor_key("acme")


def tick(shop: Shop, graph: Graph, cursor: str | None = None) -> tuple[dict[str, dg.AssetCheckEvaluation], str | None]:
    """A tick of the sensor: the checks that it tells, and its cursor."""
    context = dg.build_sensor_context(cursor=cursor, resources={"larder": Larder(shop.installation)})
    result = watch_sensor(graph)(context)
    assert isinstance(result, dg.SensorResult)
    told = {}
    for event in result.asset_events:
        assert isinstance(event, dg.AssetCheckEvaluation)
        told[event.check_name] = event
    return told, result.cursor


def test_a_check_turns_red_and_green_without_a_run(shop: Shop, graph: Graph) -> None:
    run_cycle(shop.installation)
    told, cursor = tick(shop, graph)
    assert told[FRESH].passed and told[FRESH].asset_key == ACME and told[QUICK].asset_key == READERS
    assert tick(shop, graph, cursor)[0] == {}  # nothing changed, nothing to tell
    shop.now += timedelta(minutes=20)
    told, cursor = tick(shop, graph, cursor)
    assert set(told) == {FRESH} and not told[FRESH].passed
    assert told[FRESH].severity == dg.AssetCheckSeverity.WARN
    assert told[FRESH].description == "2 of 2 sources are late: cafe, diner"
    assert told[FRESH].metadata[LATE].value == "cafe, diner"
    latest = told[FRESH].metadata["latest"]
    assert isinstance(latest, dg.TableMetadataValue)
    assert {row.data["source"] for row in latest.records} == {"cafe/till", "diner/till"}
    shop.now += timedelta(hours=1)
    told, cursor = tick(shop, graph, cursor)
    assert told[FRESH].severity == dg.AssetCheckSeverity.ERROR
    run_cycle(shop.installation)
    assert tick(shop, graph, cursor)[0][FRESH].passed


def test_who_is_late_besides_is_told_at_once(shop: Shop, graph: Graph) -> None:
    run_cycle(shop.installation)
    shop.broken.add("cafe")
    shop.now += timedelta(minutes=20)
    run_cycle(shop.installation)  # the diner's till is read
    told, cursor = tick(shop, graph)
    assert told[FRESH].metadata[LATE].value == "cafe"
    shop.now += timedelta(minutes=20)
    told, cursor = tick(shop, graph, cursor)
    assert told[FRESH].severity == dg.AssetCheckSeverity.WARN and told[FRESH].metadata[LATE].value == "cafe, diner"
    assert tick(shop, graph, cursor)[0] == {}


def test_slow_requests_turn_a_check_red(shop: Shop, graph: Graph) -> None:
    with closing(psycopg2.connect(shop.installation.catalogue.dsn)) as conn, conn, conn.cursor() as cur:
        for minutes, calls, ms in ((20, 10, 0.0), (10, 20, 60_000.0)):
            cur.execute(
                "insert into control.reader_samples (shard, reader, sampled_at, calls, total_ms, max_ms) values"
                " ('shard_1', 't_bi', clock_timestamp() - make_interval(mins => %s), %s, %s, 9000)",
                (minutes, calls, ms),
            )
    told, _ = tick(shop, graph)
    assert not told[QUICK].passed and told[QUICK].description == "t_bi on shard_1: 10 requests of 6.00 s"


def test_the_same_is_told_again_after_an_hour(shop: Shop, graph: Graph) -> None:
    one = dg.AssetCheckEvaluation(asset_key=ACME, check_name=FRESH, passed=True)
    told: dict[str, list[Any]] = {}
    assert [len(list(news([one], told, at))) for at in (0.0, 60.0, AGAIN - 1, AGAIN, AGAIN + 60)] == [1, 0, 0, 1, 0]


def test_by_hand_it_is_a_run_like_any_check(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    checks = watch_checks(graph)
    defs = dg.Definitions(
        assets=[*graph.external, readers_asset(graph)],
        asset_checks=checks,
        jobs=[dg.define_asset_job("watch_now", dg.AssetSelection.checks(*checks))],
        sensors=[watch_sensor(graph)],
        resources={"larder": Larder(shop.installation)},
    )
    done = defs.resolve_job_def("watch_now").execute_in_process(instance=instance)
    assert {(e.asset_key, e.check_name, e.passed) for e in done.get_asset_check_evaluations()} == {
        (ACME, FRESH, True), (READERS, QUICK, True),
    }  # fmt: skip
