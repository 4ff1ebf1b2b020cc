"""When I Work's API: a login for a token in `W-Token`, pages from 0, windows by start, others side-loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.wheniwork.records import Record, account, breaks, locations, shift, time, user
from ingestion.sandbox.vendors.wheniwork.workplace import (
    DEVELOPER_KEY,
    PASSWORD,
    TOKEN,
    USERNAME,
    Workplace,
    workplace,
)

DEFAULT_LIMIT, MOST = 200, 200
Found = Sequence[tuple[datetime, datetime, Record]]
"""Records with when they begin and end."""


class WhenIWorkError(Exception):
    """An error as When I Work answers it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer.json({"error": message, "code": code}, status)


def open_vendor(trade: Trade) -> WhenIWorkVendor:
    """When I Work with the account of the pizza place."""
    return WhenIWorkVendor(workplace(trade.pizza_sites[0]))


class WhenIWorkVendor:
    """One account."""

    rate = 20

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self._found: Callable[[str, datetime], Found] = lru_cache(maxsize=6)(self._list)

    def throttled(self, retry_after: int) -> Answer:
        """429."""
        return Answer.json({"error": "Too many requests", "code": 4029}, 429, {"Retry-After": str(retry_after)})

    def unauthorized(self) -> Answer:
        """401."""
        return WhenIWorkError(401, 1000, "User login required").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            if (request.method, request.path) == ("POST", "/2/login"):
                return _login(request)
            if request.headers.get("w-token") != TOKEN:
                return self.unauthorized()
            return Answer.json(self._read(request))
        except WhenIWorkError as error:
            return error.answer

    def _read(self, request: Request) -> Record:
        now, query = request.now, request.query
        people = [person for person in self.place.people if person.listed]
        match request.path.strip("/").split("/"):
            case ["2", "account"]:
                return {"account": account(self.place)}
            case ["2", "locations"]:
                return {"locations": locations(self.place)}
            case ["2", "users"]:
                shown = [*people, self.place.deleted] if query.get("show_deleted") == "true" else people
                page, told = _page([user(self.place, person, now) for person in shown], query)
                return {"users": page, **told}
            case ["2", "times" | "shifts" as name]:
                start = _moment(query.get("start"), now - timedelta(days=3))
                end = _moment(query.get("end"), now)
                found = [record for at, _, record in self._found(name, now) if start <= at < end]
                page, told = _page(found, query)
                of_page = {record["user_id"] for record in page}
                beside = [user(self.place, person, now) for person in people if person.number in of_page]
                return {name: page, "start": query.get("start"), "end": query.get("end"), **told, "users": beside}
            case ["v3", "shift-breaks"]:
                start = _moment(query.get("startTime"), now - timedelta(days=3))
                end = _moment(query.get("endTime"), now)
                found = [record for at, to, record in self._found("breaks", now) if start <= at and to <= end]
                return {"data": _page(found, query)[0]}
        raise WhenIWorkError(404, 1404, "Not found")

    def _list(self, name: str, now: datetime) -> Found:
        found: list[tuple[datetime, datetime, Record]] = []
        for n, punch in enumerate(self.place.punches, 1):
            if name == "shifts":
                planned = shift(self.place, punch, n)
                if planned and _rfc2822(planned["created_at"]) <= now:
                    found.append(_spanning(planned))
                continue
            if punch.clocked_in > now:
                break
            if name == "breaks":
                found += breaks(punch, n, now)
            elif worked := time(self.place, punch, n, now):
                found.append(_spanning(worked))
        return found


def _spanning(record: Record) -> tuple[datetime, datetime, Record]:
    start = _rfc2822(record["start_time"])
    return start, start, record


def _rfc2822(text: str) -> datetime:
    return parsedate_to_datetime(text)


def _page(records: Sequence[Record], query: Mapping[str, str]) -> tuple[Sequence[Record], Record]:
    """One page, and what the answer tells of it."""
    number, limit = _number(query, "page", 0), min(_number(query, "limit", DEFAULT_LIMIT), MOST)
    if limit == 0:
        raise WhenIWorkError(400, 1400, "limit is at least 1")
    first = number * limit
    more = first + limit < len(records)
    return records[first : first + limit], {"page": number, "limit": limit, "total": len(records), "more": more}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdigit():
        raise WhenIWorkError(400, 1400, f"{name} is no number")
    return int(text)


def _moment(text: str | None, default: datetime) -> datetime:
    """A time in either of the spellings that the vendor takes."""
    if not text:
        return default
    try:
        return datetime.fromisoformat(text) if text[:1].isdigit() else _rfc2822(text)
    except ValueError as error:
        raise WhenIWorkError(400, 1400, f"{text} is no date") from error


def _login(request: Request) -> Answer:
    try:
        said: Any = json.loads(request.body)
        given = said["username"], said["password"], said["key"]
    except (ValueError, KeyError, TypeError) as error:
        raise WhenIWorkError(400, 1400, f"username, password and key are needed: {error}") from error
    if given != (USERNAME, PASSWORD, DEVELOPER_KEY):
        raise WhenIWorkError(401, 1001, "Invalid credentials")
    login = {"id": 5, "first_name": "Sandbox", "last_name": "Owner", "email": USERNAME, "token": TOKEN}
    return Answer.json({"login": login})
