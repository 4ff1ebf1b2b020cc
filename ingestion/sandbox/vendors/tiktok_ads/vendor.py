"""TikTok's API for Business: a token in a header of its own, HTTP 200 for all, numbered pages, decimals as text.

What went wrong is in `code`, which is 0 where nothing did. No header tells of a rate. A report is computed anew for
each page: rows are sorted by spend, which moves meanwhile, so that a row may change its page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from ingestion.sandbox.advertising import CENT, Account, Delivery, deliveries
from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.tiktok_ads.accounts import DELETED, TOKENS, accounts

USUAL_SIZE, MOST_A_PAGE = 10, 1000
MOST_DAYS = 30
"""Of a report by day."""
LATEST = 28
"""Days after a click for which TikTok still finds conversions, at most."""
METRICS = (
    "campaign_name",
    "spend",
    "impressions",
    "clicks",
    "conversion",
    "complete_payment",
    "total_complete_payment_rate",
)
NO_PERMISSION, BAD_PARAMETER, THROTTLED, NO_TOKEN, WRONG_TOKEN = 40001, 40002, 40100, 40104, 40105


class TikTokError(Exception):
    """A code other than 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def answer(self) -> Answer:
        """The error as TikTok answers it: with HTTP 200 and no data."""
        return _answer(self.code, str(self), {})


def open_vendor(trade: Trade) -> TikTokAdsVendor:
    """TikTok with both ad accounts."""
    return TikTokAdsVendor(trade)


class TikTokAdsVendor:
    """Two ad accounts, derived from the trade."""

    rate = 10

    def __init__(self, trade: Trade) -> None:
        self.accounts = accounts(trade)

    def throttled(self, retry_after: int) -> Answer:
        """HTTP 200 with code 40100; how long to wait is not told."""
        return TikTokError(THROTTLED, "Too many requests. Please retry in some time.").answer

    def unauthorized(self) -> Answer:
        """HTTP 200 with code 40105."""
        return TikTokError(WRONG_TOKEN, "Access token is incorrect or has been revoked.").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            return _answer(0, "OK", self._data(request))
        except TikTokError as error:
            return error.answer

    def _data(self, request: Request) -> dict[str, Any]:
        token = request.headers.get("access-token", "")
        if not token:
            raise TikTokError(NO_TOKEN, "Access token is null")
        if token not in TOKENS.values():
            raise TikTokError(WRONG_TOKEN, "Access token is incorrect or has been revoked.")
        match request.path:
            case "/open_api/v1.3/advertiser/info/":
                numbers = _json_list(request.query, "advertiser_ids")
                return {"list": [_advertiser(self._account(str(number), token)) for number in numbers]}
            case "/open_api/v1.3/campaign/get/":
                account = self._account(request.query.get("advertiser_id", ""), token)
                return _page(_campaigns(account, request), request.query)
            case "/open_api/v1.3/report/integrated/get/":
                account = self._account(request.query.get("advertiser_id", ""), token)
                return _page(_report(account, request.query, request.now), request.query)
        raise TikTokError(BAD_PARAMETER, f"No such path: {request.path}")

    def _account(self, number: str, token: str) -> Account:
        if TOKENS.get(number) != token:
            raise TikTokError(NO_PERMISSION, f"No permission to operate advertiser {number}.")
        return self.accounts[number]


def _answer(code: int, message: str, data: Mapping[str, Any]) -> Answer:
    return Answer.json({"code": code, "message": message, "request_id": "2024031012000000", "data": data})


def _json_list(query: Mapping[str, str], name: str) -> list[Any]:
    try:
        found = json.loads(query.get(name, ""))
    except ValueError as error:
        raise TikTokError(BAD_PARAMETER, f"{name}: Not a valid list.") from error
    if not isinstance(found, list) or not found:
        raise TikTokError(BAD_PARAMETER, f"{name}: Not a valid list.")
    return found


def _advertiser(account: Account) -> dict[str, Any]:
    return {
        "advertiser_id": account.number,
        "name": account.name,
        "company": account.name,
        "country": "US",
        "currency": account.currency,
        "timezone": account.timezone,
        "display_timezone": account.timezone,
        "status": "STATUS_ENABLE",
        "role": "ROLE_ADVERTISER",
        "advertiser_account_type": "AUCTION",
        "balance": 0,
        "create_time": 1630335591,
    }


def _campaigns(account: Account, request: Request) -> list[dict[str, Any]]:
    """Campaigns begun by now; the deleted ones only for who asks for all."""
    try:
        status = json.loads(request.query.get("filtering", "{}")).get("primary_status", "STATUS_NOT_DELETE")
    except (ValueError, AttributeError) as error:
        raise TikTokError(BAD_PARAMETER, "filtering: Not a valid object.") from error
    return [
        {
            "campaign_id": campaign.number,
            "advertiser_id": account.number,
            "campaign_name": campaign.name,
            "campaign_type": "REGULAR_CAMPAIGN",
            "operation_status": "ENABLE" if campaign.state == DELETED else campaign.state,
            "secondary_status": f"CAMPAIGN_STATUS_{campaign.state}",
            "objective_type": campaign.aim,
            "budget": 0,
            "budget_mode": "BUDGET_MODE_INFINITE",
            "create_time": f"{campaign.first} 14:00:00",
            "modify_time": f"{campaign.first} 14:00:00",
        }
        for campaign in account.campaigns
        if campaign.first <= account.today(request.now) and (campaign.state != DELETED or status == "STATUS_ALL")
    ]


def _report(account: Account, query: Mapping[str, str], now: datetime) -> list[dict[str, Any]]:
    if (query.get("report_type"), query.get("data_level")) != ("BASIC", "AUCTION_CAMPAIGN"):
        raise TikTokError(BAD_PARAMETER, "This sandbox reports BASIC with AUCTION_CAMPAIGN only")
    if sorted(_json_list(query, "dimensions")) != ["campaign_id", "stat_time_day"]:
        raise TikTokError(BAD_PARAMETER, "dimensions: this sandbox has campaign_id with stat_time_day only")
    metrics = _json_list(query, "metrics")
    for metric in metrics:
        if metric not in METRICS:
            raise TikTokError(BAD_PARAMETER, f"metrics: {metric} is not a valid metric")
    try:
        since, until = date.fromisoformat(query["start_date"]), date.fromisoformat(query["end_date"])
    except (KeyError, ValueError) as error:
        raise TikTokError(BAD_PARAMETER, "start_date, end_date: Not a valid date.") from error
    if not 0 <= (until - since).days < MOST_DAYS:
        raise TikTokError(BAD_PARAMETER, f"The time span can not exceed {MOST_DAYS} days")
    found = sorted(deliveries(account, since, until, now, LATEST), key=lambda d: (-d.spend, d.day, d.campaign.number))
    return [
        {
            "dimensions": {"campaign_id": d.campaign.number, "stat_time_day": f"{d.day} 00:00:00"},
            "metrics": {name: value for name, value in _metrics(d).items() if name in metrics},
        }
        for d in found
    ]


def _metrics(delivery: Delivery) -> dict[str, str]:
    """Metrics as text, amounts with two decimals, as every metric of TikTok's that is not an attribute."""
    worth = sum((value for _, value in delivery.purchases), Decimal(0))
    bought = len(delivery.purchases)
    return {
        "campaign_name": delivery.campaign.name,
        "spend": f"{delivery.spend.quantize(CENT, ROUND_HALF_UP):f}",
        "impressions": str(delivery.impressions),
        "clicks": str(delivery.clicks),
        "conversion": str(bought if delivery.campaign.aim == "WEB_CONVERSIONS" else delivery.calls),
        "complete_payment": str(bought),
        "total_complete_payment_rate": f"{worth.quantize(CENT):f}",
    }


def _page(records: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    page, size = query.get("page", "1"), query.get("page_size", str(USUAL_SIZE))
    if not (page.isdigit() and int(page) >= 1 and size.isdigit() and 1 <= int(size) <= MOST_A_PAGE):
        raise TikTokError(BAD_PARAMETER, f"page_size: must be from 1 to {MOST_A_PAGE}")
    start = (int(page) - 1) * int(size)
    return {
        "list": list(records[start : start + int(size)]),
        "page_info": {
            "page": int(page),
            "page_size": int(size),
            "total_number": len(records),
            "total_page": -(-len(records) // int(size)),
        },
    }
