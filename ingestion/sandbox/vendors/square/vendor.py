"""Square's API: bearer token, opaque cursors that die after five minutes, caps, `errors[]`, 429 with Retry-After."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any

from ingestion.sandbox.data import OPENS_AT, Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.story import Story, tell
from ingestion.sandbox.timeline import State, Timeline, encoded
from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.square.cashiers import team_members
from ingestion.sandbox.vendors.square.labor import labor
from ingestion.sandbox.vendors.square.orders import location_id, variation_id
from ingestion.sandbox.vendors.square.till import DAILY, SHARES, Till

TOKEN = "sandbox-square-jaffle-shop"
TIMECARDS_TOKEN = "sandbox-square-timecards"
"""A seller who keeps the staff's hours at Square, and nothing else: no shop of the sandbox has two rotas."""
TIMECARDS_FROM = "2025-05-21"
"""Older versions of the API know them as shifts."""
CURSOR_LIFE = 300.0
"""Seconds of real time: Square's cursors die after five minutes."""
MOST_LOCATIONS = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class SquareError(Exception):
    """An error as Square answers it."""

    def __init__(self, status: int, category: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer.json({"errors": [{"category": category, "code": code, "detail": detail}]}, status)


def open_vendor(trade: Trade) -> SquareVendor:
    """Square with the jaffle shops' trade."""
    return SquareVendor(trade)


class SquareVendor:
    """A seller with two locations, and one who has timecards only."""

    rate = 50

    def __init__(self, trade: Trade, clock: Callable[[], float] = time.time) -> None:
        stories = tell(trade.jaffle, "square", SHARES, DAILY, two_lines=frozenset({"edited"}))
        till, plain = Till(), Story()
        for order in trade.jaffle:
            till.ring(order, stories.get(order.id, plain), trade.jaffle_tax_rates[order.site])
        self.orders, self.payments, self.refunds = map(Timeline, (till.orders, till.payments, till.refunds))
        self.locations = _locations(trade.jaffle_sites)
        self.cashiers = team_members()
        self.staff = labor(trade.jaffle_sites[0])
        self.catalog = [State(EPOCH, o["id"], o["type"], partial(dict, o)) for o in _catalog(trade)]
        self._clock = clock

    def throttled(self, retry_after: int) -> Answer:
        """429 RATE_LIMITED."""
        error = {"category": "RATE_LIMIT_ERROR", "code": "RATE_LIMITED", "detail": "Too many requests."}
        return Answer.json({"errors": [error]}, 429, {"Retry-After": str(retry_after)})

    def unauthorized(self) -> Answer:
        """401 UNAUTHORIZED."""
        return SquareError(401, "AUTHENTICATION_ERROR", "UNAUTHORIZED", "This request could not be authorized.").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        bodies = {TOKEN: self._body, TIMECARDS_TOKEN: self._labor}
        if request.token not in bodies:
            return self.unauthorized()
        try:
            return Answer(bodies[request.token](request))
        except SquareError as error:
            return error.answer

    def _body(self, request: Request) -> bytes:
        match request.method, request.path:
            case "GET", "/v2/locations":
                return encoded({"locations": self.locations})
            case "GET", "/v2/catalog/list":
                types = set(request.query.get("types", "ITEM,CATEGORY").split(","))
                found = [o for o in self.catalog if o.group in types]
                return self._page(request, "objects", found, request.query.get("cursor"), 100)
            case "POST", "/v2/orders/search":
                return self._search(request)
            case "GET", "/v2/payments":
                return self._money(request, "payments", self.payments)
            case "GET", "/v2/refunds":
                return self._money(request, "refunds", self.refunds)
            case "POST", "/v2/team-members/search":
                return self._people(request, "team_members", self.cashiers, 100)
            case "POST", "/v2/labor/timecards/search":
                return encoded({})
        raise SquareError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Resource not found.")

    def _labor(self, request: Request) -> bytes:
        """The seller with timecards: one location, nothing sold."""
        match request.method, request.path:
            case "GET", "/v2/locations":
                return encoded({"locations": self.locations[:1]})
            case "POST", "/v2/team-members/search":
                return self._people(request, "team_members", self.staff.team_members(request.now), 100)
            case "POST", "/v2/labor/timecards/search":
                if request.headers.get("square-version", "") < TIMECARDS_FROM:
                    raise SquareError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Resource not found.")
                return self._people(request, "timecards", self.staff.timecards(request.now), 200)
            case ("GET", "/v2/catalog/list" | "/v2/payments" | "/v2/refunds") | ("POST", "/v2/orders/search"):
                return encoded({})
        raise SquareError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Resource not found.")

    def _people(self, request: Request, name: str, records: Sequence[dict[str, Any]], default: int) -> bytes:
        """A page of team members or timecards: sorted by the field that is asked for, newest first unless said."""
        body = _json(request)
        sort = body.get("query", {}).get("sort", {})
        field = sort.get("field", "CREATED_AT").lower()
        limit = int(body.get("limit", default))
        if not 0 < limit <= 200:
            raise _bad("limit", "must be between 1 and 200")
        newest_first = sort.get("order", "DESC") == "DESC"
        found = sorted(records, key=lambda r: (r.get(field, ""), r["id"]), reverse=newest_first)
        states = [State(EPOCH, record["id"], name, partial(dict, record)) for record in found]
        return self._page(request, name, states, body.get("cursor"), limit)

    def _search(self, request: Request) -> bytes:
        body = _json(request)
        sites = body.get("location_ids") or []
        if not 0 < len(sites) <= MOST_LOCATIONS:
            raise _bad("location_ids", f"between 1 and {MOST_LOCATIONS} location ids are needed")
        query = body.get("query", {})
        dates = query.get("filter", {}).get("date_time_filter", {})
        sort = query.get("sort", {})
        if dates and (set(dates) != {"updated_at"} or sort.get("sort_field") != "UPDATED_AT"):
            raise _bad("sort_field", "the sort field must be the filtered timestamp; the sandbox filters by updated_at")
        span = dates.get("updated_at", {})
        found = self.orders.between(*_span(span.get("start_at"), span.get("end_at")), request.now, frozenset(sites))
        if sort.get("sort_order", "DESC") == "DESC":
            found = found[::-1]
        limit = int(body.get("limit", 500))
        if not 0 < limit <= 1000:
            raise _bad("limit", "must be between 1 and 1000")
        return self._page(request, "orders", found, body.get("cursor"), limit)

    def _money(self, request: Request, name: str, timeline: Timeline) -> bytes:
        query = request.query
        start, end = _span(query.get("updated_at_begin_time"), query.get("updated_at_end_time"))
        site = query.get("location_id")
        groups = frozenset([site]) if site else None
        if groups is None and name == "payments":
            groups = frozenset([self.locations[0]["id"]])  # left out, Square answers for the main location
        found = timeline.between(start, end, request.now, groups)
        limit = min(int(query.get("limit", 100)), 100)
        return self._page(request, name, found, query.get("cursor"), limit)

    def _page(self, request: Request, name: str, found: Sequence[State], cursor: str | None, limit: int) -> bytes:
        """One page, and the cursor of the next. A cursor belongs to its query and dies after five minutes."""
        query = _query_hash(request)
        start = self._position(cursor, query) if cursor else 0
        page = [state.body for state in found[start : start + limit]]
        parts = [f'"{name}":['.encode() + b",".join(page) + b"]"] if page or name != "refunds" else []
        if start + limit < len(found):
            opaque = f"{start + limit}:{query}:{self._clock():.3f}"
            parts.append(b'"cursor":"' + base64.urlsafe_b64encode(opaque.encode()) + b'"')
        return b"{" + b",".join(parts) + b"}"

    def _position(self, cursor: str, query: str) -> int:
        try:
            position, of_query, issued = base64.urlsafe_b64decode(cursor).decode().split(":")
        except (ValueError, binascii.Error, UnicodeDecodeError) as error:
            raise _invalid_cursor("The cursor is not one of ours.") from error
        if of_query != query:
            raise _invalid_cursor("The query must be the one that the cursor was given for.")
        if self._clock() - float(issued) > CURSOR_LIFE:
            raise _invalid_cursor("The cursor has expired.")
        return int(position)


def _span(start: str | None, end: str | None) -> tuple[datetime, datetime]:
    try:
        return (
            datetime.fromisoformat(start) if start else EPOCH,
            datetime.fromisoformat(end) if end else FOR_EVER,
        )
    except ValueError as error:
        raise _bad("date_time_filter", str(error)) from error


def _json(request: Request) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(request.body or b"{}")
    except json.JSONDecodeError as error:
        raise _bad("body", str(error)) from error
    return body


def _bad(field: str, detail: str) -> SquareError:
    return SquareError(400, "INVALID_REQUEST_ERROR", "INVALID_VALUE", f"{field}: {detail}")


def _invalid_cursor(detail: str) -> SquareError:
    return SquareError(400, "INVALID_REQUEST_ERROR", "INVALID_CURSOR", detail)


def _query_hash(request: Request) -> str:
    query = {k: v for k, v in request.query.items() if k != "cursor"}
    body = json.loads(request.body) if request.body else {}
    body.pop("cursor", None)
    return blake2b(json.dumps([request.path, query, body], sort_keys=True).encode(), digest_size=8).hexdigest()


def _locations(sites: Sequence[Site]) -> list[dict[str, Any]]:
    return [
        {
            "id": location_id(site.name),
            "name": f"Jaffle Shop {site.name}",
            "address": {"locality": site.name, "country": "US"},
            "timezone": site.timezone,
            "status": "ACTIVE",
            "created_at": "2023-09-01T12:00:00Z",
            "merchant_id": "MJAFFLESHOP01",
            "country": "US",
            "language_code": "en-US",
            "currency": "USD",
            "business_name": "Jaffle Shop",
            "type": "PHYSICAL",
        }
        for site in sites
    ]


def _catalog(trade: Trade) -> list[dict[str, Any]]:
    """Two categories and an item with one variation for each product."""
    stamp = (OPENS_AT - timedelta(days=60)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    common = {"updated_at": stamp, "created_at": stamp, "version": 1709251200000, "is_deleted": False}
    kinds = sorted({p.kind for p in trade.jaffle_products})
    categories = [
        {"type": "CATEGORY", "id": f"C{kind.upper()}", **common, "category_data": {"name": kind.capitalize()}}
        for kind in kinds
    ]
    items = []
    for product in trade.jaffle_products:
        variation = {
            "type": "ITEM_VARIATION",
            "id": variation_id(product.sku),
            **common,
            "present_at_all_locations": True,
            "item_variation_data": {
                "item_id": f"I{product.sku}",
                "name": "Regular",
                "sku": product.sku,
                "ordinal": 0,
                "pricing_type": "FIXED_PRICING",
                "price_money": {"amount": product.price, "currency": "USD"},
            },
        }
        items.append(
            {
                "type": "ITEM",
                "id": f"I{product.sku}",
                **common,
                "present_at_all_locations": True,
                "item_data": {
                    "name": product.name,
                    "description": product.description,
                    "is_taxable": True,
                    "category_id": f"C{product.kind.upper()}",
                    "variations": [variation],
                    "product_type": "REGULAR",
                },
            }
        )
    return [*categories, *items]
