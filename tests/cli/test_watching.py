"""`larder status`, `objective`, `slow`, `metrics` and `export`, as they are typed."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestration.metrics import UP
from sharding.access.tenants import open_session, revoke_access
from sharding.catalogue import Catalogue
from tests.cli.conftest import Ran

Larder = Callable[..., Ran]


@pytest.fixture
def two(catalogue: Catalogue) -> Catalogue:
    """Two businesses with a till, one of which was last read an hour ago."""
    for name, minutes in (("cafe", 60), ("diner", 1)):
        catalogue.add_business(name, name.title(), "shard_1")
        source = catalogue.add_source(name, "square", "till", {})
        with catalogue.connect() as conn, conn.cursor() as cur:
            cur.execute(
                "insert into control.cursors (source_id, stream, cursor, read_at, due_at)"
                " select %s, stream, '{}', clock_timestamp() - make_interval(mins => %s), clock_timestamp()"
                " from unnest(array['locations', 'catalog', 'orders', 'payments', 'refunds', 'team_members',"
                " 'timecards']) as stream",
                (source.id, minutes),
            )
    return catalogue


def test_status_is_one_page(larder: Larder, two: Catalogue) -> None:
    two.set_source_state("diner/till", "paused", "ann", "they move")
    page = larder("status").out
    assert "freshness: 1 of 2 businesses have data that are late" in page
    assert "shard_1" in page and "cafe/till" in page and "they move" in page
    assert "larder source resume diner/till" in page
    told = larder("status", "--json").json
    assert [shard["up"] for shard in told["shards"]] == [True]
    assert told["freshness"]["late_businesses"] == 1
    assert [one["source"] for one in told["freshness"]["worst"] if one["late"]] == ["cafe/till"]
    assert [one["source"] for one in told["sources_not_read"]] == ["diner/till"]


def test_status_of_one_business(larder: Larder, two: Catalogue) -> None:
    page = larder("status", "--business", "diner").out
    assert "its sources" in page and "diner/till" in page and "cafe" not in page
    told = larder("status", "--business", "diner", "--json").json
    assert (told["freshness"]["businesses"], told["freshness"]["late_businesses"]) == (1, 0)
    assert larder("status", "--business", "nobody").code == 2


def test_status_of_a_shard_that_is_away(larder: Larder, two: Catalogue) -> None:
    with two.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.shards set database = 'nowhere'")
    ran = larder("status")
    assert ran.code == 0 and '"nowhere" does not exist' in ran.out


def test_status_of_thousands_stays_a_page(larder: Larder, two: Catalogue) -> None:
    with two.connect() as conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.sources (source_id, business, integration, name, state, created_at)"
            " select 1000 + n, business, 'square', 'more_' || n, case when n %% 2 = 0 then 'paused' else 'active' end,"
            " '2020-01-01' from control.businesses, generate_series(1, 3000) as n where name = 'cafe'", ()
        )  # fmt: skip
        cur.execute(
            "insert into control.shards (shard, instance, database)"
            " select 'more_' || n, instance, 'none_' || n from control.shards, generate_series(1, 30) as n"
        )
    page = larder("status").out
    assert len(page.splitlines()) < 60
    assert "shards (10 of 31)" in page and "late, the latest first (10 of 1,501)" in page
    assert "sources that are not read now (10 of 1,500)" in page


def test_objectives_are_declared_and_taken_back(larder: Larder, two: Catalogue) -> None:
    assert larder("objective", "set", "2h", "--source", "cafe/till", "--by", "ann").code == 0
    assert larder("status", "--json").json["freshness"]["late_businesses"] == 0
    [row] = [row for row in larder("objective", "list", "--json").json if row["source"]]
    assert (row["source"], row["within"], row["set_by"]) == ("cafe/till", "2:00:00", "ann")
    assert larder("objective", "clear", "--source", "cafe/till").out == "cafe/till: its objective was taken back\n"
    assert larder("status", "--json").json["freshness"]["late_businesses"] == 1
    larder("objective", "set", "1d", "--kind", "pos", "--business", "cafe")
    assert larder("status", "--json").json["freshness"]["late_businesses"] == 0


@pytest.mark.parametrize(
    "arguments",
    [("quick",), ("0m",), ("15m", "--kind", "tills"), ("15m", "--business", "nobody"),
     ("15m", "--source", "cafe/till", "--kind", "pos")],
)  # fmt: skip
def test_an_objective_that_cannot_be(larder: Larder, two: Catalogue, arguments: tuple[str, ...]) -> None:
    ran = larder("objective", "set", *arguments)
    assert ran.code == 2 and "next: larder" in ran.err


def test_slow_tells_readers_and_their_statements(larder: Larder, two: Catalogue) -> None:
    assert "larder access grant cafe" in larder("slow", "--business", "cafe").err
    larder("access", "grant", "cafe")
    try:
        with closing(open_session(two, "cafe")) as session, session.cursor() as cur:
            cur.execute("select pg_sleep(0.02)")
        told = larder("slow", "--business", "cafe", "--json").json
        [reader] = told["readers"]
        assert (reader["business"], reader["calls"] >= 1, reader["longest ms"] >= 20) == ("cafe", True, True)
        assert told["statements"][0]["statement"] == "select pg_sleep($1)"
        assert told["longer_than_expected"] == []
        assert "larder_router" in larder("slow").out
    finally:
        revoke_access(two, "cafe")


def test_metrics_are_printed_and_written(larder: Larder, two: Catalogue, tmp_path: Path) -> None:
    printed = {metric.name for metric in text_string_to_metric_families(larder("metrics").out)}
    assert {UP, "larder_sources", "larder_shard_up"} <= printed
    assert larder("metrics", "--textfile", str(tmp_path / "larder.prom")).code == 0
    assert {m.name for m in text_string_to_metric_families((tmp_path / "larder.prom").read_text())} == printed


def test_metrics_are_served_until_told_to_stop(larder: Larder, two: Catalogue) -> None:
    command = [sys.executable, "-m", "cli.main", "metrics", "--serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(url, timeout=30) as answer:
                told = {metric.name: metric for metric in text_string_to_metric_families(answer.read().decode())}
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(30)
    assert told[UP].samples[0].value == 1 and told["larder_businesses_late"].samples[0].value == 1
    assert ended == 0


def test_export_says_where_to_and_with_which_role(larder: Larder, two: Catalogue, tmp_path: Path) -> None:
    assert "nobody says where to" in larder("export").err
    assert larder("export", "--to", str(tmp_path)).out.strip().endswith("larder access grant BUSINESS")
    ran = larder("export", "--to", str(tmp_path), "--business", "cafe", "--business", "diner", "--json")
    assert ran.code == 2 and [row["next"] for row in ran.json] == [
        "larder access grant cafe", "larder access grant diner",
    ]  # fmt: skip


def test_a_control_database_that_is_away_ends_with_its_command(
    larder: Larder, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg2, "connect", _refused)
    assert larder("status").code == 2


def _refused(*given: object, **named: object) -> None:
    raise psycopg2.OperationalError("connection refused")
