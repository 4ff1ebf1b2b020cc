"""7shifts and Meta Ads over HTTP, on the whole trade: auth, paging, throttling and faults as a client meets them."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.http import Faults
from ingestion.sandbox.server import HICCUP, serving
from ingestion.sandbox.vendors.meta_ads import accounts
from ingestion.sandbox.vendors.sevenshifts import companies

COMPANY, ACCOUNT = companies.PIZZA_PLACE, accounts.PIZZA_PLACE
BEARER = {"Authorization": f"Bearer {companies.TOKENS[COMPANY]}"}
PUNCHES = f"/v2/company/{COMPANY}/time_punches"
INSIGHTS = f"/v21.0/act_{ACCOUNT}/insights"
Got = tuple[int, Any, dict[str, str]]


def get(url: str, headers: dict[str, str] | None = None) -> Got:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def until_answered(url: str, headers: dict[str, str] | None = None) -> Any:
    """The body, asking again where the vendor throttles."""
    for _ in range(200):
        status, body, _headers = get(url, headers)
        if status == 200:
            return body
    raise AssertionError(body)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def urls(home: Path) -> Iterator[dict[str, str]]:
    with serving(home, ["sevenshifts", "meta_ads"]) as found:
        yield found


def insights_url(urls: dict[str, str], **more: str) -> str:
    query = {
        "access_token": accounts.TOKENS[ACCOUNT],
        "level": "campaign",
        "time_increment": "1",
        "time_range": json.dumps({"since": "2024-03-20", "until": "2024-04-02"}),
        "fields": "campaign_id,spend",
        "limit": "500",
    }
    return f"{urls['meta_ads']}{INSIGHTS}?{urlencode(query | more)}"


def test_punches_of_a_year_page_by_page(urls: dict[str, str]) -> None:
    found: list[int] = []
    query = {"limit": "500"}
    while True:
        body = until_answered(f"{urls['sevenshifts']}{PUNCHES}?{urlencode(query)}", BEARER)
        found += [p["id"] for p in body["data"]]
        if body["meta"]["cursor"]["next"] is None:
            break
        query["cursor"] = body["meta"]["cursor"]["next"]
    assert len(found) > 2000 and found == sorted(set(found))


def test_the_next_page_of_insights_is_an_address_that_answers(urls: dict[str, str]) -> None:
    page = until_answered(insights_url(urls, limit="10"))
    found = page["data"]
    while "next" in page["paging"]:
        assert page["paging"]["next"].startswith(urls["meta_ads"])
        page = until_answered(page["paging"]["next"])
        found += page["data"]
    assert found == until_answered(insights_url(urls, limit="500"))["data"]


def test_a_wrong_token(urls: dict[str, str]) -> None:
    status, body, _ = get(urls["sevenshifts"] + PUNCHES, {"Authorization": "Bearer wrong"})
    assert (status, body["error"]) == (401, "unauthorized")
    status, body, _ = get(insights_url(urls, access_token="wrong"))
    assert (status, body["error"]["code"]) == (400, 190)


def test_too_many_requests(urls: dict[str, str]) -> None:
    answers = [get(f"{urls['sevenshifts']}/v2/company/{COMPANY}/locations", BEARER) for _ in range(HICCUP)]
    throttled = [(body, headers) for status, body, headers in answers if status == 429]
    assert throttled and throttled[0][0]["status"] == "error" and int(throttled[0][1]["Retry-After"]) >= 1
    campaigns = f"{urls['meta_ads']}/v21.0/act_{ACCOUNT}/campaigns?access_token={accounts.TOKENS[ACCOUNT]}"
    refused = [body["error"] for status, body, _ in (get(campaigns) for _ in range(HICCUP)) if status == 400]
    assert refused and refused[0]["code"] == 17 and refused[0]["is_transient"]


@pytest.mark.parametrize("fault", ["unauthorized", "throttled"])
def test_faults(urls: dict[str, str], home: Path, fault: Any) -> None:
    faults = Faults(home / "sandbox" / "faults.json")
    for vendor in ("sevenshifts", "meta_ads"):
        faults.set(vendor, fault)
    try:
        statuses = get(urls["sevenshifts"] + PUNCHES, BEARER)[0], get(insights_url(urls))[0]
    finally:
        for vendor in ("sevenshifts", "meta_ads"):
            faults.set(vendor, None)
    assert statuses == ({"unauthorized": 401, "throttled": 429}[fault], 400)


def recent_punches(urls: dict[str, str]) -> dict[int, Any]:
    """Punches changed lately, of both companies."""
    query = urlencode({"limit": "500", "modified_since": "2024-04-01"})
    found = {}
    for company, token in companies.TOKENS.items():
        url = f"{urls['sevenshifts']}/v2/company/{company}/time_punches?{query}"
        found.update({p["id"]: p for p in until_answered(url, {"Authorization": f"Bearer {token}"})["data"]})
    return found


def test_the_clock_moves_the_story_on(urls: dict[str, str], home: Path) -> None:
    before, spent = recent_punches(urls), until_answered(insights_url(urls))["data"]
    SandboxClock(home).advance(timedelta(days=1))
    after = recent_punches(urls)
    moved = [(old, after[key]) for key, old in before.items() if old != after[key]]
    assert any(new["deleted"] and not old["deleted"] for old, new in moved)
    assert any(old["clocked_out"] and new["clocked_out"] < old["clocked_out"] for old, new in moved)
    assert any(not old["clocked_out"] and new["clocked_out"] for old, new in moved)
    now = {(r["campaign_id"], r["date_start"]): r["spend"] for r in until_answered(insights_url(urls))["data"]}
    assert any(
        Decimal(now.get((r["campaign_id"], r["date_start"]), 0)) < Decimal(r["spend"])
        for r in spent
        if r["date_start"] < "2024-04-02"
    )
