"""The When I Work of the sandbox: login, pages from 0, dates of RFC 2822, and times that vanish."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.vendors.wheniwork import workplace as account
from ingestion.sandbox.vendors.wheniwork.vendor import WhenIWorkVendor, open_vendor

NOW = datetime(2024, 4, 2, 9, tzinfo=UTC)
SINCE = datetime(2024, 2, 26, tzinfo=UTC)
PAGES = Path(__file__).parents[1] / "recorded" / "wheniwork"
CHICAGO = ZoneInfo("America/Chicago")


@pytest.fixture(scope="module")
def vendor(whole_trade: Trade) -> WhenIWorkVendor:
    return open_vendor(whole_trade)


def get(vendor: WhenIWorkVendor, path: str, now: datetime = NOW, token: str = account.TOKEN, **query: str) -> Any:
    answer = vendor.answer(Request("GET", path, query, {"w-token": token}, b"", "", now))
    return answer.status, json.loads(answer.body, parse_float=Decimal)


def all_of(vendor: WhenIWorkVendor, name: str, now: datetime = NOW, limit: int = 200) -> list[dict[str, Any]]:
    window = {"start": format_datetime(SINCE), "end": format_datetime(now), "limit": str(limit)}
    found: list[dict[str, Any]] = []
    for number in range(1000):
        status, page = get(vendor, f"/2/{name}", now, page=str(number), **window)
        assert status == 200 and page["page"] == number
        found += page[name]
        if not page["more"]:
            assert page["total"] == len(found)
            return found
    raise AssertionError("the pages never end")


def breaks(vendor: WhenIWorkVendor, now: datetime = NOW) -> dict[int, dict[str, Any]]:
    query = {"startTime": SINCE.isoformat(), "endTime": now.isoformat()}
    found: dict[int, dict[str, Any]] = {}
    for number in range(1000):
        _, body = get(vendor, "/v3/shift-breaks", now, page=str(number), **query)
        found |= {rest["id"]: rest for rest in body["data"]}
        if len(body["data"]) < 200:
            return found
    raise AssertionError("the pages never end")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/2/account", "account"), ("/2/locations", "locations"), ("/2/users", "users"), ("/2/shifts", "shifts")],
)
def test_records_have_the_fields_of_the_recorded_pages(vendor: WhenIWorkVendor, path: str, name: str) -> None:
    recorded, (_, served) = json.loads((PAGES / f"{name}.json").read_text())[name], get(vendor, path)
    one, other = (value[0] if isinstance(value, list) else value for value in (recorded, served[name]))
    assert one.keys() == other.keys()


def test_times_have_the_fields_of_the_documentation(vendor: WhenIWorkVendor) -> None:
    recorded = json.loads((PAGES / "times.json").read_text())["times"][0]
    assert all(recorded.keys() <= time.keys() for time in all_of(vendor, "times"))


def test_a_login_gives_the_token(vendor: WhenIWorkVendor) -> None:
    body = {"username": account.USERNAME, "password": account.PASSWORD, "key": account.DEVELOPER_KEY}
    answer = vendor.answer(Request("POST", "/2/login", {}, {}, json.dumps(body).encode(), "", NOW))
    assert json.loads(answer.body)["login"]["token"] == account.TOKEN
    wrong = json.dumps(body | {"password": "guessed"}).encode()
    assert vendor.answer(Request("POST", "/2/login", {}, {}, wrong, "", NOW)).status == 401
    assert get(vendor, "/2/times", token="Bearer of nothing")[0] == 401


def test_pages_from_zero_join_to_the_whole(vendor: WhenIWorkVendor) -> None:
    whole = [time["id"] for time in all_of(vendor, "times")]
    assert [time["id"] for time in all_of(vendor, "times", limit=7)] == whole
    assert len(set(whole)) == len(whole) > 200


def test_a_window_is_by_start_and_short_where_none_is_asked_for(vendor: WhenIWorkVendor) -> None:
    _, page = get(vendor, "/2/times")
    starts = [parsedate_to_datetime(time["start_time"]) for time in page["times"]]
    assert starts and all(NOW - timedelta(days=3) <= start < NOW for start in starts)


def test_dates_are_on_the_clock_of_the_account(vendor: WhenIWorkVendor) -> None:
    offsets = set()
    for time in all_of(vendor, "times"):
        start = parsedate_to_datetime(time["start_time"])
        offsets.add(start.utcoffset())
        assert start.utcoffset() == start.astimezone(CHICAGO).utcoffset()
    assert offsets == {timedelta(hours=-6), timedelta(hours=-5)}


def test_people_of_a_page_are_beside_it_and_deleted_ones_only_when_asked_for(vendor: WhenIWorkVendor) -> None:
    _, page = get(vendor, "/2/times")
    listed = {user["id"] for user in get(vendor, "/2/users")[1]["users"]}
    assert {user["id"] for user in page["users"]} == {time["user_id"] for time in page["times"]} & listed
    with_deleted = get(vendor, "/2/users", show_deleted="true")[1]["users"]
    assert [user["id"] for user in with_deleted if user["is_deleted"]] == [user["id"] for user in with_deleted[-1:]]
    assert len({user["id"] for user in with_deleted}) == len(with_deleted) == len(listed) + 1


def test_a_place_is_an_object_or_nothing_in_quotes(vendor: WhenIWorkVendor) -> None:
    places = [location["place"] for location in get(vendor, "/2/locations")[1]["locations"]]
    assert isinstance(places[0], dict) and places[1] == ""


def test_breaks_are_punched_or_only_a_length(vendor: WhenIWorkVendor) -> None:
    found = breaks(vendor).values()
    assert {rest["type"] for rest in found} == {1, 2}
    assert {("start" in rest, rest["isPunched"]) for rest in found} == {(True, True), (False, False)}
    assert all(rest["length"] > 0 for rest in found if not rest["isPunched"])


def test_a_rate_is_on_the_time_or_zero(vendor: WhenIWorkVendor) -> None:
    rates = {(time["user_id"], time["hourly_rate"]) for time in all_of(vendor, "times")}
    assert {rate for user, rate in rates if user == 699006} == {0}
    assert {rate for user, rate in rates if user == 699009} == {Decimal("15")}


@pytest.mark.parametrize("hour", [0, 6, 12, 18])
def test_every_day_a_time_is_gone_and_another_is_corrected(vendor: WhenIWorkVendor, hour: int) -> None:
    now = NOW.replace(hour=hour)
    before = {time["id"]: time for time in all_of(vendor, "times", now)}
    after = {time["id"]: time for time in all_of(vendor, "times", now + timedelta(days=1))}
    assert before.keys() - after.keys()
    assert any(after[key]["notes"] != time["notes"] for key, time in before.items() if key in after)
    assert all(time["end_time"] for key, time in after.items() if key in before and not before[key]["end_time"])


def test_a_break_recorded_by_mistake_is_gone(vendor: WhenIWorkVendor) -> None:
    gone = [
        breaks(vendor, NOW - timedelta(days=day + 1)).keys() - breaks(vendor, NOW - timedelta(days=day)).keys()
        for day in range(0, 30, 3)
    ]
    assert any(gone)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/2/nothing", {}, 404),
        ("/2/times", {"start": "soon"}, 400),
        ("/2/times", {"page": "x"}, 400),
        ("/2/times", {"limit": "0"}, 400),
    ],
)
def test_errors(vendor: WhenIWorkVendor, path: str, query: dict[str, Any], status: int) -> None:
    got, body = get(vendor, path, **query)
    assert got == status and body["error"]
