"""Metrics, scraped from a real server; dashboard and alerts ask for those that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from prometheus_client import generate_latest, start_http_server
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from orchestration import samples
from orchestration.cycle import Scope, run_cycle
from orchestration.metrics import FAMILIES, UP, WORST, registry_of
from orchestration.overview import Overview, look
from tests.orchestration.shop import Shop

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "watching" / "grafana" / "larder.json").read_text())
ALERTS = yaml.safe_load((ROOT / "watching" / "prometheus" / "alerts.yml").read_text())
PROMTOOL = shutil.which("promtool")
WITH_ALL = {"app", "instance", "job"}


@pytest.fixture
def scrape(shop: Shop) -> Iterator[Any]:
    """`scrape()`: what a server of the shop's metrics answers, by name."""

    def seen() -> Overview:
        return look(shop.installation.catalogue, shop.installation.store, shop.now, 5.0)

    server, thread = start_http_server(0, "127.0.0.1", registry_of(seen, keep=0))

    def scraped() -> dict[str, Metric]:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        if PROMTOOL is not None:
            assert promtool("check", "metrics", text=text) == ""
        return {metric.name: metric for metric in text_string_to_metric_families(text)}

    yield scraped
    server.shutdown()
    server.server_close()
    thread.join()


def promtool(*arguments: str, text: str | None = None) -> str:
    """What Prometheus' own checker says, where it is installed (Debian: prometheus)."""
    assert PROMTOOL is not None
    ran = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def value(metrics: Mapping[str, Metric], name: str, **labels: str) -> float:
    [found] = [s for s in metrics[name.removesuffix("_total")].samples if s.name == name and s.labels == labels]
    return float(found.value)


def test_a_scrape_tells_what_cycles_did(shop: Shop, scrape: Any) -> None:
    shop.sell("cafe", "a", "3.10")
    assert not run_cycle(shop.installation).failures
    samples.take(shop.installation.catalogue)
    first = scrape()
    assert set(first) == {UP, *(family.name for family in FAMILIES)}
    assert value(first, UP) == 1
    assert value(first, "larder_extracts_total", integration="acme", outcome="block") == 1
    assert value(first, "larder_extracted_records_total", integration="acme") == 1
    assert value(first, "larder_loaded_records_total", integration="acme", fate="versions") == 1
    assert value(first, "larder_extracts_total", integration="acme", outcome="empty") == 1
    assert value(first, "larder_requests_total", integration="acme") >= 2
    assert value(first, "larder_extracted_bytes_total", integration="acme") > 10
    assert value(first, "larder_loaded_blocks_total", integration="acme") == 1
    assert value(first, "larder_rows_changed_total", shard="shard_1", change="inserted") > 0
    assert value(first, "larder_passes_total", shard="shard_1", state="built") == 1
    assert value(first, "larder_cycle_seconds", shard="shard_2") > 0
    assert value(first, "larder_shard_up", shard="shard_1") == 1
    assert value(first, "larder_pending_blocks", shard="shard_1") == 0
    assert value(first, "larder_sources", integration="acme", kind="pos", state="fresh") == 2
    assert value(first, "larder_sources", integration="acme", kind="pos", state="late") == 0
    assert value(first, "larder_reader_requests_total", shard="shard_1", reader="larder_loader") > 0
    shop.now = shop.now.replace(hour=13)
    shop.sell("cafe", "b", "3.10")
    shop.broken.add("diner")
    late = scrape()
    assert value(late, "larder_businesses_late") == 2
    assert value(late, "larder_data_age_seconds", integration="acme", kind="pos") == 3600
    assert value(late, "larder_late_source_age_seconds", source="cafe/till", integration="acme") == 3600
    run_cycle(shop.installation)
    second = scrape()
    assert value(second, "larder_extract_errors_total", integration="acme", turn="credentials") == 1
    assert value(second, "larder_extracted_records_total", integration="acme") >= 2
    for metric in first.values():  # what counts never falls
        if metric.type == "counter" and not metric.name.startswith("larder_reader"):
            for sample in metric.samples:
                assert value(second, sample.name, **sample.labels) >= sample.value


def test_what_waits_is_told_by_shard(shop: Shop, scrape: Any) -> None:
    shop.sell("cafe", "a", "3.10")
    run_cycle(shop.installation, Scope(steps=("extract",)))
    metrics = scrape()
    assert value(metrics, "larder_pending_blocks", shard="shard_1") == 1
    assert value(metrics, "larder_pending_blocks", shard="shard_2") == 0
    assert value(metrics, "larder_pending_bytes", shard="shard_1") > 10
    assert metrics["larder_shard_up"].samples == []  # nobody has looked


def test_a_scrape_without_a_control_database_says_so(shop: Shop, scrape: Any) -> None:
    dsn = shop.installation.catalogue.dsn
    shop.installation.catalogue.dsn = re.sub(r"/[^/]*$", "/nowhere", dsn)
    try:
        assert set(metrics := scrape()) == {UP} and value(metrics, UP) == 0
    finally:
        shop.installation.catalogue.dsn = dsn
    assert value(scrape(), UP) == 1


def test_what_takes_long_is_not_asked_for_each_scrape(shop: Shop) -> None:
    asked: list[float] = []

    def seen() -> Overview:
        asked.append(time.monotonic())
        return look(shop.installation.catalogue, shop.installation.store, shop.now, 5.0)

    often = registry_of(seen, keep=1e6)
    assert generate_latest(often) == generate_latest(often) and len(asked) == 1


def test_labels_are_few_however_many_sources_there_are(shop: Shop, scrape: Any) -> None:
    with closing(psycopg2.connect(shop.installation.catalogue.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.sources (source_id, business, integration, name, created_at)"
            " select 1000 + n, business, 'acme', 'more_' || n, '2025-01-01'"
            " from control.businesses, generate_series(1, 200) as n where name = 'cafe'"
        )
        cur.execute(
            "insert into control.cursors (source_id, stream, cursor, read_at)"
            " select source_id, 'sales', '{}', '2025-02-01' from control.sources where name like 'more%'"
        )
    metrics = scrape()
    assert value(metrics, "larder_sources", integration="acme", kind="pos", state="very_late") == 200
    assert len(metrics["larder_late_source_age_seconds"].samples) == WORST
    assert sum(len(metric.samples) for metric in metrics.values()) < 60


# -- what asks for them ----------------------------------------------------------------------------------------------

EXPOSED = {family.exposed: set(family.labels) for family in FAMILIES} | {UP: set()}


def asked() -> Iterator[tuple[str, str]]:
    """(what asks, query) of the dashboard and the alerts."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for rule in ALERTS["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("who", "query"), list(asked()))
def test_every_query_asks_for_metrics_and_labels_that_there_are(who: str, query: str) -> None:
    metrics = set(re.findall(r"\blarder_\w+", query))
    assert metrics and metrics <= set(EXPOSED), who
    labels = set().union(*(EXPOSED[name] for name in metrics))
    grouped = re.findall(r"\bby \(([^)]*)\)", query)
    used = {label.strip() for group in grouped for label in group.split(",")}
    used |= set(re.findall(r"[{,]\s*(\w+)\s*=~?", query))
    assert used <= labels, who
    counters = {name for name in metrics if name.endswith("_total")}
    assert all(re.search(rf"(rate|increase)\({name}", query) for name in counters), who


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_rules_fire_when_they_should_and_prometheus_parses_every_query(tmp_path: Path) -> None:
    rules = ROOT / "watching" / "prometheus"
    assert "SUCCESS: 8 rules found" in promtool("check", "rules", str(rules / "alerts.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(rules / "alerts.test.yml"))
    queries = [re.sub(r"\$__\w+", "5m", query) for _, query in asked()]
    records = [{"record": f"larder:query_{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", str(tmp_path / "queries.yml"))


def test_every_metric_is_shown() -> None:
    shown = {name for _, query in asked() for name in re.findall(r"\blarder_\w+", query)}
    assert set(EXPOSED) - shown == {"larder_businesses", "larder_shard_sampled_timestamp_seconds"}


def test_legends_name_labels_that_queries_keep() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            [kept] = re.findall(r"\bby \(([^)]*)\)", target["expr"])[:1] or [None]
            metrics = re.findall(r"\blarder_\w+", target["expr"])
            there = {label.strip() for label in kept.split(",")} if kept else EXPOSED[metrics[0]]
            assert named <= there, panel["title"]


def test_the_dashboard_is_one() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time", "timezone"} <= set(DASHBOARD)
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in ("row", "stat", "timeseries", "table") and panel["title"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"  # whatever Prometheus is called there
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(refs)) == len(refs)
