"""The auditor's arithmetic for 7shifts and Meta Ads, on the recorded pages, each amount worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ingestion.integrations.meta_ads.receipts import receipts as marketing
from ingestion.integrations.sevenshifts.receipts import receipts as labour
from reconcile.model import Sites, SiteSetting

PAGES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2024, 3, 15, 17, 0, tzinfo=UTC)
Sums = dict[tuple[str, str], Decimal]


def page(name: str) -> Any:
    return json.loads((PAGES / f"{name}.json").read_text(), parse_float=Decimal)


def wages() -> list[dict[str, Any]]:
    return [
        {"_context": {"user_id": user}, **wage}
        for user, answer in page("sevenshifts/wages").items()
        for wages in answer["data"].values()
        for wage in wages
    ]


def labour_of(*numbers: int, sites: Sites | None = None, now: datetime = NOW) -> Sums:
    """Amounts of the recorded punches with these last two digits."""
    punches = [p for p in page("sevenshifts/time_punches")["data"] if p["id"] % 100 in numbers]
    records = {"locations": page("sevenshifts/locations")["data"], "wages": wages(), "time_punches": punches}
    sums: Sums = defaultdict(Decimal)
    for amount in labour(records, sites or Sites(), now):
        sums[amount.business_date.isoformat(), amount.measure] += amount.amount
    return sums


def test_unpaid_breaks_are_not_hours_but_paid_and_deleted_ones_are() -> None:
    sums = labour_of(1)
    assert sums["2024-03-01", "hours"] == 8
    assert sums["2024-03-01", "base_cost"] == Decimal("126.00")
    assert sums["2024-03-01", "shift_count"] == 1


def test_a_rise_holds_from_its_date() -> None:
    assert labour_of(2)["2024-03-04", "base_cost"] == Decimal("9.5") * Decimal("16.50")


def test_the_wage_of_the_role_goes_first() -> None:
    assert labour_of(4)["2024-03-13", "base_cost"] == 6 * Decimal("19.00")


@pytest.mark.fault(22)
def test_the_night_of_the_clock_change_has_seven_hours_on_two_business_dates() -> None:
    sums = labour_of(5)
    assert (sums["2024-03-09", "hours"], sums["2024-03-10", "hours"]) == (Decimal(5), Decimal(2))
    assert (sums["2024-03-09", "shift_count"], sums["2024-03-10", "shift_count"]) == (Decimal(1), Decimal(0))
    assert sums["2024-03-09", "base_cost"] == 5 * Decimal("16.50")


@pytest.mark.fault(22)
def test_another_night_has_eight_and_splits_at_the_day_start_of_the_site() -> None:
    now = datetime(2024, 3, 18, tzinfo=UTC)
    sums = labour_of(6, now=now)
    assert (sums["2024-03-16", "hours"], sums["2024-03-17", "hours"]) == (Decimal(6), Decimal(2))
    whole = SiteSetting(date(2000, 1, 1), date(2100, 1, 1), "America/New_York", timedelta(hours=6))
    assert labour_of(6, sites=Sites({"98101": [whole]}), now=now)["2024-03-16", "hours"] == 8


def test_without_a_wage_the_cost_is_unknown_and_a_salary_costs_nothing_by_the_hour() -> None:
    unknown, salaried = labour_of(7), labour_of(8)
    assert unknown["2024-03-13", "hours"] == 6
    assert ("2024-03-13", "costed_hours") not in unknown and ("2024-03-13", "base_cost") not in unknown
    assert salaried["2024-03-13", "hours"] == salaried["2024-03-13", "costed_hours"] == Decimal("8.5")
    assert ("2024-03-13", "base_cost") not in salaried


def test_hours_and_cost_are_rounded_by_shift_and_day() -> None:
    punch = page("sevenshifts/time_punches")["data"][1] | {"clocked_out": "2024-03-04T12:05:00+00:00", "breaks": []}
    records = {"locations": page("sevenshifts/locations")["data"], "wages": wages(), "time_punches": [punch, punch]}
    amounts = {a.measure: a.amount for a in labour(records, Sites(), NOW)}
    assert amounts["hours"] == 2 * Decimal("0.333333")
    assert amounts["base_cost"] == 2 * Decimal("5.5000")


def test_a_deleted_punch_counts_nothing() -> None:
    assert labour_of(9) == {}


def test_an_open_punch_counts_to_now_and_for_sixteen_hours_at_most() -> None:
    assert labour_of(13)["2024-03-15", "hours"] == Decimal("4.25"), "from 11:45, on an unpaid break since 16:00"
    later = labour_of(13, now=NOW + timedelta(days=2))
    assert sum(v for k, v in later.items() if k[1] == "hours") == Decimal("4.25")


def marketing_of(*names: str) -> Sums:
    rows: Sequence[Any] = [row for name in names for row in page(f"meta_ads/{name}")["data"]]
    sums: Sums = defaultdict(Decimal)
    for amount in marketing({"insights": rows}, Sites(), NOW):
        sums[amount.business_date.isoformat(), amount.measure] += amount.amount
    return sums


def test_spend_counts_whether_or_not_a_campaign_is_mapped_or_listed() -> None:
    sums = marketing_of("insights")
    assert sums["2024-03-12", "spend"] == Decimal("18.37") + Decimal("55.20") + 12 + Decimal("6.05")
    assert sums["2024-03-13", "spend"] == Decimal("68.58")
    assert sums["2024-03-12", "claimed_purchases"] == 11
    assert sums["2024-03-12", "claimed_purchase_value"] == Decimal("183.25")
    assert sums["2024-03-12", "impressions"] == 1520 + 4870 + 2210 + 610


def test_restated_spend_is_lower() -> None:
    assert marketing_of("insights_restated")["2024-03-12", "spend"] == Decimal("81.81")


def test_purchases_over_all_channels_contain_the_others() -> None:
    row = page("meta_ads/insights")["data"][0]
    row["actions"] = [{"action_type": t, "value": v} for t, v in (("purchase", "2"), ("omni_purchase", "5"))]
    amounts = {a.measure: a.amount for a in marketing({"insights": [row]}, Sites(), NOW)}
    assert amounts["claimed_purchases"] == 5
