"""Toast's API: a login for a bearer token, a header that names the restaurant, bare arrays, pages of at most 100."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import blake2b
from typing import Any

from ingestion.sandbox.data import BAR_SITE, JAFFLE_ZONES, PIZZA_SITE, PIZZA_ZONE, Product, Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.story import Story, tell
from ingestion.sandbox.timeline import Timeline
from ingestion.sandbox.vendors.toast.employees import employees
from ingestion.sandbox.vendors.toast.orders import DAILY, SHARES, TWO_LINES, states
from ingestion.sandbox.vendors.toast.visit import CLOSEOUT_HOUR, MODIFIER, guid

BAR, PIZZA = guid("restaurant", "brooklyn bar"), guid("restaurant", "pizza place")
# Client of the API, its secret, and the restaurants it may read.
CLIENTS = {
    "sandbox-toast-jaffle-shop": ("sandbox-secret-jaffle-shop", frozenset({BAR})),
    "sandbox-toast-pizza-place": ("sandbox-secret-pizza-place", frozenset({PIZZA})),
}
MOST_A_PAGE = 100
CONFIG_PAGE = 50


class ToastError(Exception):
    """An error as Toast answers it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        body = {"status": status, "code": 0, "message": message, "messageKey": None, "fieldName": None, "link": None}
        self.answer = Answer.json(body, status)


def open_vendor(trade: Trade) -> ToastVendor:
    """Toast with the pizza place and the bar."""
    return ToastVendor(trade)


class ToastVendor:
    """Two restaurants of two customers."""

    rate = 20

    def __init__(self, trade: Trade) -> None:
        plain = Story()
        told = tell(trade.pizza, "toast", SHARES, DAILY, TWO_LINES) | tell(trade.bar, "toast", SHARES, (), TWO_LINES)
        every = [(order, PIZZA) for order in trade.pizza] + [(order, BAR) for order in trade.bar]
        self.orders = Timeline(s for o, restaurant in every for s in states(o, told.get(o.id, plain), restaurant))
        self.restaurants = {
            PIZZA: _restaurant(PIZZA, "Pizza Place", PIZZA_SITE, "IL", PIZZA_ZONE),
            BAR: _restaurant(BAR, "Jaffle Brooklyn Bar", BAR_SITE, "NY", JAFFLE_ZONES[BAR_SITE]),
        }
        self.employees = {PIZZA: employees(PIZZA_SITE), BAR: employees(BAR_SITE)}
        self.items = {PIZZA: _items(trade.pizza_products), BAR: _items(trade.bar_products)}

    def throttled(self, retry_after: int) -> Answer:
        """429 with Toast's own headers."""
        headers = {
            "X-Toast-RateLimit-By": "client",
            "X-Toast-RateLimit-Remaining": "0",
            "Retry-After": str(retry_after),
        }
        return Answer.json({"status": 429, "message": "Too many requests"}, 429, headers)

    def unauthorized(self) -> Answer:
        """401."""
        return ToastError(401, "Unauthorized").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            if request.path == "/authentication/v1/authentication/login":
                return _login(request)
            return self._read(request)
        except ToastError as error:
            return error.answer

    def _read(self, request: Request) -> Answer:
        client = _client_of(request.token)
        if client is None:
            return self.unauthorized()
        restaurant = request.headers.get("toast-restaurant-external-id", "")
        if restaurant not in CLIENTS[client][1]:
            raise ToastError(403, "The client may not read this restaurant")
        match request.path.strip("/").split("/"):
            case ["restaurants", "v1", "restaurants", known] if known == restaurant:
                return Answer.json(self.restaurants[restaurant])
            case ["config", "v2", "menuItems"]:
                return self._menu_items(restaurant, request)
            case ["labor", "v1", "employees"]:
                return Answer.json(self.employees[restaurant])
            case ["orders", "v2", "ordersBulk"]:
                return self._orders(restaurant, request)
        raise ToastError(404, "Not found")

    def _menu_items(self, restaurant: str, request: Request) -> Answer:
        start = int(request.query.get("pageToken", "0"))
        items = self.items[restaurant]
        rest = start + CONFIG_PAGE < len(items)
        headers = {"Toast-Next-Page-Token": str(start + CONFIG_PAGE)} if rest else {}
        return Answer.json(items[start : start + CONFIG_PAGE], headers=headers)

    def _orders(self, restaurant: str, request: Request) -> Answer:
        query = request.query
        try:
            start, end = datetime.fromisoformat(query["startDate"]), datetime.fromisoformat(query["endDate"])
            size, page = int(query.get("pageSize", "100")), int(query.get("page", "1"))
        except (KeyError, ValueError) as error:
            raise ToastError(
                400, f"startDate and endDate are needed, pageSize and page are numbers: {error}"
            ) from error
        if not 0 < size <= MOST_A_PAGE or page < 1:
            raise ToastError(400, f"pageSize is at most {MOST_A_PAGE}, page at least 1")
        found = self.orders.between(start, end, request.now, frozenset([restaurant]))
        return Answer(b"[" + b",".join(s.body for s in found[(page - 1) * size : page * size]) + b"]")


def _login(request: Request) -> Answer:
    try:
        body = json.loads(request.body)
        client, secret = body["clientId"], body["clientSecret"]
    except (ValueError, KeyError, TypeError) as error:
        raise ToastError(400, f"clientId and clientSecret are needed: {error}") from error
    if CLIENTS.get(client, ("",))[0] != secret or body.get("userAccessType") != "TOAST_MACHINE_CLIENT":
        raise ToastError(401, "Unauthorized")
    token = {"tokenType": "Bearer", "accessToken": _token_of(client), "expiresIn": 86400, "scope": None}
    return Answer.json({"@class": ".SuccessfulResponse", "token": token, "status": "SUCCESS"})


def _token_of(client: str) -> str:
    return blake2b(f"token\x1f{client}".encode(), digest_size=24).hexdigest()


def _client_of(token: str) -> str | None:
    return next((client for client in CLIENTS if _token_of(client) == token), None)


def _restaurant(key: str, name: str, city: str, state: str, zone: str) -> dict[str, Any]:
    return {
        "guid": key,
        "general": {
            "name": name,
            "locationName": city,
            "timeZone": zone,
            "closeoutHour": CLOSEOUT_HOUR,
            "firstBusinessDate": 20230401,
            "currencyCode": "USD",
            "archived": False,
        },
        "location": {"city": city, "stateCode": state, "country": "US"},
    }


def _items(products: tuple[Product, ...]) -> list[dict[str, Any]]:
    basil = Product("extra-basil", "Extra basil", "modifier", MODIFIER)
    return [
        {
            "guid": guid("item", product.sku),
            "entityType": "MenuItem",
            "name": product.name,
            "plu": product.sku,
            "sku": None,
            "type": product.kind,
            "visibility": "ALL",
        }
        for product in sorted({*products, basil}, key=lambda p: p.sku)
    ]
