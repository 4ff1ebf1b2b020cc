"""The Mailchimp of the sandbox: Basic auth, pages by offset, fields on demand, and what becomes of a mailing."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ingestion.sandbox.data import OPENS_AT, Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.vendors.mailchimp.vendor import MailchimpVendor, open_vendor

RECORDED = Path(__file__).parents[1] / "recorded" / "mailchimp"
KEY = "sandbox0mailchimp0kavarnia-us14"


@pytest.fixture(scope="module")
def vendor(whole_trade: Trade) -> MailchimpVendor:
    return open_vendor(whole_trade)


def ask(vendor: MailchimpVendor, path: str, now: datetime = OPENS_AT, key: str = KEY, **query: str) -> tuple[int, Any]:
    headers = {"authorization": f"Basic {base64.b64encode(f'anystring:{key}'.encode()).decode()}"}
    answer = vendor.answer(Request("GET", f"/3.0/{path}", query, headers, b"", "http://127.0.0.1:1", now))
    return answer.status, json.loads(answer.body, parse_float=Decimal)


def reports(vendor: MailchimpVendor, now: datetime = OPENS_AT, **query: str) -> dict[str, Any]:
    status, page = ask(vendor, "reports", now, **{"count": "1000", **query})
    assert status == 200
    return {report["id"]: report for report in page["reports"]}


def test_pages_by_offset_are_ten_long_unless_asked(vendor: MailchimpVendor) -> None:
    _, first = ask(vendor, "reports")
    _, second = ask(vendor, "reports", offset="10", count="1000")
    assert len(first["reports"]) == 10 and first["total_items"] == second["total_items"] == 21
    assert [r["id"] for r in first["reports"] + second["reports"]] == list(reports(vendor))


@pytest.mark.parametrize("name", ["reports", "campaigns", "lists", "automations"])
def test_a_record_has_the_members_of_a_recorded_one(vendor: MailchimpVendor, name: str) -> None:
    recorded = json.loads((RECORDED / f"{name}.json").read_text())[name][0]
    record = ask(vendor, name, count="1")[1][name][0]
    named = {
        "id",
        "status",
        "recipients",
        "settings",
        "report_summary",
        "stats",
        "opens",
        "clicks",
        "bounces",
        "ecommerce",
    }
    assert named & recorded.keys() <= record.keys()
    if name == "reports":
        assert recorded.keys() == record.keys()
        inner = ("opens", "clicks", "bounces", "list_stats", "ecommerce")
        assert all(recorded[member].keys() == record[member].keys() for member in inner)


def test_rates_of_a_mailing_are_fractions_and_those_of_its_list_percent(vendor: MailchimpVendor) -> None:
    for report in reports(vendor).values():
        delivered = report["emails_sent"] - sum(report["bounces"].values())
        assert abs(report["opens"]["open_rate"] - Decimal(report["opens"]["unique_opens"]) / delivered) < Decimal(
            "1e-6"
        )
        assert abs(
            report["clicks"]["click_rate"] - Decimal(report["clicks"]["unique_subscriber_clicks"]) / delivered
        ) < Decimal("1e-6")
        assert 0 < report["opens"]["open_rate"] < 1 < report["list_stats"]["click_rate"]
        assert 1 < report["list_stats"]["open_rate"] < 100


def test_counts_grow_and_never_fall(vendor: MailchimpVendor) -> None:
    def counted(days: float) -> dict[str, list[Any]]:
        found = reports(vendor, OPENS_AT + timedelta(days=days))
        return {
            key: [
                r["opens"]["unique_opens"],
                r["clicks"]["clicks_total"],
                r["unsubscribed"],
                r["ecommerce"]["total_revenue"],
            ]
            for key, r in found.items()
        }

    steps = [counted(days) for days in (0, 0.1, 1, 3, 30)]
    for before, after in pairwise(steps):
        assert all(
            old <= new for key in before.keys() & after.keys() for old, new in zip(before[key], after[key], strict=True)
        )
    assert steps[0].keys() - steps[2].keys(), "one was deleted in the night"
    assert any(steps[0][key][0] < steps[2][key][0] for key in steps[0].keys() & steps[2].keys())


def test_hours_add_up_to_what_came_in_them(vendor: MailchimpVendor) -> None:
    for report in reports(vendor).values():
        hours = report["timeseries"]
        assert sum(h["emails_sent"] for h in hours) == report["emails_sent"]
        assert 0 < sum(h["unique_opens"] for h in hours) <= report["opens"]["unique_opens"]


def test_filters_by_the_time_of_sending_are_exclusive(vendor: MailchimpVendor) -> None:
    times = sorted(r["send_time"] for r in reports(vendor).values())
    found = reports(vendor, since_send_time=times[2], before_send_time=times[5])
    assert sorted(r["send_time"] for r in found.values()) == times[3:5]


def test_fields_are_those_asked_for(vendor: MailchimpVendor) -> None:
    _, root = ask(vendor, "", fields="account_id,account_timezone")
    assert root == {"account_id": vendor.accounts[1].key, "account_timezone": "Europe/Kiev"}
    _, page = ask(vendor, "reports", count="1", fields="reports.id,reports.opens.open_rate")
    assert set(page) == {"reports"} and set(page["reports"][0]) == {"id", "opens"}
    assert set(page["reports"][0]["opens"]) == {"open_rate"}
    _, page = ask(vendor, "reports", count="1", exclude_fields="reports.timeseries,_links")
    assert "timeseries" not in page["reports"][0] and set(page) == {"reports", "total_items"}


@pytest.mark.parametrize(
    ("path", "name"), [("segments", "segments"), ("tag-search", "tags"), ("interest-categories", "categories")]
)
def test_what_an_audience_is_made_of(vendor: MailchimpVendor, path: str, name: str) -> None:
    status, page = ask(vendor, f"lists/{vendor.accounts[1].audience}/{path}")
    stream = {"categories": "interest_categories"}.get(name, name)
    recorded = json.loads((RECORDED / f"{stream}.json").read_text())[name][0]
    assert status == 200 and recorded.keys() - {"list_id"} <= page[name][0].keys()
    assert ask(vendor, f"lists/{vendor.accounts[0].audience}/{path}")[0] == 404, "another account's"


def test_a_draft_is_a_campaign_without_a_report(vendor: MailchimpVendor) -> None:
    drafts = ask(vendor, "campaigns", count="1000", status="save")[1]["campaigns"]
    assert [(d["emails_sent"], d["send_time"]) for d in drafts] == [(0, "")]
    assert drafts[0]["id"] not in reports(vendor)


@pytest.mark.parametrize(
    ("path", "key", "query", "status"),
    [
        ("reports", "wrong-us14", {}, 401),
        ("reports", KEY, {"count": "1001"}, 400),
        ("reports", KEY, {"since_send_time": "yesterday"}, 400),
        ("reports", KEY, {"since_send_time": "2024-03-01T00:00:00"}, 400),
        ("reports", KEY, {"fields": "id", "exclude_fields": "id"}, 400),
        ("members", KEY, {}, 404),
    ],
)
def test_errors_are_problem_details(
    vendor: MailchimpVendor, path: str, key: str, query: dict[str, str], status: int
) -> None:
    got, body = ask(vendor, path, OPENS_AT, key, **query)
    assert got == body["status"] == status and {"type", "title", "detail", "instance"} <= body.keys()
