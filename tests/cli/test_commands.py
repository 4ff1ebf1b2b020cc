"""Commands on shards, businesses, sources, maps, queries and the installation itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import psycopg2
import pytest

from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.settings import Settings
from tests.cli.conftest import Ran

SPEC = """
name: till
title: Till
kind: pos
docs: https://till.example/docs
base_url: https://till.example
rate_limit: {requests: 50, per: 1s}
money: decimal
time_zone: utc
auth: {type: bearer, secret: token}
config: {site: {about: the site}}
streams:
  - {name: orders, about: Sales, path: /orders, records: orders, natural_key: id, cadence: 10m, feeds: [sale]}
"""


@pytest.fixture(autouse=True)
def integration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An integration that no vendor has."""
    folder = tmp_path / "integrations" / "till"
    folder.mkdir(parents=True)
    (folder / "integration.yml").write_text(SPEC)
    monkeypatch.setenv("LARDER_INTEGRATIONS_PATH", str(folder.parent))
    monkeypatch.setenv("TILL_TOKEN", "abc")


def test_a_business_and_its_source_from_nothing(larder: Callable[..., Ran], catalogue: Catalogue) -> None:
    added = larder("business", "add", "blue_cafe", "--shard", "shard_1", "--currency", "eur", "--json").json
    assert (added["id"], added["display_name"], added["reporting_currency"]) == (1, "Blue Cafe", "EUR")
    incomplete = larder("source", "add", "blue_cafe", "till", "--json")
    assert incomplete.code == 2 and "'site' is missing" in incomplete.json["error"]["cause"]
    unknown = larder("source", "add", "blue_cafe", "teller")
    assert unknown.code == 2 and "no integration 'teller'" in unknown.err
    no_secret = larder("source", "add", "blue_cafe", "till", "-s", "site=12", "--secret", "env:NO_SUCH")
    assert no_secret.code == 3 and "NO_SUCH is not set" in no_secret.err
    assert catalogue.sources() == []

    source = larder("source", "add", "blue_cafe", "till", "-s", "site=12", "--secret", "env:TILL_TOKEN", "--json").json
    since = source["config"].pop("since")  # what is not said is written down
    assert since < date.today().isoformat() and source["config"] == {"site": "12"}
    changed = larder("source", "set", "blue_cafe/till", "-s", "site=13", "-s", "requests_per_second:=5", "--json").json
    assert changed[0]["config"] == {"site": "13", "requests_per_second": 5, "since": since}
    assert larder("source", "check", "--offline").code == 0
    assert "paused" in larder("source", "pause", "blue_cafe/till").out
    assert [row["state"] for row in larder("source", "list", "--json").json] == ["paused"]
    assert larder("business", "list", "--json").json[0]["sources"] == 1
    assert larder("shard", "list", "--json").json[0]["businesses"] == 1


def test_an_unreachable_vendor_is_told_from_a_wrong_setting(
    larder: Callable[..., Ran], catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    catalogue.add_source("cafe", "till", "till", {"site": "1", "base_url": "http://127.0.0.1:1"}, "env:TILL_TOKEN")
    ran = larder("source", "check", "--patience", "0", "--json")
    assert (ran.code, ran.json[0]["turn"]) == (4, "vendor")
    monkeypatch.delenv("TILL_TOKEN")
    ran = larder("source", "check", "cafe/till", "--json")
    assert (ran.code, ran.json[0]["turn"]) == (3, "credentials")


def test_sql_runs_on_all_shards_or_one_and_only_reads(
    larder: Callable[..., Ran],
    make_shard: Callable[..., Shard],
    register: Callable[[Shard], Catalogue],
) -> None:
    for shard in (make_shard("shard_1"), make_shard("shard_2", "acme")):
        register(shard).add_business(f"on_{shard.name}", "x", shard.name)
    query = "select name, 1.10::numeric as n from {keys}.route"
    rows = [("shard_1", "on_shard_1", "1.10"), ("shard_2", "on_shard_2", "1.10")]
    assert larder("sql", query, "--json").json == [{"shard": s, "name": name, "n": n} for s, name, n in rows]
    printed = larder("sql", query, "--format", "csv").out
    assert [tuple(row) for row in csv.reader(io.StringIO(printed))] == [("shard", "name", "n"), *rows]
    assert larder("sql", query, "--shard", "shard_2", "--json").json == [{"name": "on_shard_2", "n": "1.10"}]
    assert "on_shard_1" in larder("sql", query).out
    refused = larder("sql", "delete from {keys}.route", "--json")
    assert refused.code == 2 and "read-only transaction" in refused.json["error"]["cause"]
    half = larder("sql", "select name from keys.route")
    assert half.code == 2 and "on_shard_1" in half.out and "shard_2: relation" in half.err


def test_a_map_is_set_and_listed(larder: Callable[..., Ran], catalogue: Catalogue, shard: Shard) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    source = catalogue.add_source("cafe", "till", "till", {})
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        statement = "insert into keys.source_location (parent_id, source_id, natural_key) values (%s, %s, 'S1')"
        cursor.execute(statement, (source.id, source.id))
    assert larder("map", "list", "location", "--unmapped", "--json").json[0]["target_id"] is None
    assert larder("map", "set", "location", "cafe/till:S1", "High Street", "--new", "--by", "ann").code == 0
    [row] = larder("map", "list", "location", "--json").json
    assert (row["target_name"], row["rule"], row["decided_by"]) == ("High Street", "approved", "ann")
    assert larder("map", "list", "location", "--unmapped", "--json").json == []
    ran = larder("map", "set-location", "cafe/High Street", "--timezone", "Europe/Kyiv", "--json")
    assert ran.code == 0
    [setting] = larder("map", "settings", "--json").json
    assert (setting["location"], setting["timezone"], setting["day_start"]) == (
        "High Street",
        "Europe/Kyiv",
        "04:00:00",
    )
    wrong = larder("map", "set", "location", "cafe/till:S1", "High Street", "--from", "tomorrow")
    assert wrong.code == 2 and "YYYY-MM-DD" in wrong.err


def test_status_and_doctor_of_an_installation_in_order(larder: Callable[..., Ran], catalogue: Catalogue) -> None:
    assert [row["name"] for row in larder("status", "--json").json["shards"]] == ["shard_1"]
    ran = larder("doctor", "--json")
    assert ran.code == 0, ran.out
    states = {row["check"]: row["state"] for row in ran.json}
    assert states["schema of shard_1"] == states["block store"] == states["postgres"] == states["clock"] == "ok"


def test_doctor_names_drift_and_a_block_store_it_cannot_write(
    larder: Callable[..., Ran], catalogue: Catalogue, shard: Shard, settings: Settings, tmp_path: Path
) -> None:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("delete from keys.schema_history where revision = '0002'")
    occupied = tmp_path / "file"
    occupied.write_text("")
    settings.block_store = f"file://{occupied}/blocks"
    ran = larder("doctor", "--json")
    found = {row["check"]: row for row in ran.json}
    assert ran.code == 2
    assert (found["schema of shard_1"]["state"], found["schema of shard_1"]["next"]) == ("fail", "larder up")
    assert found["block_store"]["state"] == "fail"


def test_a_control_database_that_is_gone_is_said(larder: Callable[..., Ran], settings: Settings) -> None:
    from pydantic import SecretStr

    settings.control_dsn = SecretStr("postgresql://nobody@127.0.0.1:1/none")
    ran = larder("shard", "list")
    assert ran.code == 2 and "control database does not answer" in ran.err and "next: larder up" in ran.err


def test_clean_prints_its_plan_first(larder: Callable[..., Ran], settings: Settings) -> None:
    assert larder("clean").out == "nothing to clean\n"
    settings.home.mkdir()
    (settings.home / "blocks").mkdir()
    assert str(settings.home) in larder("clean").out and settings.home.exists()
    assert larder("clean", "--yes").code == 0
    assert not settings.home.exists()
