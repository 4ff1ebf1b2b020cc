"""`larder extract`, `blocks` and `integration` as a person runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner

from cli.context import get_context
from cli.main import app
from cli.output import EXIT_CODES
from ingestion import registry
from sharding.catalogue import Catalogue
from sharding.errors import LarderError as ShardingError
from sharding.settings import Settings

SPEC = """
name: acme
title: Acme
kind: pos
docs: https://acme.example
base_url: https://acme.example
auth: {type: bearer}
rate_limit: {requests: 1000}
money: decimal
time_zone: utc
streams:
  - name: items
    about: Items
    path: /items
    records: data
    natural_key: id
    deletes: snapshot
"""

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `larder …` on this test's installation, which knows one made-up integration."""
    folder = tmp_path / "integrations" / "acme"
    folder.mkdir(parents=True)
    (folder / "integration.yml").write_text(SPEC)
    monkeypatch.setenv("LARDER_INTEGRATIONS_PATH", str(folder.parent))
    monkeypatch.setenv("ACME_TOKEN", "s3cret")
    get_context.cache_clear()
    registry._discover.cache_clear()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return invoke


@pytest.fixture
def connected(catalogue: Catalogue, vendor_url: str) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    catalogue.add_source("cafe", "acme", "good", {"base_url": vendor_url}, "env:ACME_TOKEN")


@pytest.fixture
def vendor_url(httpserver: HTTPServer) -> str:
    httpserver.expect_request("/items").respond_with_data('{"data": [{"id": 1, "price": 1.10}]}')
    return httpserver.url_for("")


@pytest.mark.usefixtures("connected")
def test_extract_then_look_at_the_block(run: Run) -> None:
    result = run("extract", "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["source"], row["stream"], row["outcome"], row["records"]) == ("cafe/good", "items", "block", 1)
    (block,) = json.loads(run("blocks", "list", "--pending", "--json").stdout)
    assert (block["source"], block["records"], block["state"]) == ("cafe/good", 1, "pending")
    shown = json.loads(run("blocks", "show", block["block"], "--records", "1", "--json").stdout)
    [record] = shown["records"]
    assert record["record"] == '{"id": 1, "price": 1.10}' and shown["manifest"]["integration"] == "acme"
    assert run("blocks", "verify", block["block"]).exit_code == 0
    assert "not_due" in run("extract").stdout
    assert json.loads(run("blocks", "reindex", "--json").stdout) == {"added": 0}


@pytest.mark.usefixtures("connected")
def test_a_failing_source_is_shown_and_decides_the_exit_code(run: Run, catalogue: Catalogue) -> None:
    catalogue.add_source("cafe", "acme", "gone", {"base_url": "http://127.0.0.1:9"}, "env:ACME_TOKEN")
    result = run("extract", "--json", "--patience", "0.1")
    assert {row["source"]: row["outcome"] for row in json.loads(result.stdout)} == {
        "cafe/good": "block",
        "cafe/gone": "failed",
    }
    assert result.exit_code == EXIT_CODES["vendor"]
    assert getattr(run("extract", "--patience", "0.1").exception, "turn", None) == "vendor"


@pytest.mark.usefixtures("connected")
def test_a_secret_that_is_not_there_is_the_owners_turn(run: Run, catalogue: Catalogue) -> None:
    catalogue.add_source("cafe", "acme", "bare", {}, "env:NOT_SET")
    result = run("extract", "--json")
    assert {row["source"]: row["outcome"] for row in json.loads(result.stdout)}["cafe/good"] == "block"
    assert result.exit_code == EXIT_CODES["credentials"]
    told = run("extract", "--force").exception
    assert isinstance(told, ShardingError) and told.turn == "credentials"


def test_an_unknown_block_is_named(run: Run, catalogue: Catalogue) -> None:
    assert "is not a block id" in str(run("blocks", "show", "x").exception)
    assert "there is no block" in str(run("blocks", "show", "01a1fbf3-1708-73c9-acf3-d2abda05f43f").exception)


def test_integrations_are_listed_and_generated_files_are_current(run: Run) -> None:
    rows = json.loads(run("integration", "list", "--json").stdout)
    assert {"integration": "acme", "stream": "items", "deletions": "absence"}.items() <= next(
        row for row in rows if row["integration"] == "acme"
    ).items()
    result = run("integration", "sync", "--check")
    assert result.exit_code == 0 and "up to date" in result.stdout
