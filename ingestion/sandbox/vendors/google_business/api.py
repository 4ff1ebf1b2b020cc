"""What Google Business Profile answers: locations of an account, reviews of a location by change, newest first."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingestion.sandbox.vendors.google_business.reviews import Review

MOST_REVIEWS, MOST_LOCATIONS = 50, 100
LIFETIME = 3599
"""Seconds that an access token lives: real ones, whatever the sandbox's clock does."""
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    def body(self) -> dict[str, Any]:
        """The error as Google writes it."""
        return {"error": {"code": self.status, "message": self.message, "status": STATUS[self.status]}}


@dataclass(frozen=True)
class Location:
    """A site on Google. `record` is what the list of locations shows."""

    number: str
    record: Mapping[str, Any]
    reviews: Sequence[Review]


@dataclass(frozen=True)
class Account:
    """An account, and who may read it."""

    number: str
    client_id: str
    client_secret: str
    refresh_token: str
    locations: Sequence[Location]


def token(accounts: Sequence[Account], form: Mapping[str, str], seconds: float) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer to a refresh token. `seconds`: Unix time."""
    if form.get("grant_type") != "refresh_token":
        return 400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}
    client = [
        a for a in accounts if (a.client_id, a.client_secret) == (form.get("client_id"), form.get("client_secret"))
    ]
    if not client:
        return 401, {"error": "invalid_client", "error_description": "The OAuth client was not found."}
    account = next((a for a in client if a.refresh_token == form.get("refresh_token")), None)
    if account is None:
        return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    return 200, {
        "access_token": f"ya29.{account.number}.{int(seconds)}",
        "expires_in": LIFETIME,
        "scope": "https://www.googleapis.com/auth/business.manage",
        "token_type": "Bearer",
    }


def account_of(accounts: Sequence[Account], access_token: str, seconds: float) -> Account:
    """Whose token it is; ApiError for one that nobody has, or not any more at Unix time `seconds`."""
    begin, number, issued = [*access_token.split("."), "", ""][:3]
    account = next((a for a in accounts if a.number == number), None)
    if begin != "ya29" or account is None or not issued.isdigit() or seconds - int(issued) > LIFETIME:
        raise ApiError(401, "Request had invalid authentication credentials.")
    return account


def answer(account: Account, path: str, query: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The body of `GET path?query` at `now`, to who may read `account`.

    Raises:
        ApiError: for anything but 200.
    """
    found = re.fullmatch(r"/v1/accounts/([^/]+)/locations|/v4/accounts/([^/]+)/locations/([^/]+)/reviews", path)
    if found is None:
        raise ApiError(404, "Requested entity was not found.")
    if account.number != (found[1] or found[2]):
        raise ApiError(403, "The caller does not have permission")
    if found[1]:
        return _locations(account, query)
    location = next((place for place in account.locations if place.number == found[3]), None)
    if location is None:
        raise ApiError(404, "Requested entity was not found.")
    return _reviews(location, query, now)


def _locations(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    if not query.get("readMask"):
        raise ApiError(400, "Request contains an invalid argument: read_mask")
    wanted = {name.strip() for name in query["readMask"].split(",")}
    size, start = _size(query, 10, MOST_LOCATIONS), int(_place(query) or 0)
    page = account.locations[start : start + size]
    body: dict[str, Any] = {}
    if page:  # an empty list is left out
        body["locations"] = [{k: v for k, v in place.record.items() if k in wanted} for place in page]
    if start + size < len(account.locations):
        body["nextPageToken"] = _token(start + size)
    return body


def _reviews(location: Location, query: Mapping[str, str], now: datetime) -> dict[str, Any]:
    if query.get("orderBy", "updateTime desc") != "updateTime desc":
        raise ApiError(400, "Request contains an invalid argument: order_by")
    size, after = _size(query, MOST_REVIEWS, MOST_REVIEWS), _place(query)
    shown = [record for review in location.reviews if (record := review.record(now))]
    shown.sort(key=lambda r: (datetime.fromisoformat(r["updateTime"]), r["name"]), reverse=True)
    rest = shown
    if after is not None:
        moment, name = datetime.fromisoformat(after[0]), after[1]
        rest = [r for r in shown if (datetime.fromisoformat(r["updateTime"]), r["name"]) < (moment, name)]
    body: dict[str, Any] = {}
    if shown:
        stars = [("ONE", "TWO", "THREE", "FOUR", "FIVE").index(r["starRating"]) + 1 for r in shown]
        body = {
            "reviews": rest[:size],
            "averageRating": round(sum(stars) / len(stars), 1),
            "totalReviewCount": len(shown),
        }
    if len(rest) > size:
        body["nextPageToken"] = _token([rest[size - 1]["updateTime"], rest[size - 1]["name"]])
    return masked(body, query["fields"]) if query.get("fields") else body


def masked(value: Any, fields: str) -> Any:
    """The members of an answer that `fields` names: `reviews(name,starRating),nextPageToken`; of each, in a list."""
    if isinstance(value, list):
        return [masked(element, fields) for element in value]
    found = {}
    for name, inner in re.findall(r"(\w+)(?:\(([^()]*)\))?", fields):
        if name in value:
            found[name] = masked(value[name], inner) if inner else value[name]
    return found


def _size(query: Mapping[str, str], usual: int, most: int) -> int:
    text = query.get("pageSize", str(usual))
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise ApiError(400, "Request contains an invalid argument: page_size")
    return int(text)


def _place(query: Mapping[str, str]) -> Any:
    if not query.get("pageToken"):
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(query["pageToken"]))
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "Request contains an invalid argument: page_token") from error


def _token(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
