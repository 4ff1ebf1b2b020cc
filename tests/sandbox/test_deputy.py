"""The Deputy of the sandbox: shapes and searches of the resource API, and the untidy story of its timesheets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.vendors.deputy.install import TOKEN
from ingestion.sandbox.vendors.deputy.vendor import DeputyVendor, open_vendor

NOW = datetime(2024, 4, 2, 9, tzinfo=UTC)
LATER = datetime(2024, 4, 30, tzinfo=UTC)
PAGES = Path(__file__).parents[1] / "recorded" / "deputy"
BY_ID = {"sort": {"Id": "asc"}}


@pytest.fixture(scope="module")
def deputy(whole_trade: Trade) -> DeputyVendor:
    return open_vendor(whole_trade)


def ask(deputy: DeputyVendor, name: str, now: datetime = NOW, token: str = TOKEN, **body: Any) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {token}"}
    path = f"/api/v1/resource/{name}/QUERY"
    answer = deputy.answer(Request("POST", path, {}, headers, json.dumps(BY_ID | body).encode(), "", now))
    return answer.status, json.loads(answer.body, parse_float=Decimal)


def timesheets(deputy: DeputyVendor, now: datetime = NOW, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        status, page = ask(deputy, "Timesheet", now, start=len(found), **body)
        assert status == 200
        found += page
        if len(page) < body.get("max", 500):
            return found


@pytest.mark.parametrize(
    ("name", "stream"),
    [("Company", "companies"), ("OperationalUnit", "operational_units"), ("Roster", "rosters")],
)
def test_records_have_the_fields_of_the_recorded_pages(deputy: DeputyVendor, name: str, stream: str) -> None:
    recorded = json.loads((PAGES / f"{stream}.json").read_text())[0]
    (served, *_) = ask(deputy, name, join=["AddressObject"])[1]
    assert recorded.keys() - served.keys() == set()


def test_timesheets_have_the_fields_of_the_recorded_page(deputy: DeputyVendor) -> None:
    recorded = json.loads((PAGES / "timesheets.json").read_text())[-1]
    assert all(sheet.keys() == recorded.keys() for sheet in timesheets(deputy))
    with_slots = next(sheet for sheet in timesheets(deputy) if sheet["Slots"])
    assert with_slots["Slots"][0].keys() == recorded["Slots"][0].keys()
    assert set(with_slots["MealbreakSlots"].values()) == {"OUT", "IN"}
    assert {sheet["MealbreakSlots"] for sheet in timesheets(deputy) if not sheet["Slots"]} == {""}


def without_photos(sheet: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sheet.items() if key != "_DPMetaData"}


def test_an_answer_is_a_bare_array_of_at_most_500_and_pages_join_to_the_whole(deputy: DeputyVendor) -> None:
    whole = [sheet["Id"] for sheet in timesheets(deputy, LATER)]
    assert [sheet["Id"] for sheet in timesheets(deputy, LATER, max=7)] == whole
    assert whole == sorted(set(whole)) and len(whole) > 400
    assert len(ask(deputy, "Timesheet", LATER, max=100_000)[1]) <= 500


def test_a_search_for_changes_is_on_the_clock_of_the_install(deputy: DeputyVendor) -> None:
    changed = timesheets(deputy, search={"s1": {"field": "Modified", "type": "ge", "data": "2024-04-01"}})
    midnight = datetime.fromisoformat("2024-04-01T00:00:00+03:00")
    assert changed and len(changed) < len(timesheets(deputy))
    assert {s["Id"] for s in changed} == {
        s["Id"] for s in timesheets(deputy) if datetime.fromisoformat(s["Modified"]) >= midnight
    }


def test_joined_objects_come_when_asked_for_and_photos_are_signed_anew(deputy: DeputyVendor) -> None:
    (plain, *_), (joined, *_) = timesheets(deputy), timesheets(deputy, join=["OperationalUnitObject"])
    assert "OperationalUnitObject" not in plain and joined["OperationalUnitObject"]["Company"] == 1
    (again, *_) = timesheets(deputy, NOW + timedelta(minutes=1))
    assert again["_DPMetaData"] != plain["_DPMetaData"]
    assert without_photos(again) == without_photos(plain)


def test_the_head_office_is_no_place_of_work(deputy: DeputyVendor) -> None:
    assert len(ask(deputy, "Company")[1]) == 2
    (site,) = ask(deputy, "Company", search={"s1": {"field": "IsWorkplace", "type": "eq", "data": True}})[1]
    assert site["Id"] == 1


def test_total_time_is_net_of_the_meal_break_and_cost_has_premiums(deputy: DeputyVendor) -> None:
    rates = {a["Id"]: a["BaseRate"] for a in ask(deputy, "EmployeeAgreement", LATER)[1]}
    with_premium = 0
    for sheet in timesheets(deputy, LATER):
        meal = datetime.fromisoformat(sheet["Mealbreak"])
        worked = Decimal(sheet["EndTime"] - sheet["StartTime"] - meal.hour * 3600 - meal.minute * 60) / 3600
        assert abs(worked - sheet["TotalTime"]) <= Decimal("0.005")
        assert datetime.fromisoformat(sheet["StartTimeLocalized"]).timestamp() == sheet["StartTime"]
        rate = rates[sheet["EmployeeAgreement"]]
        plain = sheet["TotalTime"] * rate if rate else Decimal(0)
        with_premium += sheet["Cost"] > plain + Decimal("0.01")
        assert sheet["OnCost"] >= sheet["Cost"] >= plain - Decimal("0.01")
    assert with_premium > 10


def test_an_open_timesheet_ends_at_null_or_zero(deputy: DeputyVendor) -> None:
    ends = set()
    for hour in range(24 * 7):
        for sheet in timesheets(deputy, NOW - timedelta(hours=hour)):
            if sheet["IsInProgress"]:
                ends.add(sheet["EndTime"])
                assert sheet["EndTimeLocalized"] is None and sheet["TotalTime"] == 0
    assert ends == {None, 0}


@pytest.mark.parametrize("hour", [0, 6, 12, 18])
def test_every_day_discards_and_corrects(deputy: DeputyVendor, hour: int) -> None:
    now = NOW.replace(hour=hour)
    before = {s["Id"]: without_photos(s) for s in timesheets(deputy, now)}
    after = {s["Id"]: without_photos(s) for s in timesheets(deputy, now + timedelta(days=1))}
    moved = [(old, after[key]) for key, old in before.items() if old != after[key]]
    assert all(old["Modified"] < new["Modified"] for old, new in moved)
    assert any(new["Discarded"] and not old["Discarded"] for old, new in moved)
    assert any(new["SupervisorComment"] and new["SupervisorComment"] != old["SupervisorComment"] for old, new in moved)
    assert after.keys() - before.keys()


def test_leave_and_people_without_a_rate(deputy: DeputyVendor) -> None:
    found = timesheets(deputy, LATER)
    assert any(sheet["IsLeave"] for sheet in found)
    agreements = ask(deputy, "EmployeeAgreement", LATER)[1]
    assert any(a["AnnualSalary"] for a in agreements)
    unpaid = {a["Id"] for a in agreements if a["BaseRate"] is None and a["AnnualSalary"] is None}
    assert any(sheet["EmployeeAgreement"] in unpaid for sheet in found)
    rises = [a["EmployeeId"] for a in agreements]
    assert len(set(rises)) < len(rises)


@pytest.mark.parametrize(
    ("name", "token", "body", "status"),
    [
        ("Timesheet", "wrong", {}, 401),
        ("Nothing", TOKEN, {}, 404),
        ("Timesheet", TOKEN, {"search": {"s1": {"field": "Nothing", "type": "eq", "data": 1}}}, 400),
        ("Timesheet", TOKEN, {"search": {"s1": {"field": "Modified", "type": "ge", "data": "soon"}}}, 400),
    ],
)
def test_errors(deputy: DeputyVendor, name: str, token: str, body: dict[str, Any], status: int) -> None:
    got, answer = ask(deputy, name, token=token, **body)
    assert (got, answer["error"]["code"]) == (status, status)
