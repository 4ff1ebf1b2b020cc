"""What api.7shifts.com v2 answers: Bearer token, keyset cursor, `modified_since` by the day, deleted punches too."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from ingestion.sandbox.rota import Punch
from ingestion.sandbox.staff import Person
from ingestion.sandbox.vendors.sevenshifts.people import user_record, wage_record
from ingestion.sandbox.vendors.sevenshifts.punches import record

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DEFAULT_LIMIT, MAX_LIMIT = 100, 500


class ApiError(Exception):
    """An answer other than 200: status, message for people, and the vendor's word for the kind of error."""

    def __init__(self, status: int, message: str, kind: str) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind

    def body(self) -> dict[str, Any]:
        """The error as 7shifts writes it."""
        return {"status": "error", "message": self.message, "error": self.kind}


@dataclass(frozen=True)
class Place:
    """A location of a company: what the API lists. `site` is the name of the site in the sandbox's trade."""

    number: int
    site: str
    name: str
    city: str
    state: str
    address: str
    timezone: str
    opens: int
    closes: int

    def record(self, company: int) -> dict[str, Any]:
        """The location as the API lists it."""
        opening = {f"{day}_hours_open": f"{self.opens:02}:00:00" for day in DAYS}
        closing = {f"{day}_hours_close": f"{self.closes % 24:02}:00:00" for day in DAYS}
        return {
            "id": self.number,
            "company_id": company,
            "name": self.name,
            "country": "US",
            "state": self.state,
            "city": self.city,
            "formatted_address": self.address,
            "lat": 0,
            "lng": 0,
            "place_id": None,
            "timezone": self.timezone,
            "timezone_updated": False,
            "hash": f"{self.number * 2654435761 % 2**64:016x}",
            "mapping_id": "synthetic",
            "department_based_budget": False,
            "holiday_pay": False,
            "auto_send_log_book_time": None,
            **closing,
            **opening,
            **{f"{day}_is_closed": False for day in DAYS},
            "created": "2018-08-01T14:00:00+00:00",
            "modified": "2018-08-01T14:00:00+00:00",
        }


@dataclass(frozen=True)
class Company:
    """One account: its token, its sites and people, and every punch of the story, by clock-in."""

    number: int
    token: str
    places: Sequence[Place]
    people: Sequence[Person]
    punches: Sequence[Punch]
    first_punch: int

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Location number by site."""
        return {place.site: place.number for place in self.places}

    def list_punches(self, now: datetime, since: date | None, after: int, limit: int) -> list[Mapping[str, Any]]:
        """Up to `limit` punches numbered above `after`, as they are at `now`, changed on UTC day `since` or later."""
        found: list[Mapping[str, Any]] = []
        for offset in range(max(0, after - self.first_punch), len(self.punches)):
            punch = self.punches[offset]
            if punch.clocked_in > now or len(found) == limit:
                break
            number = self.first_punch + offset + 1
            seen = record(punch, number, self.number, self.place_of[punch.site], now)
            if since is None or datetime.fromisoformat(str(seen["modified"])).date() >= since:
                found.append(seen)
        return found


def answer(
    companies: Mapping[int, Company], path: str, query: Mapping[str, str], token: str, now: datetime
) -> dict[str, Any]:
    """The body of `GET path?query` at `now`.

    Raises:
        ApiError: for anything but 200.
    """
    if token not in {company.token for company in companies.values()}:
        raise ApiError(401, "Invalid access token", "unauthorized")
    parts = path.strip("/").split("/")
    company = _company(companies, parts, token)
    match parts[3:]:
        case ["locations"]:
            return _page([place.record(company.number) for place in company.places], query, "location")
        case ["users"]:
            listed = [user_record(p, company.number, now.date()) for p in company.people if p.listed]
            return _page(listed, query, "user")
        case ["users", user, "wages"]:
            return _wages(company, user, now)
        case ["time_punches"]:
            return _punches(company, query, now)
    raise ApiError(404, "The requested resource was not found", "invalid_id")


def _company(companies: Mapping[int, Company], parts: Sequence[str], token: str) -> Company:
    if len(parts) < 4 or parts[:2] != ["v2", "company"] or not parts[2].isdigit():
        raise ApiError(404, "The requested resource was not found", "invalid_id")
    company = companies.get(int(parts[2]))
    if company is None or company.token != token:
        raise ApiError(403, f"No access to company {parts[2]}", "access_denied")
    return company


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise ApiError(400, f"limit must be between 1 and {MAX_LIMIT}", "validation_error")
    return int(text)


def _after(query: Mapping[str, str]) -> int:
    cursor = query.get("cursor")
    if not cursor:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(cursor))["id"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise ApiError(400, "cursor is invalid", "validation_error") from error


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"id": number}, separators=(",", ":")).encode()).decode()


def _envelope(data: Sequence[Mapping[str, Any]], current: str | None, more: bool, kind: str) -> dict[str, Any]:
    following = _cursor(int(data[-1]["id"])) if more else None
    cursor = {"current": current, "prev": None, "next": following, "count": len(data)}
    return {"data": list(data), "meta": {"cursor": cursor}, "object": kind}


def _page(records: Sequence[Mapping[str, Any]], query: Mapping[str, str], kind: str) -> dict[str, Any]:
    after, limit = _after(query), _limit(query)
    rest = [r for r in sorted(records, key=lambda r: int(r["id"])) if int(r["id"]) > after]
    return _envelope(rest[:limit], query.get("cursor"), len(rest) > limit, kind)


def _punches(company: Company, query: Mapping[str, str], now: datetime) -> dict[str, Any]:
    since = None
    if text := query.get("modified_since"):
        try:
            since = date.fromisoformat(text[:10])
        except ValueError as error:
            raise ApiError(400, "modified_since is not a valid date", "validation_error") from error
    limit = _limit(query)
    found = company.list_punches(now, since, _after(query), limit + 1)
    return _envelope(found[:limit], query.get("cursor"), len(found) > limit, "time_punch")


def _wages(company: Company, user: str, now: datetime) -> dict[str, Any]:
    person = next((p for p in company.people if p.listed and str(p.number) == user), None)
    if person is None:
        raise ApiError(404, f"User {user} was not found", "invalid_id")
    known = [w for w in person.wages if datetime.fromisoformat(w.recorded).astimezone(UTC) <= now]
    newest_first = sorted(known, key=lambda w: (w.effective, w.number), reverse=True)
    current = [wage_record(w) for w in newest_first if w.effective <= now.date()]
    upcoming = [wage_record(w) for w in newest_first if w.effective > now.date()]
    return {"data": {"current_wages": current, "upcoming_wages": upcoming}, "object": "user_wages"}
