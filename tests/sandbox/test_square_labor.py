"""Square's team members and timecards in the sandbox: sorted by change, minutes only, wage on the timecard."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.vendors.square.vendor import TIMECARDS_FROM, TIMECARDS_TOKEN, TOKEN, SquareVendor

NOW = datetime(2024, 4, 2, 9, tzinfo=UTC)
LATER = datetime(2024, 4, 30, tzinfo=UTC)
BY_CHANGE = {"sort": {"field": "UPDATED_AT", "order": "DESC"}}
PAGES = Path(__file__).parents[1] / "recorded" / "square"


@pytest.fixture(scope="module")
def square(whole_trade: Trade) -> SquareVendor:
    return SquareVendor(whole_trade)


def ask(
    square: SquareVendor, path: str, body: dict[str, Any], now: datetime = NOW, version: str = TIMECARDS_FROM
) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {TIMECARDS_TOKEN}", "square-version": version}
    answer = square.answer(Request("POST", path, {}, headers, json.dumps(body).encode(), "", now))
    return answer.status, json.loads(answer.body)


def timecards(square: SquareVendor, now: datetime = NOW, limit: int = 200) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    body: dict[str, Any] = {"limit": limit, "query": BY_CHANGE}
    while True:
        status, page = ask(square, "/v2/labor/timecards/search", body, now)
        assert status == 200
        found += page["timecards"]
        if "cursor" not in page:
            return found
        body["cursor"] = page["cursor"]


def members(square: SquareVendor, now: datetime = NOW) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(square, "/v2/team-members/search", {}, now)[1]["team_members"]
    return found


def test_records_have_the_fields_of_the_recorded_pages(square: SquareVendor) -> None:
    recorded = json.loads((PAGES / "timecards.json").read_text())["timecards"][0]
    closed = next(card for card in timecards(square) if card["breaks"] and card["status"] == "CLOSED")
    assert closed.keys() == recorded.keys()
    assert closed["wage"].keys() == recorded["wage"].keys()
    assert closed["breaks"][0].keys() == recorded["breaks"][0].keys()
    recorded, served = json.loads((PAGES / "team_members.json").read_text())["team_members"][0], members(square)[0]
    assert served.keys() <= recorded.keys() and served["wage_setting"].keys() == recorded["wage_setting"].keys()


def test_pages_are_newest_first_and_join_to_the_whole(square: SquareVendor) -> None:
    whole = timecards(square)
    changed = [card["updated_at"] for card in whole]
    assert changed == sorted(changed, reverse=True)
    assert timecards(square, limit=7) == whole and len({card["id"] for card in whole}) == len(whole)


def test_times_are_minutes_on_the_clock_of_the_location(square: SquareVendor) -> None:
    offsets = set()
    for card in timecards(square, LATER):
        start = datetime.fromisoformat(card["start_at"])
        offsets.add(start.utcoffset())
        assert start.second == 0 and card["timezone"] == "America/New_York"
    assert offsets == {timedelta(hours=-5), timedelta(hours=-4)}


def test_the_wage_of_a_timecard_stays_when_pay_rises(square: SquareVendor) -> None:
    rates: dict[str, set[int]] = {}
    for card in timecards(square, LATER):
        rates.setdefault(card["team_member_id"], set()).add(card["wage"]["hourly_rate"]["amount"])
    present = {
        member["id"]: {job["hourly_rate"]["amount"] for job in member["wage_setting"].get("job_assignments", ())}
        for member in members(square, LATER)
    }
    assert any(len(rates[key] - now_paid) for key, now_paid in present.items() if key in rates and now_paid)
    assert {0} in rates.values(), "somebody has no wage"


def test_a_salary_is_by_the_year_and_by_the_hour(square: SquareVendor) -> None:
    jobs = [job for m in members(square) for job in m.get("wage_setting", {}).get("job_assignments", ())]
    (salaried,) = [job for job in jobs if job["pay_type"] == "SALARY"]
    assert salaried["hourly_rate"]["amount"] == salaried["annual_rate"]["amount"] // (52 * 40)


@pytest.mark.parametrize("hour", [0, 6, 12, 18])
def test_every_day_a_timecard_is_gone_and_another_corrected(square: SquareVendor, hour: int) -> None:
    now = NOW.replace(hour=hour)
    before = {card["id"]: card for card in timecards(square, now)}
    after = {card["id"]: card for card in timecards(square, now + timedelta(days=1))}
    assert before.keys() - after.keys()
    moved = [(card, after[key]) for key, card in before.items() if key in after and card != after[key]]
    assert moved and all(old["updated_at"] < new["updated_at"] for old, new in moved)
    assert all(new["status"] == "CLOSED" for old, new in moved if old["status"] == "OPEN")


def test_whoever_keeps_hours_at_square_sells_nothing_and_the_other_way_round(square: SquareVendor) -> None:
    assert ask(square, "/v2/orders/search", {"location_ids": ["L"]}) == (200, {})
    headers = {"authorization": f"Bearer {TOKEN}", "square-version": TIMECARDS_FROM}
    answer = square.answer(Request("POST", "/v2/labor/timecards/search", {}, headers, b"{}", "", NOW))
    assert json.loads(answer.body) == {}


def test_errors(square: SquareVendor) -> None:
    assert ask(square, "/v2/labor/timecards/search", {"limit": 201})[0] == 400
    assert ask(square, "/v2/labor/timecards/search", {}, version="2025-01-23")[0] == 404
    assert ask(square, "/v2/labor/timecards/search", {"cursor": "x"})[0] == 400
    assert ask(square, "/v2/labor/nothing", {})[0] == 404
