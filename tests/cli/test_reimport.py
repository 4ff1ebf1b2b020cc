"""`larder reimport`: what would change is shown, then changed; what vanished is gone; the live cursor stays."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cli.context import Context
from ingestion.registry import _discover
from sharding.catalogue import Catalogue
from sharding.model import Shard
from tests.cli.conftest import Ran

Larder = Callable[..., Ran]
NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
INTEGRATION = """
name: acme
title: Acme
kind: pos
docs: https://acme.example
base_url: https://acme.example
auth: {type: bearer}
rate_limit: {requests: 10000}
money: decimal
time_zone: utc
ALLOWED
streams:
  - name: sites
    about: Sites
    path: /sites
    records: data
    natural_key: id
    deletes: snapshot
  - name: sales
    about: Sales
    path: /sales
    params: {from: "{from}", to: "{to}"}
    records: data
    natural_key: id
    modified: {path: changed}
    cursor: {lag: 5m, initial: 10d, max_age: 60d}
  - name: spend
    about: Spend
    path: /spend
    params: {from: "{from}", to: "{to}"}
    records: data
    natural_key: [campaign, day]
    cursor: {format: date, lag: 1d, initial: 10d, restatement: 2d, max_window: 3d}
    deletes: complete_window
    window_field: day
"""


class Vendor:
    """A till and an ad account."""

    def __init__(self) -> None:
        self.sales: dict[str, dict[str, Any]] = {}
        self.spend: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str, str]] = []

    def sell(self, key: str, day: int, total: str) -> None:
        self.sales[key] = {"id": key, "total": total, "changed": f"2025-03-{day:02d}T10:00:00+00:00"}

    def answer(self, request: Request) -> Response:
        name = request.path.strip("/")
        low, high = request.args.get("from", ""), request.args.get("to", "")
        self.asked.append((name, low, high))
        found: list[Any] = [{"id": "here"}]
        if name == "sales":
            found = [s for s in self.sales.values() if low <= s["changed"] <= high]
        if name == "spend":
            found = [
                {"campaign": c, "day": d, "spend": json.loads(v)}
                for (c, d), v in sorted(self.spend.items())
                if low <= d <= high
            ]
        return Response(json.dumps({"data": found}), mimetype="application/json")


@pytest.fixture
def vendor(httpserver: HTTPServer, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """Ten days of trade of the business `cafe`, extracted and not loaded."""
    made = Vendor()
    for name in ("sites", "sales", "spend"):
        httpserver.expect_request(f"/{name}").respond_with_handler(made.answer)
    declare(tmp_path, monkeypatch)
    (tmp_path / "token").write_text("s3cret")
    catalogue.add_business("cafe", "Café", "shard_1")
    config = {"base_url": httpserver.url_for("").rstrip("/")}
    catalogue.add_source("cafe", "acme", "till", config, f"file:{tmp_path}/token")
    monkeypatch.setattr(Context, "clock", property(lambda _: lambda: NOW))
    for day in range(1, 10):
        made.sell(f"s{day}", day, "10.00")
        made.spend["a", f"2025-03-{day:02d}"] = "5.50"
    return made


def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str = "") -> None:
    path = tmp_path / "integrations" / "acme" / "integration.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(INTEGRATION.replace("ALLOWED", allowed))
    monkeypatch.setenv("LARDER_INTEGRATIONS_PATH", str(tmp_path / "integrations"))
    _discover.cache_clear()


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(query)
        return cur.fetchall()


def read_and_load(larder: Larder) -> None:
    assert larder("extract", "--source", "cafe/till").code == 0
    assert larder("load").code == 0


def again(larder: Larder, first: str, last: str, *more: str) -> Ran:
    return larder(
        "reimport", "--business", "cafe", "--source", "till", "--from", first, "--to", last, "--no-build", *more
    )


CURSORS = "select stream, cursor, due_at, read_at, block_id from control.cursors order by 1"


def test_nothing_new_changes_nothing(larder: Larder, vendor: Vendor, catalogue: Catalogue) -> None:
    read_and_load(larder)
    blocks, cursors = rows(catalogue.dsn, "select count(*) from control.blocks"), rows(catalogue.dsn, CURSORS)
    vendor.asked.clear()
    ran = again(larder, "2025-03-04", "2025-03-06")
    assert ran.code == 0 and "nothing would change: the warehouse has it all" in ran.out
    assert rows(catalogue.dsn, "select count(*) from control.blocks") == blocks
    assert rows(catalogue.dsn, CURSORS) == cursors
    assert {name for name, _, _ in vendor.asked} == {"sales", "spend"}
    assert [asked[1:] for asked in vendor.asked if asked[0] == "sales"] == [
        (f"2025-03-0{d}T00:00:00.000Z", f"2025-03-0{d + 1}T00:00:00.000Z") for d in (4, 5, 6)
    ], "a day at a time"
    assert [asked[1:] for asked in vendor.asked if asked[0] == "spend"] == [("2025-03-04", "2025-03-06")]


def test_what_changed_is_shown_and_then_changed(
    larder: Larder, vendor: Vendor, catalogue: Catalogue, shard: Shard
) -> None:
    read_and_load(larder)
    cursors = rows(catalogue.dsn, CURSORS)
    vendor.sell("s4", 4, "12.35")  # the vendor changed it without a word: `changed` is as it was
    vendor.sell("late", 5, "7.00")
    vendor.spend["a", "2025-03-05"] = "6.25"
    del vendor.spend["a", "2025-03-06"]
    del vendor.sales["s6"]

    told = again(larder, "2025-03-04", "2025-03-06", "--dry-run", "--json").json
    assert {(d["stream"], d["date"]): (d["new"], d["changed"], d["vanished"]) for d in told["days"]} == {
        ("sales", "2025-03-04"): (0, 1, 0),
        ("sales", "2025-03-05"): (1, 0, 0),
        ("spend", "2025-03-05"): (0, 1, 0),
        ("spend", "2025-03-06"): (0, 0, 1),
    }
    amounts = {(d["stream"], d["date"]): d["amounts"] for d in told["days"]}
    assert amounts["sales", "2025-03-04"] == {"total": "2.35"}
    assert amounts["sales", "2025-03-05"] == {"total": "7.00"}
    assert amounts["spend", "2025-03-06"] == {"spend": "-5.5"}
    changed = next(r for r in told["records"] if r["key"] == "s4")
    assert changed["fields"] == [{"field": "total", "was": '"10.00"', "becomes": '"12.35"', "difference": "2.35"}]
    assert rows(shard.dsn, "select count(*) from raw_acme.sales_current") == [(9,)], "a dry run changes nothing"
    assert not list((Path(catalogue.home) / "reimports").iterdir()), "and leaves nothing"

    ran = again(larder, "2025-03-04", "2025-03-06", "--yes")
    assert ran.code == 0, ran.err
    assert "4 records would change" in ran.out
    assert rows(catalogue.dsn, CURSORS) == cursors, "the live cursor is untouched"
    lanes = "select distinct manifest ->> 'lane', manifest ->> 'created_by' from control.blocks where loaded_at is null"
    assert rows(catalogue.dsn, lanes) == [("bulk", "larder reimport")]
    assert larder("load").code == 0
    current = dict(rows(shard.dsn, "select natural_key, payload ->> 'total' from raw_acme.sales_current"))
    assert (current["s4"], current["late"], len(current)) == ("12.35", "7.00", 10)
    assert "s6" in current, "a window by modification does not tell what vanished"
    spent = dict(rows(shard.dsn, "select natural_key, (payload ->> 'spend')::numeric from raw_acme.spend_current"))
    assert spent["a|2025-03-05"] == Decimal("6.25") and "a|2025-03-06" not in spent and len(spent) == 8
    assert "nothing would change" in again(larder, "2025-03-04", "2025-03-06").out


@pytest.mark.fault(11)
def test_the_next_extract_goes_on_as_if_nothing_had_been(
    larder: Larder, vendor: Vendor, catalogue: Catalogue, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_and_load(larder)
    for day in range(1, 4):
        del vendor.spend["a", f"2025-03-{day:02d}"]
    assert again(larder, "2025-03-01", "2025-03-03", "--yes").code == 0
    vendor.spend.clear()  # an empty window after a reimport's empty window is news all the same
    monkeypatch.setattr(Context, "clock", property(lambda _: lambda: NOW + timedelta(days=1)))
    read_and_load(larder)
    left = rows(shard.dsn, "select natural_key from raw_acme.spend_current order by 1")
    assert left == [(f"a|2025-03-{day:02d}",) for day in range(4, 9)], "the vendor restates two days"


def test_a_stream_without_windows_is_read_whole_when_it_is_named(larder: Larder, vendor: Vendor) -> None:
    read_and_load(larder)
    told = again(larder, "2025-03-04", "2025-03-04", "--stream", "sites", "--dry-run", "--json").json
    assert [(one["stream"], one["records"]) for one in told["read"]] == [("sites", 1)]


def test_a_vendor_with_hours_or_a_horizon_is_respected(
    larder: Larder, vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = again(larder, "2024-12-01", "2024-12-02")
    assert ran.code == 4 and "serves nothing of sales before 2025-01-09" in ran.err
    assert again(larder, "2025-04-01", "2025-04-02").code == 2, "the future"
    declare(tmp_path, monkeypatch, 'allowed_hours: {from: "02:00", to: "04:00"}')
    ran = again(larder, "2025-03-04", "2025-03-04")
    assert ran.code == 2 and "may be asked from 2025-03-11 02:00 UTC on" in ran.err
    assert vendor.asked == []


@pytest.mark.fault(13)
def test_a_vendor_that_fails_half_way_leaves_everything(
    larder: Larder, vendor: Vendor, catalogue: Catalogue, httpserver: HTTPServer
) -> None:
    read_and_load(larder)
    before = rows(catalogue.dsn, "select count(*) from control.blocks")
    httpserver.clear_all_handlers()
    httpserver.expect_request("/sales").respond_with_handler(vendor.answer)
    httpserver.expect_request("/spend").respond_with_data("no", status=403)
    vendor.sell("s4", 4, "99.00")
    ran = again(larder, "2025-03-04", "2025-03-04", "--yes")
    assert ran.code == 3
    assert rows(catalogue.dsn, "select count(*) from control.blocks") == before
