"""The Meta Ads of the sandbox: shapes of the API, and how spend is restated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.meta_ads import accounts as known
from ingestion.sandbox.vendors.meta_ads.api import ApiError, answer, throttled
from ingestion.sandbox.vendors.meta_ads.spend import Account

NOW = datetime(2024, 3, 20, 16, 30, tzinfo=UTC)
JAFFLE = known.JAFFLE_SHOP
FIELDS = "account_id,account_currency,campaign_id,campaign_name,impressions,clicks,reach,spend,actions,action_values"
PAGES = Path(__file__).parents[1] / "fixtures" / "meta_ads"


@pytest.fixture(scope="module")
def accounts(jaffle_sites: Sequence[Site], pizza_sites: Sequence[Site]) -> dict[str, Account]:
    return known.accounts(jaffle_sites, pizza_sites)


def get(
    accounts: Mapping[str, Account], edge: str = "", now: datetime = NOW, number: str = JAFFLE, **query: str
) -> Any:
    path = f"/v21.0/act_{number}{edge}"
    return answer(accounts, "http://127.0.0.1:1", path, query, known.TOKENS[number], now)


def insights(
    accounts: Mapping[str, Account],
    now: datetime = NOW,
    number: str = JAFFLE,
    since: str = "2024-02-26",
    until: str = "2024-03-24",
    **query: str,
) -> Any:
    window = {"time_range": json.dumps({"since": since, "until": until}), "level": "campaign", "time_increment": "1"}
    return get(accounts, "/insights", now, number, **{"fields": FIELDS, "limit": "500"} | window | query)


def by_key(page: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(r["date_start"], r["campaign_id"]): r for r in page["data"]}


def test_pages_follow_an_absolute_address_to_the_end(accounts: dict[str, Account]) -> None:
    page = insights(accounts, limit="7")
    found = list(page["data"])
    while following := page["paging"].get("next"):
        parts = urlsplit(following)
        assert following.startswith("http://127.0.0.1:1/v21.0/act_")
        query = dict(parse_qsl(parts.query))
        page = answer(accounts, "http://127.0.0.1:1", parts.path, query, query["access_token"], NOW)
        found += page["data"]
    assert found == insights(accounts)["data"]


def test_numbers_are_strings_and_actions_absent_when_zero(accounts: dict[str, Account]) -> None:
    found = insights(accounts)["data"]
    assert all(isinstance(r[k], str) for r in found for k in ("impressions", "clicks", "reach", "spend"))
    assert any("actions" not in r or "action_values" not in r for r in found)
    assert all(r.get("actions") != [] for r in found)
    recorded = json.loads((PAGES / "insights.json").read_text())["data"][0]
    assert any(r.keys() == recorded.keys() for r in found)


def test_account_and_campaigns(accounts: dict[str, Account]) -> None:
    fields = "id,account_id,name,currency,timezone_name"
    assert get(accounts, fields=fields).keys() == json.loads((PAGES / "accounts.json").read_text()).keys()
    listed = {c["id"] for c in get(accounts, "/campaigns", fields="id,name")["data"]}
    spent = {r["campaign_id"] for r in insights(accounts)["data"]}
    assert spent - listed == {"23851234567890104"}, "the deleted campaign's spend stays"


@pytest.mark.parametrize("number", [JAFFLE, known.PIZZA_PLACE])
@pytest.mark.parametrize("hour", [6, 12, 18])
def test_every_day_some_spend_falls(accounts: dict[str, Account], number: str, hour: int) -> None:
    now = NOW.replace(hour=hour)
    before = by_key(insights(accounts, now, number))
    after = by_key(insights(accounts, now + timedelta(days=1), number))
    fallen = [k for k, r in before.items() if k in after and Decimal(after[k]["spend"]) < Decimal(r["spend"])]
    gone = before.keys() - after.keys()
    assert fallen or gone
    assert all(k[0] >= "2024-03-16" for k in fallen)


def test_a_day_older_than_28_days_is_settled(accounts: dict[str, Account]) -> None:
    settled = insights(accounts, NOW + timedelta(days=40))
    assert insights(accounts, NOW + timedelta(days=60)) == settled


def test_spend_follows_the_weekday_of_the_trade(accounts: dict[str, Account]) -> None:
    days: dict[str, Decimal] = {}
    for r in insights(accounts, NOW + timedelta(days=40))["data"]:
        days[r["date_start"]] = days.get(r["date_start"], Decimal(0)) + Decimal(r["spend"])
    assert days["2024-03-13"] > 2 * days["2024-03-17"]


def test_today_grows_and_tomorrow_is_not_there(accounts: dict[str, Account]) -> None:
    found = insights(accounts)["data"]
    assert max(r["date_start"] for r in found) == "2024-03-20"
    later = by_key(insights(accounts, NOW + timedelta(hours=5)))
    today = [r for r in found if r["date_start"] == "2024-03-20"]
    assert today
    for r in today:
        assert Decimal(later[r["date_start"], r["campaign_id"]]["spend"]) >= Decimal(r["spend"])


@pytest.mark.parametrize(
    ("since", "more", "code", "status"),
    [
        ("2020-01-01", {}, 3018, 400),
        ("2023-03-01", {}, 1, 500),
        ("2024-03-25", {}, 100, 400),
        ("soon", {}, 100, 400),
        ("2024-03-01", {"after": "?"}, 100, 400),
        ("2024-03-01", {"limit": "0"}, 100, 400),
        ("2024-03-01", {"level": "ad"}, 100, 400),
    ],
)
def test_errors(accounts: dict[str, Account], since: str, more: dict[str, str], code: int, status: int) -> None:
    with pytest.raises(ApiError) as error:
        insights(accounts, NOW, JAFFLE, since, "2024-03-24", **more)
    assert (error.value.body()["error"]["code"], error.value.status) == (code, status)


def test_wrong_token_and_other_account(accounts: dict[str, Account]) -> None:
    with pytest.raises(ApiError) as error:
        answer(accounts, "", f"/v21.0/act_{JAFFLE}", {}, "wrong", NOW)
    assert error.value.body()["error"]["code"] == 190
    with pytest.raises(ApiError) as error:
        answer(accounts, "", f"/v21.0/act_{known.PIZZA_PLACE}", {}, known.TOKENS[JAFFLE], NOW)
    assert error.value.body()["error"]["code"] == 100


def test_throttling_is_a_400_as_recorded() -> None:
    assert throttled().status == 400
    assert throttled().body() == json.loads((PAGES / "error_throttled.json").read_text())
