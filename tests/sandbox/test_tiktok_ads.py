"""The TikTok Ads of the sandbox: its envelope, codes, pages and reports, and what the engine makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ingestion.blocks import BlockStore
from ingestion.extract import Options, StreamResult, extract_source
from ingestion.index import pending
from ingestion.integrations.tiktok_ads.receipts import receipts
from ingestion.registry import get
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Faults, Request
from ingestion.sandbox.server import serving
from ingestion.sandbox.vendors.tiktok_ads.accounts import JAFFLE_SHOP, PIZZA_PLACE, TOKENS
from ingestion.sandbox.vendors.tiktok_ads.vendor import TikTokAdsVendor
from ingestion.source import SourceRef
from reconcile.model import Sites
from reconcile.reader import parse

NOW = datetime(2024, 3, 30, 16, 30, tzinfo=UTC)
PAGES = Path(__file__).parents[1] / "fixtures" / "tiktok_ads"
INFO, CAMPAIGNS, REPORT = "advertiser/info", "campaign/get", "report/integrated/get"
METRICS = [
    "campaign_name",
    "spend",
    "impressions",
    "clicks",
    "conversion",
    "complete_payment",
    "total_complete_payment_rate",
]
DAILY = {
    "report_type": "BASIC",
    "data_level": "AUCTION_CAMPAIGN",
    "dimensions": '["campaign_id","stat_time_day"]',
    "metrics": json.dumps(METRICS),
    "start_date": "2024-03-01",
    "end_date": "2024-03-30",
    "page_size": "1000",
}


@pytest.fixture(scope="module")
def vendor(whole_trade: Trade) -> TikTokAdsVendor:
    return TikTokAdsVendor(whole_trade)


def ask(
    vendor: TikTokAdsVendor,
    path: str,
    query: dict[str, str],
    now: datetime = NOW,
    token: str = TOKENS[JAFFLE_SHOP],
    account: str = JAFFLE_SHOP,
) -> dict[str, Any]:
    """The body; the status is always 200."""
    headers = {"access-token": token} if token else {}
    sent = {"advertiser_id": account} | query
    answer: Answer = vendor.answer(Request("GET", f"/open_api/v1.3/{path}/", sent, headers, b"", "", now))
    assert answer.status == 200 and not answer.headers
    body: dict[str, Any] = parse(answer.body)
    return body


def report(vendor: TikTokAdsVendor, now: datetime = NOW, **query: str) -> dict[tuple[str, str], dict[str, str]]:
    body = ask(vendor, REPORT, DAILY | query, now)
    return {
        (row["dimensions"]["stat_time_day"], row["dimensions"]["campaign_id"]): row["metrics"]
        for row in body["data"]["list"]
    }


def test_rows_have_the_recorded_shape(vendor: TikTokAdsVendor) -> None:
    recorded = json.loads((PAGES / "daily.json").read_text())
    served = ask(vendor, REPORT, DAILY)
    assert served.keys() == recorded.keys()
    assert served["data"]["page_info"].keys() == recorded["data"]["page_info"].keys()
    assert served["data"]["list"][0]["dimensions"].keys() == recorded["data"]["list"][0]["dimensions"].keys()
    assert set(served["data"]["list"][0]["metrics"]) == set(METRICS)


def test_everything_is_text_and_amounts_have_two_decimals(vendor: TikTokAdsVendor) -> None:
    for metrics in report(vendor).values():
        assert all(isinstance(value, str) for value in metrics.values())
        assert re.fullmatch(r"\d+\.\d\d", metrics["spend"])
        assert re.fullmatch(r"\d+\.\d\d", metrics["total_complete_payment_rate"])


def test_pages_are_numbered_and_their_number_is_told(vendor: TikTokAdsVendor) -> None:
    whole = ask(vendor, REPORT, DAILY)["data"]["list"]
    pages = [ask(vendor, REPORT, DAILY | {"page": str(n), "page_size": "25"})["data"] for n in (1, 2, 3, 4)]
    assert [row for page in pages for row in page["list"]] == whole
    assert {page["page_info"]["total_page"] for page in pages} == {-(-len(whole) // 25)} == {3}
    assert pages[3]["list"] == []


def test_a_report_is_no_snapshot_between_pages(vendor: TikTokAdsVendor) -> None:
    first = ask(vendor, REPORT, DAILY | {"page_size": "25"})["data"]["list"]
    later = ask(vendor, REPORT, DAILY | {"page": "2", "page_size": "25"}, NOW + timedelta(hours=8))["data"]["list"]
    keys = [json.dumps(row["dimensions"]) for row in first + later]
    whole = {json.dumps(row["dimensions"]) for row in ask(vendor, REPORT, DAILY)["data"]["list"]}
    assert len(set(keys)) < len(keys) or set(keys) != {json.dumps(row["dimensions"]) for row in first} | whole


def test_a_day_is_restated_for_28_days_and_then_settled(vendor: TikTokAdsVendor) -> None:
    reports = [report(vendor, NOW + timedelta(days=days)) for days in (-6, -3, 0, 3, 10, 28, 60)]
    pairs = [(before, after, key) for before, after in pairwise(reports) for key in before]
    assert any(k in after and Decimal(after[k]["spend"]) < Decimal(before[k]["spend"]) for before, after, k in pairs)
    assert any(k not in after for _, after, k in pairs), "credited in full"
    assert reports[4] != reports[5] and reports[5] == reports[6]


def test_deleted_campaigns_are_listed_for_who_asks(vendor: TikTokAdsVendor) -> None:
    usual = ask(vendor, CAMPAIGNS, {})["data"]["list"]
    every = ask(vendor, CAMPAIGNS, {"filtering": '{"primary_status":"STATUS_ALL"}'})["data"]["list"]
    gone = [campaign for campaign in every if campaign not in usual]
    assert [(c["operation_status"], c["secondary_status"]) for c in gone] == [("ENABLE", "CAMPAIGN_STATUS_DELETE")]
    assert {campaign_id for _, campaign_id in report(vendor)} >= {gone[0]["campaign_id"]}, "its spend stays"


def test_the_account_tells_currency_and_time_zone(vendor: TikTokAdsVendor) -> None:
    [account] = ask(vendor, INFO, {"advertiser_ids": f'["{JAFFLE_SHOP}"]'})["data"]["list"]
    recorded = json.loads((PAGES / "advertisers.json").read_text())["data"]["list"][0]
    assert account.keys() <= recorded.keys()
    assert (account["currency"], account["timezone"]) == ("USD", "America/New_York")


@pytest.mark.parametrize(
    ("path", "query", "token", "code"),
    [
        (INFO, {"advertiser_ids": f'["{JAFFLE_SHOP}"]'}, "", 40104),
        (INFO, {"advertiser_ids": f'["{JAFFLE_SHOP}"]'}, "wrong", 40105),
        (INFO, {"advertiser_ids": f'["{PIZZA_PLACE}"]'}, TOKENS[JAFFLE_SHOP], 40001),
        (INFO, {"advertiser_ids": JAFFLE_SHOP}, TOKENS[JAFFLE_SHOP], 40002),
        (CAMPAIGNS, {"page_size": "1001"}, TOKENS[JAFFLE_SHOP], 40002),
        (CAMPAIGNS, {"filtering": "all"}, TOKENS[JAFFLE_SHOP], 40002),
        (REPORT, DAILY | {"end_date": "2024-03-31"}, TOKENS[JAFFLE_SHOP], 40002),
        (REPORT, DAILY | {"start_date": "soon"}, TOKENS[JAFFLE_SHOP], 40002),
        (REPORT, DAILY | {"metrics": '["roas"]'}, TOKENS[JAFFLE_SHOP], 40002),
        (REPORT, DAILY | {"dimensions": '["ad_id"]'}, TOKENS[JAFFLE_SHOP], 40002),
        (REPORT, DAILY | {"report_type": "AUDIENCE"}, TOKENS[JAFFLE_SHOP], 40002),
        ("ad/get", {}, TOKENS[JAFFLE_SHOP], 40002),
    ],
)
def test_an_error_is_a_code_with_status_200(
    vendor: TikTokAdsVendor, path: str, query: dict[str, str], token: str, code: int
) -> None:
    body = ask(vendor, path, query, token=token)
    assert (body["code"], body["data"]) == (code, {})


def test_throttling_is_a_code_as_documented(vendor: TikTokAdsVendor) -> None:
    answer = vendor.throttled(30)
    assert (answer.status, dict(answer.headers), json.loads(answer.body)["code"]) == (200, {}, 40100)


def test_the_auditor_adds_up_by_day_of_the_account() -> None:
    streams = {name: parse((PAGES / f"{name}.json").read_text())["data"]["list"] for name in ("advertisers", "daily")}
    streams["daily"] = [{"_context": {"advertiser_id": "7002238017842757633"}, **row} for row in streams["daily"]]
    sums = {(a.business_date.isoformat(), a.currency, a.measure): a.amount for a in receipts(streams, Sites(), NOW)}
    assert {key: amount for key, amount in sums.items() if amount} == {
        ("2024-03-09", "USD", "spend"): Decimal("12.30"),
        ("2024-03-09", "", "impressions"): 3040,
        ("2024-03-09", "", "clicks"): 55,
        ("2024-03-10", "USD", "spend"): Decimal("20.05"),
        ("2024-03-10", "", "impressions"): 3011,
        ("2024-03-10", "", "clicks"): 48,
        ("2024-03-10", "", "claimed_purchases"): 2,
        ("2024-03-10", "USD", "claimed_purchase_value"): Decimal("41.90"),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with serving(home, ["tiktok_ads"]) as found:
        yield found["tiktok_ads"]


@pytest.fixture
def source(control_dsn: str, url: str) -> SourceRef:
    business = 1001
    with closing(psycopg2.connect(control_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("insert into control.instances values ('i', 'external', 'localhost', 1, 'u', 'env:X')")
        cur.execute("insert into control.shards (shard, instance, database) values ('shard_1', 'i', 'd')")
        cur.execute(
            "insert into control.businesses (business, name, display_name, shard) values (%s, 'b', 'B', 'shard_1')",
            [business],
        )
        cur.execute(
            "insert into control.sources (source_id, business, integration, name) values (%s, %s, 'tiktok_ads', 'ads')",
            [business << 45, business],
        )
    config = {"base_url": url, "since": "2023-12-01", "advertiser_id": PIZZA_PLACE}
    return SourceRef(business << 45, business, "b", "tiktok_ads", "ads", config, {"access_token": TOKENS[PIZZA_PLACE]})


def extract(source: SourceRef, control_dsn: str, home: Path, store: BlockStore) -> dict[str, StreamResult]:
    options = Options(patience=20)
    found = extract_source(source, get("tiktok_ads"), store, control_dsn, SandboxClock(home).now, options)
    return {result.stream: result for result in found}


def test_read_by_the_engine_in_windows_of_30_days(
    source: SourceRef, control_dsn: str, home: Path, tmp_path: Path
) -> None:
    store = BlockStore(f"file://{tmp_path}")
    got = extract(source, control_dsn, home, store)
    assert [result.error for result in got.values() if result.error] == []
    with closing(psycopg2.connect(control_dsn)) as conn:
        windows = [m.window for m in pending(conn, [source.source_id]) if m.stream == "daily"]
    assert [(w.start, w.end) for w in windows] == [
        ("2023-12-01", "2023-12-30"),
        ("2023-12-31", "2024-01-29"),
        ("2024-01-30", "2024-02-28"),
        ("2024-02-29", "2024-03-29"),
        ("2024-03-30", "2024-04-02"),
    ]
    assert got["daily"].records > 200 and (got["advertisers"].records, got["campaigns"].records) == (1, 2)
    assert {result.outcome for result in extract(source, control_dsn, home, store).values()} == {"not_due"}


def test_a_refused_token_is_told_with_its_code(source: SourceRef, control_dsn: str, home: Path, tmp_path: Path) -> None:
    Faults.of_home(home).set("tiktok_ads", "unauthorized")
    try:
        got = extract(source, control_dsn, home, BlockStore(f"file://{tmp_path}"))
    finally:
        Faults.of_home(home).heal()
    error = got["advertisers"].error
    assert error is not None and error.turn == "credentials" and "40105" in error.cause
    assert source.secret["access_token"] not in str(error)
