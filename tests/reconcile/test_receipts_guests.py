"""The auditor's arithmetic for reviews and mailings, on the recorded pages, each amount worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ingestion.integrations.google_business.receipts import receipts as of_reviews
from ingestion.integrations.mailchimp.receipts import receipts as of_mailings
from reconcile.model import Sites, SiteSetting

PAGES = Path(__file__).parents[1] / "recorded"
NOW = datetime(2024, 3, 15, tzinfo=UTC)
FOREVER = (date.min, date.max)
Sums = dict[tuple[str, str], Decimal]


def page(name: str) -> Any:
    return json.loads((PAGES / name).read_text(), parse_float=Decimal)


def reviews(sites: Sites) -> Sums:
    records = page("google_business/reviews.1.json")["reviews"] + page("google_business/reviews.2.json")["reviews"]
    sums: Sums = defaultdict(Decimal)
    for amount in of_reviews({"reviews": records}, sites, NOW):
        assert amount.currency == ""
        sums[amount.business_date.isoformat(), amount.measure] += amount.amount
    return dict(sums)


def test_reviews_count_on_the_day_of_the_site_that_somebody_has_told() -> None:
    paris = SiteSetting(*FOREVER, "Europe/Paris", timedelta(hours=4))
    sums = reviews(Sites(settled={"locations/2": [paris]}))
    assert sums["2024-03-10", "stars"] == 4 and sums["2024-03-10", "reviews_answered"] == 1
    assert sums["2024-03-09", "stars"] == 1 and sums["2024-03-09", "reviews_answered"] == 0
    assert sums["2024-03-05", "stars"] == 2
    assert sums["2024-03-03", "stars"] == 5, "02:30 on the 4th, before the day starts"
    assert sum(count for (_, measure), count in sums.items() if measure == "reviews") == 4


def test_a_day_start_at_midnight_moves_the_review_of_the_night() -> None:
    paris = SiteSetting(*FOREVER, "Europe/Paris", timedelta(0))
    assert reviews(Sites(settled={"locations/2": [paris]}))["2024-03-04", "stars"] == 5


def test_where_nobody_tells_a_time_zone_it_is_utc_from_four() -> None:
    assert reviews(Sites())["2024-03-03", "stars"] == 5, "01:30 UTC on the 4th"


def test_a_review_without_stars_counts_with_none() -> None:
    record = page("google_business/reviews.1.json")["reviews"][1]
    for star in ({"starRating": "STAR_RATING_UNSPECIFIED"}, {}):
        bare = {k: v for k, v in record.items() if k != "starRating"} | star
        amounts = {a.measure: a.amount for a in of_reviews({"reviews": [bare]}, Sites(), NOW)}
        assert amounts == {"reviews": Decimal(1), "stars": Decimal(0), "reviews_answered": Decimal(0)}


def mailings(**changes: Any) -> Sums:
    reports = [
        {"_context": {"account_id": "caf9055242d41edd9215d1898"}, **r}
        for r in page("mailchimp/reports.json")["reports"]
    ]
    records = {"account": [page("mailchimp/account.json")], "reports": reports} | changes
    sums: Sums = defaultdict(Decimal)
    for amount in of_mailings(records, Sites(), NOW):
        sums[amount.business_date.isoformat(), amount.measure] += amount.amount
    return dict(sums)


def test_mailings_count_on_the_calendar_of_the_account() -> None:
    sums = mailings()
    assert sums["2022-12-27", "mails_sent"] == 50 and sums["2022-12-27", "mails_opened"] == 50
    assert sums["2022-12-27", "mails_clicked"] == 33, "guests, not the 47 links"
    assert sums["2023-11-07", "mails_sent"] == 1 and sums["2023-11-07", "mails_left"] == 1, (
        "the 6th at 20:17 UTC, in Tokyo"
    )
    assert mailings(account=[])["2023-11-06", "mails_sent"] == 1, "no account was read: UTC"


def test_what_came_back_is_all_bounces_and_revenue_is_without_tax_and_shipping() -> None:
    [report, _] = page("mailchimp/reports.json")["reports"]
    report |= {
        "_context": {"account_id": "?"},
        "bounces": {"hard_bounces": 2, "soft_bounces": 3, "syntax_errors": 1},
        "ecommerce": {"total_orders": 3, "total_spent": 60, "total_revenue": Decimal("48.50"), "currency_code": "UAH"},
    }
    amounts = {(a.measure, a.currency): a.amount for a in of_mailings({"reports": [report]}, Sites(), NOW)}
    assert amounts["mails_back", ""] == 6
    assert amounts["mail_orders", ""] == 3 and amounts["mail_revenue", "UAH"] == Decimal("48.50")
    del report["ecommerce"]
    assert "mail_orders" not in {a.measure for a in of_mailings({"reports": [report]}, Sites(), NOW)}
