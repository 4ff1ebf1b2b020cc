"""The 7shifts of the sandbox: shapes of the API, and the untidy story of its punches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingestion.sandbox.staff import BAR, CLEANING
from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.sevenshifts import companies as accounts
from ingestion.sandbox.vendors.sevenshifts.api import ApiError, Company, answer

FIRST = date(2024, 2, 26)
NOW = datetime(2024, 3, 20, 16, 30, tzinfo=UTC)
LATER = datetime(2024, 4, 30, tzinfo=UTC)
JAFFLE = accounts.JAFFLE_SHOP
PAGES = Path(__file__).parents[1] / "fixtures" / "sevenshifts"


@pytest.fixture(scope="module")
def companies(jaffle_sites: Sequence[Site], pizza_sites: Sequence[Site]) -> dict[int, Company]:
    return accounts.companies(jaffle_sites, pizza_sites)


def get(companies: Mapping[int, Company], path: str, now: datetime = NOW, number: int = JAFFLE, **query: str) -> Any:
    return answer(companies, f"/v2/company/{number}/{path}", query, accounts.TOKENS[number], now)


def punches(
    companies: Mapping[int, Company], now: datetime = NOW, number: int = JAFFLE, **query: str
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(companies, "time_punches", now, number, **query, **cursor)
        found += page["data"]
        if page["meta"]["cursor"]["next"] is None:
            return found
        cursor = {"cursor": page["meta"]["cursor"]["next"]}


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("stream", ["locations", "users", "time_punches"])
def test_records_have_the_fields_of_the_recorded_pages(companies: dict[int, Company], stream: str) -> None:
    recorded = json.loads((PAGES / f"{stream}.json").read_text())
    served = get(companies, stream)
    assert served.keys() == recorded.keys() and served["meta"]["cursor"].keys() == recorded["meta"]["cursor"].keys()
    assert {k: type(v) for k, v in served["data"][0].items()}.keys() == recorded["data"][0].keys()


def test_wages_are_current_and_upcoming_and_do_not_say_whose(companies: dict[int, Company]) -> None:
    recorded = json.loads((PAGES / "wages.json").read_text())["7100002"]
    before = get(companies, "users/7100002/wages", datetime(2024, 3, 6, tzinfo=UTC))
    assert before.keys() == recorded.keys()
    assert before["data"]["current_wages"][0].keys() == recorded["data"]["current_wages"][0].keys()
    assert [w["wage_cents"] for w in before["data"]["upcoming_wages"]] == [1700]
    after = get(companies, "users/7100002/wages", LATER)
    assert [w["wage_cents"] for w in after["data"]["current_wages"]] == [1700, 1650, 1575]
    assert after["data"]["upcoming_wages"] == []
    assert get(companies, "users/7100004/wages", LATER)["data"] == {"current_wages": [], "upcoming_wages": []}
    assert get(companies, "users/7100001/wages")["data"]["current_wages"][0]["wage_type"] == "annual_salary"


def test_pages_join_to_the_whole_list(companies: dict[int, Company]) -> None:
    whole = punches(companies, limit="500")
    assert punches(companies, limit="7") == whole
    assert len({p["id"] for p in whole}) == len(whole)
    assert punches(companies) == whole


def test_modified_since_takes_the_day_only(companies: dict[int, Company]) -> None:
    changed = punches(companies, modified_since="2024-03-19T23:59:00Z")
    assert changed == [p for p in punches(companies) if p["modified"] >= "2024-03-19"]
    assert 0 < len(changed) < len(punches(companies))


def test_nothing_of_the_future_shows(companies: dict[int, Company]) -> None:
    for punch in punches(companies):
        times = [punch["clocked_in"], punch["clocked_out"], punch["modified"]]
        times += [b[end] for b in punch["breaks"] for end in ("in", "out")]
        assert all(datetime.fromisoformat(t) <= NOW for t in times if t)


@pytest.mark.parametrize("number", [JAFFLE, accounts.PIZZA_PLACE])
@pytest.mark.parametrize("hour", [0, 6, 12, 18])
def test_every_day_corrects_deletes_and_closes(companies: dict[int, Company], number: int, hour: int) -> None:
    now = NOW.replace(hour=hour)
    before = {p["id"]: p for p in punches(companies, now, number)}
    after = {p["id"]: p for p in punches(companies, now + timedelta(days=1), number)}
    moved = [(old, after[key]) for key, old in before.items() if old != after[key]]
    assert all(old["modified"] < new["modified"] for old, new in moved)
    assert [new["id"] for old, new in moved if new["deleted"] and not old["deleted"]]
    assert [new["id"] for old, new in moved if old["clocked_out"] and new["clocked_out"] < old["clocked_out"]]
    assert {new["id"] for old, new in moved if not old["clocked_out"] and new["clocked_out"]} == {
        key for key, p in before.items() if not p["clocked_out"]
    }


def test_the_night_of_the_clock_change_is_an_hour_short(companies: dict[int, Company]) -> None:
    zone = ZoneInfo("America/New_York")
    hours: dict[str, float] = {}
    for punch in punches(companies, LATER):
        if punch["role_id"] == CLEANING and not punch["deleted"]:
            day = datetime.fromisoformat(punch["clocked_in"]).astimezone(zone).date()
            hours.setdefault(day.isoformat(), (seconds(punch["clocked_out"]) - seconds(punch["clocked_in"])) / 3600)
    assert 6.7 < hours["2024-03-09"] < 7.4
    assert all(7.7 < h < 8.4 for day, h in hours.items() if day != "2024-03-09")


def test_it_is_not_clean(companies: dict[int, Company]) -> None:
    found = punches(companies, LATER)
    users = {u["id"]: u for u in get(companies, "users", LATER)["data"]}
    assert {p["user_id"] for p in found} - users.keys() == {7199999}
    assert any(not u["employee_id"] and not u["email"] for u in users.values())
    assert any(p["hourly_wage"] == 0 and p["user_id"] == 7100004 for p in found)
    assert any(b["deleted"] for p in found for b in p["breaks"]) and any(b["paid"] for p in found for b in p["breaks"])
    assert any(p["auto_clocked_out"] for p in found)
    at = {(p["user_id"], p["location_id"]) for p in found}
    assert {user for user, place in at if place == 98101} & {user for user, place in at if place == 98102}
    week: Counter[tuple[int, str]] = Counter()
    for p in found:
        if not p["deleted"]:
            start = datetime.fromisoformat(p["clocked_in"])
            week[p["user_id"], f"{start:%G-%V}"] += int(seconds(p["clocked_out"]) - seconds(p["clocked_in"]))
    assert max(week.values()) > 44 * 3600


def test_guests_after_midnight_belong_to_the_evening_and_keep_a_bartender(
    companies: dict[int, Company], jaffle_sites: Sequence[Site]
) -> None:
    brooklyn = jaffle_sites[1]
    assert brooklyn.hours == (7, 20) and brooklyn.count(FIRST, 24) == 1
    nights = [p for p in punches(companies, LATER) if p["role_id"] == BAR]
    assert len(nights) == 28 and {p["location_id"] for p in nights} == {98102}
    zone = brooklyn.zone
    left = {p["clocked_in"][:10]: datetime.fromisoformat(p["clocked_out"]).astimezone(zone).hour for p in nights}
    assert left.pop("2024-03-09") == 3, "02:30 does not exist in the night of the clock change"
    assert set(left.values()) == {2}
    of_the_role = [p for p in nights if p["hourly_wage"] in (1800, 1850, 1900)]
    assert len(of_the_role) > len(nights) / 2, "whoever has a bartender's wage goes first"


def test_busier_days_have_more_hands(companies: dict[int, Company], jaffle_sites: Sequence[Site]) -> None:
    crew = Counter(
        p["clocked_in"][:10] for p in punches(companies, LATER) if p["role_id"] == 31001 and not p["deleted"]
    )
    assert crew["2024-03-13"] > crew["2024-03-17"]


@pytest.mark.parametrize(
    ("path", "query", "token", "status", "kind"),
    [
        ("company/52418/users", {}, "wrong", 401, "unauthorized"),
        ("company/52419/users", {}, accounts.TOKENS[JAFFLE], 403, "access_denied"),
        ("company/52418/nothing", {}, accounts.TOKENS[JAFFLE], 404, "invalid_id"),
        ("company/52418/users/1/wages", {}, accounts.TOKENS[JAFFLE], 404, "invalid_id"),
        ("company/52418/time_punches", {"limit": "501"}, accounts.TOKENS[JAFFLE], 400, "validation_error"),
        ("company/52418/time_punches", {"cursor": "x"}, accounts.TOKENS[JAFFLE], 400, "validation_error"),
        ("company/52418/time_punches", {"modified_since": "soon"}, accounts.TOKENS[JAFFLE], 400, "validation_error"),
    ],
)
def test_errors(
    companies: dict[int, Company], path: str, query: dict[str, str], token: str, status: int, kind: str
) -> None:
    with pytest.raises(ApiError) as error:
        answer(companies, f"/v2/{path}", query, token, NOW)
    assert error.value.status == status
    assert error.value.body()["status"] == "error" and error.value.body()["error"] == kind
