"""What Dagster shows: lineage without a gap, and each shard's own state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from ingestion.registry import BUILT_IN, discover
from orchestration.assets import AD_HOC, cycle_assets, scope_of
from orchestration.installation import Larder
from orchestration.instance import prune
from orchestration.jobs import every_ten_minutes, make_jobs
from orchestration.keys import block_key, python_key, raw_key, vendor_key
from orchestration.manifest import load_manifest
from orchestration.python_model import python_models
from orchestration.specs import Graph, build_graph
from orchestration.translator import shards
from tests.conftest import take_over
from tests.orchestration.shop import Shop

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

SALES = dg.AssetKey(["marts", "sum_sales_day"])
FACT = dg.AssetKey(["marts", "fct_sale"])


def run(shop: Shop, graph: Graph, instance: dg.DagsterInstance, job: str = "cycle", **more: Any) -> Any:
    """Run a job as the schedule would: without a partition."""
    instance.add_dynamic_partitions(str(shards.name), ["shard_1", "shard_2"])
    defs = dg.Definitions(
        assets=[*graph.external, cycle_assets(graph)],
        jobs=make_jobs(graph, []),
        resources={"larder": Larder(shop.installation)},
    )
    return defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **more)


def events(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str | None, dict[str, Any]]:
    """Latest materialization of an asset by shard, as plain metadata."""
    records = instance.fetch_materializations(key, limit=50).records
    found: dict[str | None, dict[str, Any]] = {}
    for record in reversed(records):
        made = record.asset_materialization
        assert made is not None
        found[made.partition] = {name: value.value for name, value in made.metadata.items()}
    return found


def checks(instance: dg.DagsterInstance, name: str) -> list[tuple[str | None, bool]]:
    """(shard, passed) of every evaluation of a check, oldest first."""
    wanted = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = []
    for record in reversed(instance.event_log_storage.get_event_records(wanted)):
        event = record.event_log_entry.dagster_event
        assert event is not None
        result = event.asset_check_evaluation_data
        if result.check_name == name:
            found.append((result.partition, result.passed))
    return found


def states(instance: dg.DagsterInstance, key: dg.AssetKey) -> tuple[set[str], set[str]]:
    """Shards shown as materialized and as failed."""
    value = get_and_update_asset_status_cache_value(instance, key, shards)
    assert value is not None
    made = value.deserialize_materialized_partition_subsets(shards)
    failed = value.deserialize_failed_partition_subsets(shards)
    return set(made.get_partition_keys()) - set(failed.get_partition_keys()), set(failed.get_partition_keys())


def test_a_run_without_partition_reports_each_shard(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    assert run(shop, graph, instance).success
    blocks, raw, model = (events(instance, k) for k in (block_key("acme", "sales"), raw_key("acme", "sales"), SALES))
    assert set(blocks) == set(raw) == set(model) == {"shard_1", "shard_2"}
    assert (blocks["shard_1"]["businesses"], raw["shard_2"]["businesses"]) == ("cafe", "diner")
    assert blocks["shard_1"]["blocks"] == raw["shard_1"]["blocks"]
    assert model["shard_1"]["rows_inserted"] == 1
    assert model["shard_1"]["built_because"] == "never built"
    assert sorted(checks(instance, "every_source_answered")) == [("shard_1", True), ("shard_2", True)]
    assert sorted(checks(instance, "not_null_fct_sale_total")) == [("shard_1", True), ("shard_2", True)]
    assert set(events(instance, python_key("forecast_sales_day"))) == {"shard_1", "shard_2"}


def test_an_idle_shard_gets_no_event(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    run(shop, graph, instance)
    before = len(instance.fetch_materializations(SALES, limit=50).records)
    shop.now += timedelta(minutes=10)
    shop.sell("diner", "b", "7.25")
    run(shop, graph, instance)
    records = instance.fetch_materializations(SALES, limit=50).records[: -before or None]
    assert [r.asset_materialization.partition for r in records if r.asset_materialization] == ["shard_2"]


@pytest.mark.fault(18)
def test_a_failing_shard_is_red_alone(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    shop.sell("cafe", "a", "3.10", day="someday")
    shop.sell("diner", "b", "7.25")
    assert not run(shop, graph, instance).success
    assert states(instance, FACT) == states(instance, SALES) == ({"shard_2"}, {"shard_1"})
    assert states(instance, raw_key("acme", "sales")) == ({"shard_1", "shard_2"}, set())

    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "3.10")
    assert run(shop, graph, instance).success
    assert states(instance, FACT) == states(instance, SALES) == ({"shard_1", "shard_2"}, set())


def test_a_bad_row_is_a_red_check_and_stops_no_model(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    shop.sell("cafe", "a", None)
    shop.sell("cafe", "c", "2")
    assert not run(shop, graph, instance).success
    assert states(instance, SALES) == ({"shard_1", "shard_2"}, set())
    assert sorted(checks(instance, "not_null_fct_sale_total")) == [("shard_1", False), ("shard_2", True)]
    assert shop.rows(0, "select net_sales from {marts}.sum_sales_day") == [(2,)]


def test_a_refused_source_fails_its_check_and_not_the_run(
    shop: Shop, graph: Graph, instance: dg.DagsterInstance
) -> None:
    shop.broken = {"cafe"}
    assert run(shop, graph, instance).success
    assert sorted(checks(instance, "every_source_answered")) == [("shard_1", False), ("shard_2", True)]


def test_one_asset_on_one_shard_runs_again(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    run(shop, graph, instance)
    assert run(shop, graph, instance, AD_HOC, partition_key="shard_2", asset_selection=[SALES]).success
    [skipped] = instance.fetch_observations(SALES, limit=50).records
    assert skipped.partition_key == "shard_2", "it was asked, and had nothing to do"
    counts = {k: len(instance.fetch_materializations(k, limit=50).records) for k in (SALES, FACT)}
    assert counts == {SALES: 2, FACT: 2}
    assert not instance.fetch_observations(FACT, limit=50).records


def test_an_idle_tick_is_a_skip(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    def tick() -> dg.RunRequest | dg.SkipReason:
        with dg.build_schedule_context(instance=instance, resources={"larder": Larder(shop.installation)}) as context:
            answer: dg.RunRequest | dg.SkipReason = every_ten_minutes(context)
            return answer

    assert isinstance(tick(), dg.RunRequest)
    run(shop, graph, instance)
    assert isinstance(tick(), dg.SkipReason)
    shop.now += timedelta(minutes=10)
    request = tick()
    assert isinstance(request, dg.RunRequest) and request.partition_key is None
    assert instance.get_dynamic_partitions(str(shards.name)) == ["shard_1", "shard_2"]


def test_old_runs_go_but_not_what_an_asset_rests_on(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    shop.sell("cafe", "a", "3.10")
    run(shop, graph, instance)
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "4.10")
    run(shop, graph, instance, "transform")
    run(shop, graph, instance)
    later = datetime.now(UTC) + timedelta(days=31)
    assert len(instance.get_runs()) == 3
    assert prune(instance, [*graph.streams, *graph.models], now=later) == 1, "the idle one"
    assert set(events(instance, SALES)) == {"shard_1", "shard_2"}


def test_a_selection_means_its_steps(graph: Graph) -> None:
    chosen = frozenset({"shard_1"})
    only = scope_of(graph, {block_key("acme", "sales")}, chosen, force=True)
    assert (only.steps, only.streams, only.shards) == (("extract",), None, chosen)
    some = scope_of(graph, {SALES, python_key("forecast_sales_day")}, chosen, force=True)
    assert (some.steps, some.choice.select, some.choice.python) == (
        ("build",),
        ("sum_sales_day",),
        ("forecast_sales_day",),
    )
    everything = scope_of(graph, {*graph.streams, *graph.models}, None, force=False)
    assert everything.steps == ("extract", "load", "build") and not everything.choice.partial


# -- the warehouse's own graph ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def manifest(parsed_models: DbtProject, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """dbt's manifest of this repository, by a process of its own."""
    work_dir = tmp_path_factory.mktemp("dbt")
    take_over(parsed_models, work_dir)
    return load_manifest(Path(__file__).resolve().parents[2], work_dir)


@pytest.fixture(scope="session")
def warehouse(manifest: Any) -> Graph:
    """The graph with every integration."""
    return build_graph(discover(), manifest, python_models())


def upstream(graph: Graph, key: dg.AssetKey) -> set[dg.AssetKey]:
    """Everything an asset rests on."""
    deps = {spec.key: {dep.asset_key for dep in spec.deps} for spec in graph.assets}
    seen: set[dg.AssetKey] = set()
    todo = [key]
    while todo:
        for dep in deps.get(todo.pop(), set()) - seen:
            seen.add(dep)
            todo.append(dep)
    return seen


def asset_parents(manifest: Any, unique_id: str) -> Iterator[str]:
    """dbt's parents of a node, seen through ephemeral models."""
    for parent in manifest["parent_map"][unique_id]:
        props = manifest["nodes"].get(parent)
        if props and props["config"]["materialized"] == "ephemeral":
            yield from asset_parents(manifest, parent)
        else:
            yield parent


def test_every_edge_of_dbt_is_an_edge_in_dagster(warehouse: Graph, manifest: Any) -> None:
    deps = {spec.key: {dep.asset_key for dep in spec.deps} for spec in warehouse.assets}
    for key, unique_id in warehouse.models.items():
        if not unique_id.startswith("python."):
            parents = {warehouse_key(manifest, p) for p in asset_parents(manifest, unique_id)} - {key}
            assert parents == deps[key], unique_id


def warehouse_key(manifest: Any, unique_id: str) -> dg.AssetKey:
    from orchestration.keys import dbt_key

    return dbt_key(manifest["nodes"].get(unique_id) or manifest["sources"][unique_id])


def test_what_a_stream_feeds_reaches_a_summary_and_every_summary_a_vendor(warehouse: Graph) -> None:
    specs = discover()
    summaries = [k for k in warehouse.models if k.path[-1].startswith("sum_")]
    assert summaries
    # A mailing is told once, with all its figures: there is nothing to sum up.
    told = [k for k in warehouse.models if k.path[-1] == "fct_mailing"]
    reached = set().union(*(upstream(warehouse, k) for k in summaries + told))
    for name, spec in specs.items():
        for stream in spec.streams:
            if stream.feeds:
                assert raw_key(name, stream.name) in reached, f"{name}.{stream.name} feeds {stream.feeds}"
                assert block_key(name, stream.name) in reached
        assert vendor_key(name) in reached
    vendors = {vendor_key(name) for name in specs}
    assert all(upstream(warehouse, k) & vendors for k in summaries)


def test_every_asset_says_what_it_is(warehouse: Graph) -> None:
    def lacking(what: str) -> Sequence[str]:
        return [s.key.to_user_string() for s in warehouse.assets if not getattr(s, what)]

    for what in ("description", "group_name", "kinds", "owners", "partitions_def"):
        assert not lacking(what), what


def test_every_dbt_test_is_a_check(warehouse: Graph, manifest: Any) -> None:
    tests = {n for n, p in manifest["nodes"].items() if p["resource_type"] == "test"}
    on_sources_only = {
        n for n in tests if not any(d in manifest["nodes"] for d in manifest["nodes"][n]["depends_on"]["nodes"])
    }
    assert tests - on_sources_only == set(warehouse.tests)


def test_only_configured_streams_are_shown(manifest: Any) -> None:
    specs = discover((BUILT_IN,))
    graph = build_graph({"square": specs["square"]}, manifest, python_models())
    shown = {part for spec in [*graph.external, *graph.assets] for part in spec.key.path}
    assert "raw_square" in shown
    assert not [part for part in shown for name in specs if name != "square" and name in part]
    assert not [dep for spec in graph.assets for dep in spec.deps if "toast" in dep.asset_key.to_user_string()]
