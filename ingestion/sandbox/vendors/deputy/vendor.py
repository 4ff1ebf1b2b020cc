"""Deputy's API of one install: bearer token, `POST …/QUERY` with search, sort, start and max, bare arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.deputy.install import TOKEN, Install, install
from ingestion.sandbox.vendors.deputy.records import Record, agreement, areas, companies, employees
from ingestion.sandbox.vendors.deputy.timesheets import leave, roster, timesheet

MOST = 500
"""Records of one answer, however many are asked for."""
COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: bool(value == wanted),
    "ge": lambda value, wanted: bool(value >= wanted),
    "gt": lambda value, wanted: bool(value > wanted),
    "le": lambda value, wanted: bool(value <= wanted),
    "lt": lambda value, wanted: bool(value < wanted),
}


class DeputyError(Exception):
    """An error as Deputy answers it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer.json({"error": {"code": status, "message": message}}, status)


def open_vendor(trade: Trade) -> DeputyVendor:
    """Deputy with the install of the coffee place."""
    return DeputyVendor(install(trade.coffee_sites[0]))


class DeputyVendor:
    """One install, on a host of its own."""

    rate = 20

    def __init__(self, company: Install) -> None:
        self.install = company
        self._records: Callable[[str, datetime], list[Record]] = lru_cache(maxsize=12)(self._list)

    def throttled(self, retry_after: int) -> Answer:
        """429."""
        error = {"error": {"code": 429, "message": "Too many requests"}}
        return Answer.json(error, 429, {"Retry-After": str(retry_after)})

    def unauthorized(self) -> Answer:
        """401."""
        return DeputyError(401, "Invalid access token").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.token != TOKEN:
            return self.unauthorized()
        try:
            match request.path.strip("/").split("/"):
                case ["api", "v1", "resource", name, "QUERY"] if request.method == "POST":
                    return Answer.json(self._query(name, _body(request), request.now))
            raise DeputyError(404, "Invalid endpoint")
        except DeputyError as error:
            return error.answer

    def _query(self, name: str, body: Mapping[str, Any], now: datetime) -> list[Record]:
        """What a search finds, joined objects left out that were not asked for."""
        found = [r for r in self._records(name, now) if all(self._fits(r, c) for c in body.get("search", {}).values())]
        for field, direction in reversed(list(body.get("sort", {}).items())):
            found.sort(key=lambda r, field=field: r[field], reverse=direction == "desc")  # type: ignore[misc]
        start, most = int(body.get("start", 0)), min(int(body.get("max", MOST)), MOST)
        joined = set(body.get("join", ()))
        return [
            {key: value for key, value in record.items() if not key.endswith("Object") or key in joined}
            for record in found[start : start + most]
        ]

    def _fits(self, record: Record, clause: Mapping[str, Any]) -> bool:
        field, compare = clause.get("field"), COMPARED.get(clause.get("type", ""))
        if field not in record or compare is None:
            raise DeputyError(400, f"Invalid search field {field}")
        value, wanted = record[field], clause.get("data")
        if field in ("Modified", "Created"):
            value, wanted = datetime.fromisoformat(value), self._moment(str(wanted))
        return compare(value, wanted)

    def _moment(self, text: str) -> datetime:
        """A moment of a search: without an offset it is on the install's clock."""
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise DeputyError(400, f"Invalid date {text}") from error
        return at if at.tzinfo else at.replace(tzinfo=self.install.zone)

    def _list(self, name: str, now: datetime) -> list[Record]:
        one = self.install
        match name:
            case "Company":
                return companies(one)
            case "OperationalUnit":
                return areas(one)
            case "Employee":
                return employees(one, now)
            case "EmployeeAgreement":
                return [agreement(one, a) for a in one.agreements if a.recorded <= now]
            case "Timesheet":
                worked = [timesheet(one, p, n, now) for n, p in enumerate(one.punches, 1) if p.clocked_in <= now]
                off = [leave(one, taken, n, now) for n, taken in enumerate(one.leaves, 1)]
                return [*worked, *_begun(off, now)]
            case "Roster":
                planned = [roster(one, p, n) for n, p in enumerate(one.punches, 1) if p.deleted_at is None]
                return _begun(planned, now)
        raise DeputyError(404, f"Unknown object {name}")


def _begun(records: Sequence[Record], now: datetime) -> list[Record]:
    """Those that somebody had written by `now`."""
    return [record for record in records if datetime.fromisoformat(record["Modified"]) <= now]


def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = json.loads(request.body or b"{}")
    except json.JSONDecodeError as error:
        raise DeputyError(400, str(error)) from error
    if not isinstance(body, dict):
        raise DeputyError(400, "The body is no object")
    return body
