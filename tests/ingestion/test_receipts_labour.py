"""The auditor's arithmetic for Deputy, When I Work and Square's timecards on recorded pages, worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ingestion.integrations.deputy.receipts import receipts as deputy
from ingestion.integrations.square.receipts import receipts as square
from ingestion.integrations.wheniwork.receipts import receipts as wheniwork
from reconcile.model import Amount, Sites

PAGES = Path(__file__).parents[1] / "recorded"
NOW = datetime(2025, 6, 2, 12, tzinfo=UTC)
Records = dict[str, list[dict[str, Any]]]
Sums = dict[tuple[str, str, str], Decimal]


def page(name: str) -> Any:
    return json.loads((PAGES / f"{name}.json").read_text(), parse_float=Decimal)


def summed(amounts: Iterable[Amount]) -> Sums:
    sums: Sums = defaultdict(Decimal)
    for amount in amounts:
        sums[amount.business_date.isoformat(), amount.currency, amount.measure] += amount.amount
    return {key: amount for key, amount in sums.items() if amount}


def of_deputy() -> Records:
    site = page("deputy/companies")[0] | {"_context": {"time_zone": "Australia/Adelaide"}}
    own = {**site, "Id": 1, "_context": {"time_zone": "Australia/Sydney"}}
    return {
        "companies": [site, own],
        "employee_agreements": page("deputy/employee_agreements"),
        "timesheets": page("deputy/timesheets"),
    }


def of_wheniwork() -> Records:
    places = [
        {"_context": {"time_zone": "America/Chicago"}, **place} for place in page("wheniwork/locations")["locations"]
    ]
    return {
        "locations": places,
        "users": page("wheniwork/users")["users"],
        "times": page("wheniwork/times")["times"][:2],
        "shift_breaks": page("wheniwork/shift_breaks")["data"],
    }


def of_square(**card: Any) -> Records:
    """Square's timecard of ten hours, with other members; at a site whose day begins at 04:00 in New York."""
    first = page("square/timecards")["timecards"][0] | card
    place = {"id": first["location_id"], "timezone": "America/New_York"}
    members = page("square/team_members")["team_members"]
    return {"locations": [place], "team_members": members, "timecards": [first]}


def test_deputy_counts_what_mealbreak_says_and_no_leave() -> None:
    records = of_deputy()
    records["timesheets"][1]["Discarded"] = True
    assert summed(deputy(records, Sites(currency="AUD"), NOW)) == {
        ("2022-05-06", "", "shift_count"): Decimal(1),
        ("2022-05-06", "", "hours"): Decimal("11.5"),
        ("2022-05-06", "", "costed_hours"): Decimal("11.5"),
        ("2022-05-06", "AUD", "base_cost"): Decimal("345"),
        ("2018-01-01", "", "shift_count"): Decimal(1),
        ("2018-01-01", "", "hours"): Decimal("1.5"),
    }


def test_deputy_an_open_timesheet_counts_until_its_break_and_at_most_sixteen_hours() -> None:
    records = of_deputy()
    (leave, opened, *_) = records["timesheets"]
    assert leave["IsLeave"] and opened["IsInProgress"]
    records["timesheets"] = [opened]
    assert summed(deputy(records, Sites(), NOW))["2018-01-02", "", "hours"] == 16
    opened["MealbreakSlots"] = {str(opened["StartTime"] + 7200): "OUT"}
    assert summed(deputy(records, Sites(), NOW))["2018-01-02", "", "hours"] == 2


def test_deputy_a_salary_costs_nothing_by_the_hour_and_is_known() -> None:
    records = of_deputy()
    records["timesheets"] = records["timesheets"][-1:]
    records["employee_agreements"][0] |= {"AnnualSalary": 60000, "BaseRate": Decimal("28.85")}
    sums = summed(deputy(records, Sites(currency="AUD"), NOW))
    assert sums["2022-05-06", "", "costed_hours"] == Decimal("11.5")
    assert ("2022-05-06", "AUD", "base_cost") not in sums


def test_wheniwork_takes_the_rate_of_the_time_else_the_users() -> None:
    assert summed(wheniwork(of_wheniwork(), Sites(), NOW)) == {
        ("2014-03-07", "", "shift_count"): Decimal(1),
        ("2014-03-07", "", "hours"): Decimal("5.75"),
        ("2014-03-07", "", "costed_hours"): Decimal("5.75"),
        ("2014-03-07", "USD", "base_cost"): Decimal("115"),
        ("2014-03-08", "", "shift_count"): Decimal(1),
        ("2014-03-08", "", "hours"): Decimal("4.75"),
        ("2014-03-08", "", "costed_hours"): Decimal("4.75"),
        ("2014-03-08", "USD", "base_cost"): Decimal("73.625"),
        ("2014-03-09", "", "hours"): Decimal("1.75"),
        ("2014-03-09", "", "costed_hours"): Decimal("1.75"),
        ("2014-03-09", "USD", "base_cost"): Decimal("27.125"),
    }


def test_wheniwork_knows_of_a_salary_not_how_much() -> None:
    records = of_wheniwork()
    for user in records["users"]:
        user["type"] = 2
    sums = summed(wheniwork(records, Sites(), NOW))
    assert ("2014-03-08", "", "costed_hours") not in sums and sums["2014-03-07", "", "costed_hours"] == Decimal("5.75")


def test_square_splits_a_timecard_at_its_own_wage() -> None:
    assert summed(square(of_square(), Sites(), NOW)) == {
        ("2019-01-20", "", "shift_count"): Decimal(1),
        ("2019-01-20", "", "hours"): Decimal("0.816667"),
        ("2019-01-20", "", "costed_hours"): Decimal("0.816667"),
        ("2019-01-20", "USD", "base_cost"): Decimal("8.9833"),
        ("2019-01-21", "", "hours"): Decimal("9.183333"),
        ("2019-01-21", "", "costed_hours"): Decimal("9.183333"),
        ("2019-01-21", "USD", "base_cost"): Decimal("101.0167"),
    }


def test_square_without_a_wage_takes_the_jobs_and_a_salary_costs_nothing_by_the_hour() -> None:
    johnny, cashier, manager = "-3oZQKPKVk6gUXU_V5Qa", "VDNpRv8da51NU8qZFC5zDWpF", "FjS8x95cqHiMenw4f1NAUH4P"
    at = {"team_member_id": johnny, "start_at": "2022-01-21T09:00:00-05:00", "end_at": "2022-01-21T11:00:00-05:00"}
    unset = {"amount": 0, "currency": "USD"}

    def of(job: str, rate: dict[str, Any]) -> Sums:
        return summed(square(of_square(**at, breaks=[], wage={"job_id": job, "hourly_rate": rate}), Sites(), NOW))

    assert of(cashier, unset)["2022-01-21", "USD", "base_cost"] == 40
    salaried = of(manager, {"amount": 1443, "currency": "USD"})
    assert salaried["2022-01-21", "", "costed_hours"] == 2
    assert ("2022-01-21", "USD", "base_cost") not in salaried
    unknown = of("another job", unset)
    assert unknown["2022-01-21", "", "hours"] == 2 and ("2022-01-21", "", "costed_hours") not in unknown
