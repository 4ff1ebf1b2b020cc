"""Lightspeed Retail's API (R-Series, V3): bearer tokens that expire, pages by the URL of the next, a leaky bucket."""

from __future__ import annotations

import json
import math
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from ingestion.sandbox.data import COFFEE_ZONE, Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.timeline import State, Timeline
from ingestion.sandbox.vendors.lightspeed_r import tokens
from ingestion.sandbox.vendors.lightspeed_r.machine import SYRUP, sales
from ingestion.sandbox.vendors.lightspeed_r.records import children, item_record, states

ACCOUNT = "83050"
MOST_A_PAGE = 100
REGISTERS = 19
DRIP_RATE = 1 + 0.5 * (REGISTERS - 1)
BUCKET_SIZE = 90 + 10 * (REGISTERS - 1)
ALL_RELATIONS_COST = 10
EPOCH = datetime(2023, 11, 1, 8, tzinfo=UTC)
PARAMETERS = frozenset({"limit", "sort", "after", "archived", "voided", "load_relations", "timeStamp"})
RELATIONS = {
    "Shop": ("Contact",),
    "Employee": ("Contact",),
    "Item": ("Category",),
    "Sale": ("SaleLines", "SaleLines.Discount", "SaleLines.Item", "SaleLines.Note", "SalePayments",
             "SalePayments.PaymentType", "SalePayments.SaleAccounts"),
}  # fmt: skip


class LightspeedError(Exception):
    """An error as Lightspeed answers it."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        body = {"httpCode": str(status), "httpMessage": name, "message": message, "errorClass": "Exception"}
        self.answer = Answer.json(body, status)


def open_vendor(trade: Trade) -> LightspeedVendor:
    """Lightspeed with the coffee machine."""
    return LightspeedVendor(trade)


class LightspeedVendor:
    """One account with one shop."""

    rate = 20  # the burst limit

    def __init__(self, trade: Trade, clock: Callable[[], float] = time.monotonic) -> None:
        products = (*sorted(trade.coffee_products, key=lambda p: p.sku), SYRUP)
        items = {product.sku: number for number, product in enumerate(products, 1)}
        every = [state for sale in sales(trade.coffee) for state in states(sale, items)]
        self._lists: dict[str, Timeline] = {
            "Shop": _fixed("shopID", [_shop()]),
            "Employee": _fixed("employeeID", _employees()),
            "Item": _fixed("itemID", [item_record(product, items) for product in products]),
            "Sale": Timeline(every),
        }
        self._bucket = LeakyBucket(clock)

    def throttled(self, retry_after: int) -> Answer:
        """429 of the burst limiter."""
        headers = {"X-LS-API-RateLimit-Type": "api-burst-limiter", "Retry-After": str(retry_after)}
        return _too_many("burst rate limit exceeded", headers)

    def unauthorized(self) -> Answer:
        """401."""
        return LightspeedError(401, "Unauthorized", "Invalid access token.").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path == tokens.PATH:
            return tokens.issue(request)
        if not tokens.is_valid(request.token, request.now):
            return self.unauthorized()
        cost = ALL_RELATIONS_COST if request.query.get("load_relations") == "all" else 1
        headers, wait = self._bucket.pour(request.token, cost)
        if wait:
            limited = headers | {"X-LS-API-RateLimit-Type": "api-leaky-bucket", "Retry-After": str(wait)}
            return _too_many("Rate limit exceeded", limited)
        try:
            return Answer.json(self._page(request), headers=headers)
        except LightspeedError as error:
            return Answer(error.answer.body, error.answer.status, headers)

    def _page(self, request: Request) -> dict[str, Any]:
        match request.path.strip("/").split("/"):
            case ["API", "V3", "Account", account, file] if file.removesuffix(".json") in self._lists:
                name = file.removesuffix(".json")
            case _:
                raise LightspeedError(404, "Not Found", "No such resource.")
        if account != ACCOUNT:
            raise LightspeedError(403, "Forbidden", "You do not have access to this account.")
        query = request.query
        unknown = sorted(set(query) - PARAMETERS)
        if unknown:
            raise _bad(f"{unknown[0]} is not a valid query parameter")
        try:
            limit = int(query.get("limit", str(MOST_A_PAGE)))
        except ValueError as error:
            raise _bad("limit is not a number") from error
        if not 0 < limit <= MOST_A_PAGE:
            raise _bad(f"limit must be between 1 and {MOST_A_PAGE}")
        by_change = query.get("sort") == "timeStamp"
        found = _changed(self._lists[name].all(request.now), query.get("timeStamp"))
        found.sort(key=partial(_place, by_change))
        after = _after(query["after"]) if query.get("after") else ("", "")
        relations = _relations(name, query.get("load_relations"))
        records: list[dict[str, Any]] = []
        last = None
        for state in found:
            if _place(by_change, state) <= after:
                continue
            record: Any = state.record()
            if _is_asked_for(record, query):
                if len(records) == limit:
                    assert last is not None
                    return _answer(name, records, _next(request, _place(by_change, last)))
                records.append(_with(record, relations, RELATIONS[name]))
                last = state
        return _answer(name, records, "")


class LeakyBucket:
    """Each connection's: a request pours in its cost, time empties it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def pour(self, token: str, cost: int) -> tuple[dict[str, str], int]:
        """Headers, and how many seconds to wait if there is no room; the first request beyond the rim is served."""
        with self._lock:
            now = self._clock()
            level, since = self._levels.get(token, (0.0, now))
            level = max(0.0, level - (now - since) * DRIP_RATE)
            full = level >= BUCKET_SIZE
            if not full:
                level += cost
            self._levels[token] = level, now
        headers = {
            "X-LS-Acct-Id": ACCOUNT,
            "X-LS-API-Bucket-Level": f"{level:.6g}/{BUCKET_SIZE}",
            "X-LS-API-Drip-Rate": f"{DRIP_RATE:g}",
            "X-LS-API-Request-Cost": str(cost),
        }
        return headers, max(1, math.ceil((level - BUCKET_SIZE) / DRIP_RATE)) if full else 0


def _answer(name: str, records: Sequence[dict[str, Any]], following: str) -> dict[str, Any]:
    """One record is an object, several are a list, none is nothing."""
    page: dict[str, Any] = {"@attributes": {"next": following, "previous": ""}}
    if records:
        page[name] = records[0] if len(records) == 1 else list(records)
    return page


def _is_asked_for(record: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Archived records only when asked for; other fields as they are asked for."""
    if record.get("archived") == "true" and query.get("archived") != "true":
        return False
    return "voided" not in query or record.get("voided") == query["voided"]


def _place(by_change: bool, state: State) -> tuple[str, str]:
    return (state.group, state.key) if by_change else ("", state.key)


def _changed(found: Sequence[State], operation: str | None) -> list[State]:
    """Those whose timeStamp fits `><,<from>,<to>` (both included) or `>=,<from>`."""
    if operation is None:
        return list(found)
    operator, *operands = operation.split(",")
    try:
        ends = [datetime.fromisoformat(operand).astimezone(UTC).isoformat(timespec="seconds") for operand in operands]
    except ValueError as error:
        raise _bad(f"timeStamp: {error}") from error
    match operator, ends:
        case "><", [start, end]:
            return [state for state in found if start <= state.group <= end]
        case ">=", [start]:
            return [state for state in found if start <= state.group]
    raise _bad("timeStamp takes the operators >= and ><")


def _relations(name: str, asked: str | None) -> frozenset[str]:
    if asked == "all":
        return frozenset(RELATIONS[name])
    try:
        relations = frozenset(json.loads(asked or "[]"))
    except ValueError as error:
        raise _bad("load_relations is not JSON") from error
    unknown = sorted(relations - set(RELATIONS[name]))
    if unknown:
        raise _bad(f"{name} has no relation {unknown[0]}")
    return relations


def _with(record: Mapping[str, Any], relations: frozenset[str], possible: Sequence[str]) -> dict[str, Any]:
    """The record with the relations that were asked for; others are not in it."""
    kept = {key: value for key, value in record.items() if key not in possible or key in relations}
    for relation in ("SaleLines", "SalePayments"):
        if relation not in kept:
            continue
        [(element, inside)] = kept[relation].items()
        many = inside if isinstance(inside, list) else [inside]
        hidden = {name.partition(".")[2] for name in possible if name.startswith(f"{relation}.")} - {
            name.partition(".")[2] for name in relations
        }
        cut = [{key: value for key, value in child.items() if key not in hidden} for child in many]
        kept |= children(relation, element, cut)
    return kept


def _next(request: Request, place: tuple[str, str]) -> str:
    after = urlsafe_b64encode(json.dumps(place).encode()).decode()
    query = urlencode({**{k: v for k, v in request.query.items() if k != "after"}, "after": after})
    return f"{request.origin}{request.path}?{query}"


def _after(cursor: str) -> tuple[str, str]:
    try:
        group, key = json.loads(urlsafe_b64decode(cursor))
    except ValueError as error:
        raise _bad("after is not a cursor of ours") from error
    return str(group), str(key)


def _bad(message: str) -> LightspeedError:
    return LightspeedError(400, "Bad Request", message)


def _too_many(message: str, headers: Mapping[str, str]) -> Answer:
    body = {"httpCode": "429", "httpMessage": "Too Many Requests", "message": message, "errorClass": "Exception"}
    return Answer.json(body, 429, headers)


def _fixed(key: str, records: Sequence[dict[str, Any]]) -> Timeline:
    return Timeline(
        State(EPOCH, f"{int(record[key]):08}", record["timeStamp"], partial(dict, record)) for record in records
    )


def _shop() -> dict[str, Any]:
    address = {
        "address1": "вул. Ярославів Вал, 15",
        "city": "Київ",
        "state": "",
        "zip": "01034",
        "country": "Ukraine",
        "countryCode": "UA",
    }
    return {
        "shopID": "1",
        "name": "Kavarnia Yaroslaviv Val",
        "serviceRate": "0",
        "timeZone": COFFEE_ZONE,
        "taxLabor": "false",
        "labelTitle": "Shop Name",
        "labelMsrp": "false",
        "archived": "false",
        "timeStamp": "2023-11-01T08:00:00+00:00",
        "companyRegistrationNumber": "",
        "vatNumber": "",
        "contactID": "1",
        "taxCategoryID": "1",
        "priceLevelID": "1",
        "Contact": _contact("1", address=address),
    }


def _employees() -> list[dict[str, Any]]:
    people = [("Coffee", "Machine", ""), ("Olena", "Koval", "olena.koval@kavarnia.example"), ("Taras", "Bondar", "")]
    return [
        {
            "employeeID": str(number),
            "firstName": first,
            "lastName": last,
            "lockOut": "false",
            "archived": "true" if first == "Taras" else "false",
            "timeStamp": "2023-11-01T08:00:00+00:00",
            "contactID": str(number + 1),
            "employeeRoleID": "4",
            "limitToShopID": "0",
            "lastShopID": "1",
            "Contact": _contact(str(number + 1), email=email),
        }
        for number, (first, last, email) in enumerate(people, 1)
    ]


def _contact(number: str, email: str = "", address: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a contact has none of is an empty text."""
    return {
        "contactID": number,
        "custom": "",
        "noEmail": "false",
        "timeStamp": "2023-11-01T08:00:00+00:00",
        "Addresses": {"ContactAddress": dict(address)} if address else "",
        "Phones": "",
        "Emails": {"ContactEmail": {"address": email, "useType": "Primary"}} if email else "",
        "Websites": "",
    }
