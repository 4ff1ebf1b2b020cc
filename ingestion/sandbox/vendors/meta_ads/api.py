"""What graph.facebook.com answers for an ad account: daily insights, an absolute `paging.next`, errors as HTTP 400."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from ingestion.sandbox.vendors.meta_ads.spend import Account, rows

VERSION = "v21.0"
DEFAULT_LIMIT, MAX_LIMIT = 25, 500
HISTORY = timedelta(days=37 * 30)
"""Insights older than 37 months are refused."""
MOST_DAYS = 93
"""A daily report over more days than this is "too much data" here; Meta's own bound is one of effort, not of days."""
ALWAYS = ("date_start", "date_stop")
DEFAULT_FIELDS = "account_id,campaign_id,impressions,spend"


class ApiError(Exception):
    """An answer other than 200, with the code that tells what is wrong; the status is 400 for almost anything."""

    def __init__(
        self, message: str, code: int, subcode: int | None = None, status: int = 400, transient: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self._error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code}
        if transient:
            self._error["is_transient"] = True
        if subcode is not None:
            self._error["error_subcode"] = subcode

    def body(self) -> dict[str, Any]:
        """The error as the Graph API writes it."""
        return {"error": {**self._error, "fbtrace_id": "A0"}}


def throttled() -> ApiError:
    """Too many calls: Meta answers 400 with code 17, not 429."""
    return ApiError("User request limit reached", 17, 2446079, transient=True)


def answer(
    accounts: Mapping[str, Account], origin: str, path: str, query: Mapping[str, str], token: str, now: datetime
) -> dict[str, Any]:
    """The body of `GET path?query` at `now`. `origin` (`http://host:port`) begins the address of the next page.

    Raises:
        ApiError: for anything but 200.
    """
    if token not in {account.token for account in accounts.values()}:
        raise ApiError("Invalid OAuth access token - Cannot parse access token", 190)
    parts = path.strip("/").split("/")
    account = accounts.get(parts[1].removeprefix("act_")) if len(parts) > 1 and parts[1].startswith("act_") else None
    if parts[0] != VERSION or account is None or account.token != token:
        raise ApiError(
            f"Unsupported get request. Object with ID '{parts[-1]}' does not exist, cannot be loaded due to missing "
            "permissions, or does not support this operation",
            100,
            33,
        )
    match parts[2:]:
        case []:
            known = {
                "account_id": account.number,
                "name": account.name,
                "currency": account.currency,
                "timezone_name": account.timezone,
            }
            return _chosen(known, query.get("fields", "account_id"), ()) | {"id": f"act_{account.number}"}
        case ["campaigns"]:
            found: list[Mapping[str, Any]] = [
                _chosen(campaign, query.get("fields", ""), ("id",)) for campaign in _campaigns(account, now)
            ]
            return _page(found, origin, path, {**query, "access_token": token})
        case ["insights"]:
            return _page(_insights(account, query, now), origin, path, {**query, "access_token": token})
    raise ApiError(f"Unknown path components: /{'/'.join(parts[2:])}", 2500)


def _campaigns(account: Account, now: datetime) -> list[Mapping[str, Any]]:
    """What the list shows: campaigns begun by now; deleted ones are left out unless asked for by status."""
    return [
        {
            "id": c.number,
            "account_id": account.number,
            "name": c.name,
            "status": c.status,
            "effective_status": c.status,
            "objective": c.objective,
            "updated_time": f"{c.first}T00:00:00+0000",
        }
        for c in account.campaigns
        if c.listed and c.first <= account.today(now)
    ]


def _insights(account: Account, query: Mapping[str, str], now: datetime) -> list[Mapping[str, Any]]:
    if query.get("level", "account") != "campaign" or query.get("time_increment") != "1":
        raise ApiError("(#100) This sandbox reports level=campaign with time_increment=1 only", 100)
    since, until = _time_range(account, query, now)
    fields = query.get("fields", DEFAULT_FIELDS)
    return [_chosen(found, fields, ALWAYS) for found in rows(account, since, until, now)]


def _time_range(account: Account, query: Mapping[str, str], now: datetime) -> tuple[date, date]:
    today = account.today(now)
    if "time_range" not in query:
        return today - timedelta(days=30), today - timedelta(days=1)
    try:
        wanted = json.loads(query["time_range"])
        since, until = date.fromisoformat(wanted["since"]), date.fromisoformat(wanted["until"])
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError("(#100) Must be a date representation in the format YYYY-MM-DD", 100) from error
    if since > until:
        raise ApiError("(#100) time_range: since must be before until", 100)
    if since < today - HISTORY:
        raise ApiError(
            "(#3018) The start date of the time range cannot be beyond 37 months from the current date", 3018
        )
    if (until - since).days >= MOST_DAYS:
        raise ApiError("Please reduce the amount of data you're asking for, then retry your request", 1, 99, status=500)
    return since, until


def _chosen(record: Mapping[str, Any], fields: str, always: Sequence[str]) -> dict[str, Any]:
    wanted = [*(name for name in fields.split(",") if name and name not in always), *always]
    return {name: record[name] for name in wanted if name in record}


def _page(records: Sequence[Mapping[str, Any]], origin: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not limit.isdigit() or int(limit) < 1:
        raise ApiError("(#100) param limit must be a positive number", 100)
    size = min(int(limit), MAX_LIMIT)
    start = _position(query["after"]) if query.get("after") else 0
    page = records[start : start + size]
    if not page:
        return {"data": []}
    paging: dict[str, Any] = {"cursors": {"before": _cursor(start), "after": _cursor(start + len(page))}}
    if start + len(page) < len(records):
        following = {**query, "after": paging["cursors"]["after"]}
        paging["next"] = f"{origin}{path}?{urlencode(following)}"
    return {"data": list(page), "paging": paging}


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def _position(cursor: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError) as error:
        raise ApiError("(#100) Invalid cursors values were provided", 100) from error
