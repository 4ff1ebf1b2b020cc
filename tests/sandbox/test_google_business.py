"""The Google Business Profile of the sandbox: tokens that die, reviews newest first, words for stars, what vanishes."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ingestion.registry import get
from ingestion.sandbox.data import OPENS_AT, Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.google_business.accounts import JAFFLE_SHOP, KAVARNIA, PLACES
from ingestion.sandbox.vendors.google_business.vendor import GoogleBusinessVendor, open_vendor

RECORDED = Path(__file__).parents[1] / "recorded" / "google_business"
LOCATIONS = f"/v1/accounts/{JAFFLE_SHOP}/locations"
REVIEWS = f"/v4/accounts/{JAFFLE_SHOP}/locations/{PLACES['Philadelphia'][0]}/reviews"


@pytest.fixture(scope="module")
def vendor(whole_trade: Trade) -> GoogleBusinessVendor:
    return open_vendor(whole_trade)


def ask(
    vendor: GoogleBusinessVendor, path: str, now: datetime = OPENS_AT, token: str | None = None, **query: str
) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {token if token is not None else token_of(vendor, now)}"}
    return read(vendor.answer(Request("GET", path, query, headers, b"", "http://127.0.0.1:1", now)))


def read(answer: Answer) -> tuple[int, Any]:
    return answer.status, json.loads(answer.body)


def log_in(vendor: GoogleBusinessVendor, now: datetime = OPENS_AT, **changes: str) -> tuple[int, Any]:
    account = vendor.accounts[0]
    form = {
        "grant_type": "refresh_token",
        "client_id": account.client_id,
        "client_secret": account.client_secret,
        "refresh_token": account.refresh_token,
        **changes,
    }
    body = urlencode(form).encode()
    return read(vendor.answer(Request("POST", "/token", {}, {}, body, "http://127.0.0.1:1", now)))


def token_of(vendor: GoogleBusinessVendor, now: datetime = OPENS_AT) -> str:
    status, body = log_in(vendor, now)
    assert status == 200 and body["token_type"] == "Bearer"
    return str(body["access_token"])


def all_reviews(vendor: GoogleBusinessVendor, now: datetime = OPENS_AT, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        status, page = ask(vendor, REVIEWS, now, **query)
        assert status == 200
        found += page["reviews"]
        if "nextPageToken" not in page:
            return found
        query = query | {"pageToken": page["nextPageToken"]}


def test_a_token_lives_for_an_hour(vendor: GoogleBusinessVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = token_of(vendor), time.time()
    monkeypatch.setattr(vendor, "seconds", lambda: now + 59 * 60)
    assert ask(vendor, REVIEWS, OPENS_AT, token)[0] == 200
    monkeypatch.setattr(vendor, "seconds", lambda: now + 60 * 60 + 1)
    status, body = ask(vendor, REVIEWS, OPENS_AT, token)
    assert (status, body["error"]["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"refresh_token": "1//old"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_login_that_is_refused(
    vendor: GoogleBusinessVendor, changes: dict[str, str], status: int, error: str
) -> None:
    got, body = log_in(vendor, OPENS_AT, **changes)
    assert (got, body["error"]) == (status, error)


def test_reviews_come_newest_change_first_and_each_once(vendor: GoogleBusinessVendor) -> None:
    found = all_reviews(vendor, pageSize="7")
    changed = [datetime.fromisoformat(r["updateTime"]) for r in found]
    assert changed == sorted(changed, reverse=True) and len(found) > 60
    assert len({r["name"] for r in found}) == len(found)
    assert {r["starRating"] for r in found} == {"ONE", "TWO", "THREE", "FOUR", "FIVE"}
    assert found == all_reviews(vendor)


def test_a_review_has_the_members_of_a_recorded_one(vendor: GoogleBusinessVendor) -> None:
    full, bare = json.loads((RECORDED / "reviews.1.json").read_text())["reviews"]
    shapes = [set(r) for r in all_reviews(vendor)]
    assert set(full) in shapes and set(bare) in shapes
    assert all({"reviewer", *bare} - {"comment"} <= shape <= set(full) for shape in shapes)


def test_only_what_is_asked_for_is_told(vendor: GoogleBusinessVendor) -> None:
    fields = get("google_business").stream("reviews").params["fields"]
    assert isinstance(fields, str)
    _, page = ask(vendor, REVIEWS, pageSize="1", fields=fields)
    assert set(page) == {"reviews", "nextPageToken"} and "reviewer" not in page["reviews"][0]
    _, page = ask(vendor, LOCATIONS, readMask="name")
    assert [set(place) for place in page["locations"]] == [{"name"}, {"name"}]


def test_what_is_empty_is_left_out(vendor: GoogleBusinessVendor) -> None:
    assert ask(vendor, REVIEWS, datetime.fromisoformat("2024-01-01T00:00Z")) == (200, {})


def test_a_day_brings_news_answers_changes_and_a_review_that_is_gone(vendor: GoogleBusinessVendor) -> None:
    before = {r["name"]: r for r in all_reviews(vendor)}
    after = {r["name"]: r for r in all_reviews(vendor, OPENS_AT + timedelta(days=1))}
    both = before.keys() & after.keys()
    assert after.keys() - before.keys() and before.keys() - after.keys()
    assert any("reviewReply" in after[k] and "reviewReply" not in before[k] for k in both)
    assert any(after[k]["starRating"] != before[k]["starRating"] for k in both)
    assert all(after[k]["createTime"] == before[k]["createTime"] for k in both)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (REVIEWS, {"pageSize": "51"}, 400),
        (REVIEWS, {"orderBy": "updateTime"}, 400),
        (REVIEWS, {"pageToken": "?"}, 400),
        (LOCATIONS, {}, 400),
        (LOCATIONS.replace(JAFFLE_SHOP, KAVARNIA), {"readMask": "name"}, 403),
        (REVIEWS.replace("locations/", "locations/9"), {}, 404),
        ("/v4/accounts", {}, 404),
    ],
)
def test_errors(vendor: GoogleBusinessVendor, path: str, query: dict[str, str], status: int) -> None:
    got, body = ask(vendor, path, OPENS_AT, None, **query)
    assert (got, body["error"]["code"]) == (status, status)
