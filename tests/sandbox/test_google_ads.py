"""The Google Ads of the sandbox: its credentials, queries, pages and errors, and what the engine makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg2
import pytest

from ingestion.blocks import BlockStore
from ingestion.extract import Options, StreamResult, extract_source
from ingestion.integrations.google_ads.receipts import receipts
from ingestion.registry import get
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.server import serving
from ingestion.sandbox.vendors.google_ads.accounts import (
    CLIENT_ID,
    CLIENT_SECRET,
    DEVELOPER_TOKEN,
    JAFFLE_SHOP,
    KAVARNIA,
    MANAGER,
)
from ingestion.sandbox.vendors.google_ads.vendor import GoogleAdsVendor
from ingestion.source import SourceRef
from reconcile.model import Sites
from reconcile.reader import parse

NOW = datetime(2024, 3, 20, 16, 30, tzinfo=UTC)
FIRST, LAST = date(2024, 2, 20), date(2024, 3, 20)
PAGES = Path(__file__).parents[1] / "fixtures" / "google_ads"
ACCESS = {JAFFLE_SHOP: "sandbox-google-ads-access-jaffle-shop", KAVARNIA: "sandbox-google-ads-access-kavarnia"}
REPORT = (
    "SELECT customer.currency_code, customer.time_zone, campaign.id, campaign.name, segments.date, "
    "metrics.impressions, metrics.clicks, metrics.cost_micros, metrics.conversions, metrics.conversions_value "
    f"FROM campaign WHERE segments.date BETWEEN '{FIRST}' AND '{LAST}'"
)
PURCHASES = (
    "SELECT customer.currency_code, campaign.id, segments.date, segments.conversion_action_category, "
    "metrics.conversions, metrics.conversions_value FROM campaign "
    f"WHERE segments.date BETWEEN '{FIRST}' AND '{LAST}' AND segments.conversion_action_category = 'PURCHASE'"
)


@pytest.fixture(scope="module")
def vendor(whole_trade: Trade) -> GoogleAdsVendor:
    return GoogleAdsVendor(whole_trade, page=40)


def ask(
    vendor: GoogleAdsVendor,
    body: Mapping[str, Any],
    customer: str = KAVARNIA,
    now: datetime = NOW,
    path: str = "/v25/customers/{}/googleAds:search",
    **headers: str,
) -> Answer:
    sent = {"authorization": f"Bearer {ACCESS[customer]}", "developer-token": DEVELOPER_TOKEN}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return vendor.answer(Request("POST", path.format(customer), {}, sent, json.dumps(body).encode(), "", now))


def results(vendor: GoogleAdsVendor, query: str, now: datetime = NOW, **more: str) -> list[dict[str, Any]]:
    """All rows of a query, page by page."""
    found: list[dict[str, Any]] = []
    body = {"query": query}
    while True:
        answer = ask(vendor, body, now=now, **more)
        assert answer.status == 200, answer.body
        page = parse(answer.body)
        found += page.get("results", [])
        if "nextPageToken" not in page:
            return found
        body["pageToken"] = page["nextPageToken"]


def error_of(answer: Answer) -> tuple[int, str, dict[str, str]]:
    error = json.loads(answer.body)["error"]
    return answer.status, error["status"], error["details"][0]["errors"][0]["errorCode"]


def by_key(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["segments"]["date"], row["campaign"]["id"]): row["metrics"] for row in rows}


def test_rows_have_the_recorded_shape(vendor: GoogleAdsVendor) -> None:
    for name, query in (("daily", REPORT), ("purchases", PURCHASES)):
        recorded = json.loads((PAGES / f"{name}.json").read_text())["results"][0]
        served = results(vendor, query)[0]
        assert {group: set(fields) for group, fields in served.items()} == {
            group: set(fields) for group, fields in recorded.items()
        }


def test_whole_numbers_are_text_and_doubles_are_not(vendor: GoogleAdsVendor) -> None:
    rows = results(vendor, REPORT)
    assert all(re.fullmatch(r"\d+", row["metrics"][m]) for row in rows for m in ("clicks", "costMicros", "impressions"))
    assert any(isinstance(row["metrics"]["conversions"], Decimal) for row in rows), "a share of a conversion"
    assert any(int(row["metrics"]["costMicros"]) % 10_000 for row in rows), "less than a cent"
    assert {row["customer"]["currencyCode"] for row in rows} == {"UAH"}


def test_the_last_page_has_no_token_and_pages_are_of_one_moment(vendor: GoogleAdsVendor) -> None:
    first = parse(ask(vendor, {"query": REPORT}).body)
    assert len(first["results"]) == 40 and first["nextPageToken"]
    whole = results(vendor, REPORT)
    again = {"query": REPORT, "pageToken": first["nextPageToken"]}
    assert parse(ask(vendor, again, now=NOW + timedelta(days=4)).body)["results"] == whole[40:80]
    other = {"query": PURCHASES, "pageToken": first["nextPageToken"]}
    assert error_of(ask(vendor, other)) == (400, "INVALID_ARGUMENT", {"requestError": "INVALID_PAGE_TOKEN"})


def test_nothing_found_has_no_list(vendor: GoogleAdsVendor) -> None:
    nothing = REPORT.replace(str(FIRST), "2020-01-01").replace(str(LAST), "2020-01-31")
    assert list(parse(ask(vendor, {"query": nothing}).body)) == ["fieldMask"]


def test_clicks_are_credited_some_days_in_full(vendor: GoogleAdsVendor) -> None:
    first, later = (by_key(results(vendor, REPORT, NOW + timedelta(days=days))) for days in (0, 4))
    cost = {k: (int(m["costMicros"]), int(later[k]["costMicros"])) for k, m in first.items() if k in later}
    assert any(after < before for (day, _), (before, after) in cost.items() if day < str(LAST))
    assert first.keys() - later.keys()


def test_a_day_is_restated_for_more_than_30_days_and_then_settled(vendor: GoogleAdsVendor) -> None:
    reports = {day: by_key(results(vendor, REPORT, NOW + timedelta(days=day))) for day in range(12, 36, 2)}
    old = [
        NOW.date() + timedelta(days=day) - date.fromisoformat(key[0])
        for day, report in reports.items()
        for key in report
        if day + 2 in reports and report[key] != reports[day + 2][key]
    ]
    assert timedelta(days=30) < max(old) < timedelta(days=35)


def test_purchases_are_a_part_of_the_conversions(vendor: GoogleAdsVendor) -> None:
    conversions, purchases = by_key(results(vendor, REPORT)), by_key(results(vendor, PURCHASES))
    assert purchases.keys() < conversions.keys()
    assert all(purchases[k]["conversions"] <= conversions[k]["conversions"] for k in purchases)
    assert sum(m["conversions"] for m in purchases.values()) < sum(m["conversions"] for m in conversions.values())


def test_removed_campaigns_are_listed(vendor: GoogleAdsVendor) -> None:
    query = "SELECT campaign.id, campaign.name, campaign.status, campaign.advertising_channel_type FROM campaign"
    listed = results(vendor, query, customer=JAFFLE_SHOP, login_customer_id=MANAGER)
    assert {row["campaign"]["status"] for row in listed} == {"ENABLED", "REMOVED"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"query": "SELECT campaign.budget FROM campaign"}, {"queryError": "UNRECOGNIZED_FIELD"}),
        ({"query": "SELECT campaign.id FROM ad_group"}, {"queryError": "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE"}),
        ({"query": "campaigns, please"}, {"queryError": "UNEXPECTED_INPUT"}),
        ({"query": REPORT.split(" WHERE")[0]}, {"queryError": "MISSING_DATE_RANGE"}),
        ({"query": REPORT.replace(str(FIRST), "soon")}, {"queryError": "INVALID_VALUE_WITH_BETWEEN_OPERATOR"}),
        (
            {"query": PURCHASES.replace("metrics.conversions_value", "metrics.cost_micros")},
            {"queryError": "PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE"},
        ),
        ({"query": REPORT, "pageSize": 10}, {"requestError": "PAGE_SIZE_NOT_SUPPORTED"}),
        ({"query": REPORT, "pageToken": "?"}, {"requestError": "INVALID_PAGE_TOKEN"}),
    ],
)
def test_bad_requests(vendor: GoogleAdsVendor, body: dict[str, Any], said: dict[str, str]) -> None:
    assert error_of(ask(vendor, body)) == (400, "INVALID_ARGUMENT", said)


@pytest.mark.parametrize(
    ("customer", "headers", "status"),
    [
        (KAVARNIA, {"authorization": "Bearer wrong"}, 401),
        (KAVARNIA, {"developer_token": "wrong"}, 403),
        (KAVARNIA, {"login_customer_id": MANAGER}, 403),
        (KAVARNIA, {"login_customer_id": ""}, 400),
        (JAFFLE_SHOP, {}, 403),
        (JAFFLE_SHOP, {"login_customer_id": MANAGER, "authorization": f"Bearer {ACCESS[KAVARNIA]}"}, 403),
        (JAFFLE_SHOP, {"login_customer_id": MANAGER}, 200),
    ],
)
def test_credentials(vendor: GoogleAdsVendor, customer: str, headers: dict[str, Any], status: int) -> None:
    assert ask(vendor, {"query": REPORT}, customer, **headers).status == status


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({}, 200, None),
        ({"refresh_token": "revoked"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
    ],
)
def test_tokens(vendor: GoogleAdsVendor, change: dict[str, str], status: int, said: str | None) -> None:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    form |= {"refresh_token": "sandbox-google-ads-refresh-kavarnia"} | change
    answer = vendor.answer(Request("POST", "/token", {}, {}, urlencode(form).encode(), "", NOW))
    body = json.loads(answer.body)
    assert (answer.status, body.get("error")) == (status, said)
    assert status != 200 or (body["access_token"], body["expires_in"]) == (ACCESS[KAVARNIA], 3599)


def test_throttling_is_a_429_as_documented(vendor: GoogleAdsVendor) -> None:
    answer = vendor.throttled(30)
    assert "Retry-After" not in answer.headers
    assert error_of(answer) == (429, "RESOURCE_EXHAUSTED", {"quotaError": "RESOURCE_TEMPORARILY_EXHAUSTED"})


def test_the_auditor_adds_up_millionths_by_day_of_the_account() -> None:
    page = {name: parse((PAGES / f"{name}.json").read_text())["results"] for name in ("daily", "purchases")}
    sums = {(a.business_date.isoformat(), a.currency, a.measure): a.amount for a in receipts(page, Sites(), NOW)}
    assert sums == {
        ("2024-03-09", "USD", "spend"): Decimal("43.12"),
        ("2024-03-09", "", "impressions"): 812,
        ("2024-03-09", "", "clicks"): 57,
        ("2024-03-09", "", "claimed_purchases"): Decimal("2.5"),
        ("2024-03-09", "USD", "claimed_purchase_value"): Decimal("61.25"),
        # 9,353,153 millionths are 9.353153, a third of a conversion 0.333333: to four decimals
        ("2024-03-10", "USD", "spend"): Decimal("9.3532"),
        ("2024-03-10", "", "impressions"): 1204,
        ("2024-03-10", "", "clicks"): 9,
        ("2024-03-10", "", "claimed_purchases"): Decimal("0.3333"),
        ("2024-03-10", "USD", "claimed_purchase_value"): Decimal("12.5"),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with serving(home, ["google_ads"]) as found:
        yield found["google_ads"]


def connected(control_dsn: str, url: str, customer: str, **config: str) -> SourceRef:
    business = 1001
    with closing(psycopg2.connect(control_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("insert into control.instances values ('i', 'external', 'localhost', 1, 'u', 'env:X')")
        cur.execute("insert into control.shards (shard, instance, database) values ('shard_1', 'i', 'd')")
        cur.execute(
            "insert into control.businesses (business, name, display_name, shard) values (%s, 'b', 'B', 'shard_1')",
            [business],
        )
        cur.execute(
            "insert into control.sources (source_id, business, integration, name) values (%s, %s, 'google_ads', 'ads')",
            [business << 45, business],
        )
    name = {JAFFLE_SHOP: "jaffle-shop", KAVARNIA: "kavarnia"}[customer]
    secret = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": f"sandbox-google-ads-refresh-{name}",
        "developer_token": DEVELOPER_TOKEN,
    }
    settings = {"base_url": url, "token_url": f"{url}/token", "since": "2024-02-26", "customer_id": customer, **config}
    return SourceRef(business << 45, business, "b", "google_ads", "ads", settings, secret)


@pytest.mark.parametrize(("customer", "config"), [(JAFFLE_SHOP, {"login_customer_id": MANAGER}), (KAVARNIA, {})])
def test_read_by_the_engine(
    control_dsn: str, url: str, home: Path, tmp_path: Path, whole_trade: Trade, customer: str, config: dict[str, str]
) -> None:
    source = connected(control_dsn, url, customer, **config)
    clock, store = SandboxClock(home), BlockStore(f"file://{tmp_path}")

    def extract() -> dict[str, StreamResult]:
        found = extract_source(source, get("google_ads"), store, control_dsn, clock.now, Options(patience=20))
        assert [result.error for result in found if result.error] == []
        return {result.stream: result for result in found}

    got = extract()
    since = REPORT.replace(str(FIRST), "2024-02-26").replace(str(LAST), str(clock.now().date()))
    headers = {name: value for name, value in config.items() if name == "login_customer_id"}
    whole = results(GoogleAdsVendor(whole_trade), since, clock.now(), customer=customer, **headers)
    assert got["daily"].records == len(whole) > 50 and got["purchases"].records
    assert (got["customers"].records, got["campaigns"].records) == (1, 3)
    assert all(secret not in path.read_text("latin-1") for path in tmp_path.rglob("*.json")
               for secret in source.secret.values())  # fmt: skip
    assert {result.outcome for result in extract().values()} == {"not_due"}
