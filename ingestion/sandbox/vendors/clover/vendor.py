"""Clover's API: bearer token, `{elements: []}`, offsets, filters as repeated parameters, limits nobody tells of.

What is not asked for by `expand` is left out. A page has 100 elements unless `limit` says otherwise, and 1000 at most,
whatever it says. A list inside an object has 100 at most. Of a window of more than 90 days the last 90 are served. None
of these is an error, and no answer says that there is more.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from ingestion.sandbox.data import JAFFLE_ZONES, OPENS_AT, Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.story import Story, tell
from ingestion.sandbox.timeline import State, Timeline
from ingestion.sandbox.vendors.clover.check import GIFT_CARD
from ingestion.sandbox.vendors.clover.orders import CURRENCY, HREF, STAFF
from ingestion.sandbox.vendors.clover.till import DAILY, DELETED, LIVE, SHARES, TWO_LINES, Till
from ingestion.sandbox.vendors.clover.writing import MERCHANT, cid, ms

TOKEN = "sandbox-clover-jaffle-shop"
SITE, REGION = "Philadelphia", "PA"
USUAL_LIMIT, MOST_A_PAGE, MOST_NESTED = 100, 1000, 100
LONGEST_WINDOW = int(timedelta(days=90) / timedelta(milliseconds=1))
FILTER = re.compile(r"(\w+)(>=|<=|=|>|<)(\d+)")
COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
EXPANDABLE = {
    "orders": ("lineItems", "discounts", "serviceCharge", "orderType"),
    "lineItems": ("discounts", "modifications", "taxRates"),
    "payments": ("tender", "cardTransaction", "serviceCharge"),
    "refunds": ("lineItems",),
    "credits": ("tender",),
    "items": ("categories",),
    "merchant": ("address", "properties"),
}
Record = dict[str, Any]


class CloverError(Exception):
    """An error as Clover answers it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer.json({"message": message}, status)


def open_vendor(trade: Trade) -> CloverVendor:
    """Clover with the Philadelphia shop's trade."""
    return CloverVendor(trade)


class CloverVendor:
    """One merchant."""

    rate = 16

    def __init__(self, trade: Trade) -> None:
        orders = [order for order in trade.jaffle if order.site == SITE]
        stories = tell(orders, "clover", SHARES, DAILY, TWO_LINES)
        till, plain = Till(), Story()
        for order in orders:
            till.ring(order, stories.get(order.id, plain), trade.jaffle_tax_rates[order.site])
        self.orders, self.voided_lines = Timeline(till.orders), Timeline(till.voided_lines)
        self.payments, self.refunds = Timeline(till.payments), Timeline(till.refunds)
        self.credits = Timeline(till.credits)
        self.items, self.employees = _items(trade), _employees()

    def throttled(self, retry_after: int) -> Answer:
        """429 with Clover's own headers."""
        headers = {"X-RateLimit-tokenLimit": "16", "X-RateLimit-crossTokenLimit": "50", "Retry-After": str(retry_after)}
        return Answer.json({"message": "429 Too Many Requests"}, 429, headers)

    def unauthorized(self) -> Answer:
        """401."""
        return CloverError(401, "401 Unauthorized").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.token != TOKEN:
            return self.unauthorized()
        try:
            return Answer.json(self._read(request))
        except CloverError as error:
            return error.answer

    def _read(self, request: Request) -> Record:
        if request.method != "GET":
            raise CloverError(405, "Method Not Allowed")
        match request.path.strip("/").split("/"):
            case ["v3", "merchants", merchant, *_] if merchant != MERCHANT:
                raise CloverError(401, "401 Unauthorized")
            case ["v3", "merchants", _]:
                return _shown(_merchant(), "merchant", _expanded(request))
            case ["v3", "merchants", _, "items"]:
                return self._page(request, "items", self.items)
            case ["v3", "merchants", _, "employees"]:
                return self._page(request, "employees", self.employees)
            case ["v3", "merchants", _, "orders"]:
                return self._page(request, "orders", self._orders(request))
            case ["v3", "merchants", _, "orders", order_id, "line_items"]:
                return self._page(request, "lineItems", self._lines(request, order_id))
            case ["v3", "merchants", _, "voided_orders"]:
                return self._page(
                    request, "voided_orders", _filtered(request, self.voided_lines, {"deletedTime": _since})
                )
            case ["v3", "merchants", _, "payments"]:
                return self._page(request, "payments", _filtered(request, self.payments, {"modifiedTime": _since}))
            case ["v3", "merchants", _, "refunds"]:
                return self._page(request, "refunds", _filtered(request, self.refunds, {"createdTime": _created}))
            case ["v3", "merchants", _, "credits"]:
                return self._page(request, "credits", _filtered(request, self.credits, {"createdTime": _created}))
        raise CloverError(404, "Not Found")

    def _orders(self, request: Request) -> list[State]:
        """Orders changed in a window; those that were deleted in one are shown only to who asks for them."""
        group = DELETED if any(sent.startswith("deletedTime") for sent in _filters(request)) else LIVE
        found = _filtered(request, self.orders, {"modifiedTime": _since, "deletedTime": _since})
        return [state for state in found if state.group == group]

    def _lines(self, request: Request, order_id: str) -> Sequence[Record]:
        state = next((s for s in self.orders.all(request.now) if s.key == order_id), None)
        if state is None:
            raise CloverError(404, "Not Found")
        record: Any = state.record()
        lines: list[Record] = record.get("lineItems", {}).get("elements", [])
        return lines

    def _page(self, request: Request, kind: str, found: Sequence[State | Record]) -> Record:
        try:
            limit = int(request.query.get("limit", str(USUAL_LIMIT)))
            offset = int(request.query.get("offset", "0"))
        except ValueError as error:
            raise CloverError(400, f"limit and offset are numbers: {error}") from error
        expanded = _expanded(request)
        page: Iterable[Any] = (
            s.record() if isinstance(s, State) else s for s in found[offset : offset + min(limit, MOST_A_PAGE)]
        )
        return {
            "elements": [_shown(record, kind, expanded) for record in page],
            "href": f"{request.origin}{request.path}?limit={limit}",
        }


def _expanded(request: Request) -> set[str]:
    """The dotted paths asked for; `lineItems.discounts` asks for `lineItems` as well."""
    asked = {path for name, value in request.parameters if name == "expand" for path in value.split(",")}
    return asked | {path.split(".")[0] for path in asked}


def _shown(record: Record, kind: str, expanded: set[str]) -> Record:
    """A record without what was not asked for, its lists cut."""
    shown = {
        name: _cut(value) for name, value in record.items() if name in expanded or name not in EXPANDABLE.get(kind, ())
    }
    if kind == "orders" and "lineItems" in shown:
        inner = {path.removeprefix("lineItems.") for path in expanded if path.startswith("lineItems.")}
        shown["lineItems"] = {
            "elements": [_shown(line, "lineItems", inner) for line in shown["lineItems"]["elements"]],
        }
    return shown


def _cut(value: Any) -> Any:
    if isinstance(value, dict) and "elements" in value:
        return {"elements": value["elements"][:MOST_NESTED]}
    return value


def _since(state: State) -> int:
    return ms(state.since)


def _created(state: State) -> int:
    record: Any = state.record()
    created: int = record["createdTime"]
    return created


def _filters(request: Request) -> list[str]:
    return [value for name, value in request.parameters if name == "filter"]


def _filtered(request: Request, timeline: Timeline, fields: dict[str, Callable[[State], int]]) -> list[State]:
    """What matches all filters, newest first; without one, or for more than 90 days, only the last 90 days."""
    tests: list[tuple[Callable[[State], int], str, int]] = []
    for sent in _filters(request):
        parts = FILTER.fullmatch(sent)
        if parts is None or parts[1] not in fields:
            raise CloverError(400, f"Invalid filter: {sent}; fields: {', '.join(fields)}")
        tests.append((fields[parts[1]], parts[2], int(parts[3])))
    when = tests[0][0] if tests else next(iter(fields.values()))
    latest = min((value for _, sign, value in tests if sign in ("<=", "<")), default=ms(request.now))
    tests.append((when, ">=", min(latest, ms(request.now)) - LONGEST_WINDOW))
    found = [s for s in timeline.all(request.now) if all(COMPARE[sign](of(s), value) for of, sign, value in tests)]
    return found[::-1]


def _merchant() -> Record:
    return {
        "href": HREF,
        "id": MERCHANT,
        "name": "Jaffle Shop Philadelphia",
        "defaultCurrency": CURRENCY,
        "phoneNumber": "2155550123",
        "createdTime": ms(OPENS_AT - timedelta(days=200)),
        "address": {"address1": "100 Market Street", "city": SITE, "state": REGION, "zip": "19106", "country": "US"},
        "properties": {
            "href": f"{HREF}/properties",
            "merchantRef": {"id": MERCHANT},
            "defaultCurrency": CURRENCY,
            "timezone": JAFFLE_ZONES[SITE],
            "vat": False,
            "tipsEnabled": True,
        },
    }


def _items(trade: Trade) -> list[Record]:
    modified = ms(OPENS_AT - timedelta(days=60))
    common = {"hidden": False, "available": True, "priceType": "FIXED", "modifiedTime": modified}
    items = [
        {
            "id": cid("item", product.sku),
            "name": product.name,
            "alternateName": "",
            "code": "",
            "sku": product.sku,
            "price": product.price,
            "defaultTaxRates": True,
            "isRevenue": True,
            "categories": {
                "elements": [{"id": cid("category", product.kind), "name": product.kind.capitalize(), "sortOrder": 1}]
            },
            **common,
        }
        for product in trade.jaffle_products
    ]
    card = {"id": cid("item", "gift card"), "name": "Gift card", "price": GIFT_CARD, "isRevenue": False, **common}
    return [*items, card]


def _employees() -> list[Record]:
    names = ("Ada Reyes", "Ben Okafor", "Cleo Marsh", "Dario Lenz", "Esi Boateng", "Finn Doyle")
    return [
        {
            "href": f"{HREF}/employees/{cid('employee', number)}",
            "id": cid("employee", number),
            "name": name,
            "nickname": name.split()[0],
            "customId": f"P{number:03d}",
            "email": f"{name.split()[0].lower()}@jaffle.example",
            "inviteSent": True,
            "role": "MANAGER" if number == 1 else "EMPLOYEE",
            "isOwner": number == 1,
        }
        for number, name in enumerate(names[:STAFF], 1)
    ]
