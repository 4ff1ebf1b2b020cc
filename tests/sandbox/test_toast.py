"""The Toast of the sandbox: checks that add up, what happens to orders in place, the API's manners."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ingestion.sandbox.data import CLOSES_ON, OPENS_AT, Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.timeline import State
from ingestion.sandbox.vendors.toast.vendor import BAR, PIZZA, ToastVendor

AT_THE_END = datetime(2024, 6, 1, tzinfo=UTC)
LOGIN = "/authentication/v1/authentication/login"
CLIENT = {
    "clientId": "sandbox-toast-pizza-place",
    "clientSecret": "sandbox-secret-pizza-place",
    "userAccessType": "TOAST_MACHINE_CLIENT",
}


@pytest.fixture(scope="module")
def toast(whole_trade: Trade) -> ToastVendor:
    return ToastVendor(whole_trade)


exact = msgspec.json.Decoder(float_hook=Decimal)


def decoded(state: State) -> Any:
    return exact.decode(state.body)


def of_pizza(toast: ToastVendor, now: datetime, days: int) -> list[Any]:
    """Orders of the pizza place changed in the last days."""
    return [decoded(s) for s in toast.orders.between(now - timedelta(days=days), now, now, frozenset([PIZZA]))]


@pytest.fixture(scope="module")
def orders(toast: ToastVendor) -> list[Any]:
    return [decoded(state) for state in toast.orders.all(AT_THE_END)]


def checks(orders: list[Any]) -> Iterator[tuple[Any, Any]]:
    return ((order, check) for order in orders for check in order["checks"])


def ask(toast: ToastVendor, path: str, now: datetime = OPENS_AT, **what: Any) -> tuple[int, Any, Mapping[str, str]]:
    body = what.get("body")
    headers = {"toast-restaurant-external-id": what.get("restaurant", PIZZA)}
    if "token" in what:
        headers["authorization"] = f"Bearer {what['token']}"
    method = "POST" if body is not None else "GET"
    raw = json.dumps(body).encode() if body is not None else b""
    answer = toast.answer(Request(method, path, what.get("query", {}), headers, raw, "http://127.0.0.1:1", now))
    return answer.status, json.loads(answer.body), answer.headers


@pytest.fixture(scope="module")
def token(toast: ToastVendor) -> str:
    return str(ask(toast, LOGIN, body=CLIENT)[1]["token"]["accessToken"])


def window(start: str, end: str, page: int = 1, size: int = 100) -> dict[str, str]:
    return {
        "startDate": f"{start}T00:00:00.000+0000",
        "endDate": f"{end}T00:00:00.000+0000",
        "page": str(page),
        "pageSize": str(size),
    }


def kind_of(order: Mapping[str, Any]) -> str:
    return order["externalId"].split("-")[1] if order["externalId"] else "plain"


def test_every_check_adds_up(orders: list[Any]) -> None:
    for order, check in checks(orders):
        live = [s for s in check["selections"] if not s["voided"]]
        charges = sum(c["chargeAmount"] for c in check["appliedServiceCharges"]) if not check["voided"] else 0
        assert check["amount"] == sum(s["price"] for s in live) + charges
        assert check["taxAmount"] == sum(s["tax"] for s in live)
        payments = [p for p in check["payments"] if p["paymentStatus"] != "VOIDED"]
        tips = sum(p["tipAmount"] for p in payments)
        assert check["totalAmount"] == check["amount"] + check["taxAmount"] + tips
        if order["paidDate"]:
            assert sum(p["amount"] for p in payments) + tips == check["totalAmount"]
        on_check = sum(d["discountAmount"] for d in check["appliedDiscounts"])
        on_lines = sum(d["discountAmount"] for s in check["selections"] for d in s["appliedDiscounts"])
        assert sum(s["preDiscountPrice"] - s["price"] for s in check["selections"]) == on_check + on_lines
        for selection in check["selections"]:
            modifiers = sum(m["price"] for m in selection["modifiers"])
            own = selection["receiptLinePrice"] * selection["quantity"]
            assert selection["preDiscountPrice"] == own + modifiers


def test_refunds_are_inside_payments_and_name_their_selections(orders: list[Any]) -> None:
    found = Counter[str]()
    for order, check in checks(orders):
        for payment in check["payments"]:
            refund = payment["refund"]
            assert (refund is None) == (payment["refundStatus"] == "NONE")
            if not refund:
                continue
            details = [s["refundDetails"] for s in check["selections"] if s.get("refundDetails")]
            named = sum(d["refundAmount"] + d["taxRefundAmount"] for d in details)
            assert 0 < refund["refundAmount"] <= payment["amount"]
            assert named in (0, refund["refundAmount"])
            assert {d["refundTransaction"]["guid"] for d in details} <= {refund["refundTransaction"]["guid"]}
            assert refund["refundBusinessDate"] >= order["businessDate"]
            found[payment["refundStatus"]] += 1
            found["itemised" if details else "amount only"] += 1
            found["tip"] += refund["tipRefundAmount"] > 0
    assert min(found[kind] for kind in ("PARTIAL", "FULL", "itemised", "amount only", "tip")) > 3


def test_voids_at_four_levels(orders: list[Any]) -> None:
    found = Counter[str]()
    for order, check in checks(orders):
        void_payments = [p for p in check["payments"] if p["paymentStatus"] == "VOIDED"]
        assert all(p["voidInfo"]["voidUser"]["guid"] for p in void_payments)
        if order["voided"] or check["voided"]:
            assert check["amount"] == 0 and all(s["voided"] for s in check["selections"])
            assert len(void_payments) == len(check["payments"])
        found["order"] += order["voided"]
        found["check"] += check["voided"] and not order["voided"]
        if not order["voided"] and not check["voided"]:
            found["selection"] += any(s["voided"] for s in check["selections"])
            found["payment"] += bool(void_payments)
    assert min(found[level] for level in ("order", "check", "selection", "payment")) > 3


def test_comps_have_a_reason_and_an_approval(orders: list[Any]) -> None:
    comps = [
        (order, selection, discount)
        for order, check in checks(orders)
        for selection in check["selections"]
        for discount in selection["appliedDiscounts"]
        if discount.get("appliedDiscountReason")
    ]
    assert len(comps) > 20
    for order, selection, discount in comps:
        assert selection["price"] == 0 < discount["discountAmount"] == selection["preDiscountPrice"]
        assert discount["approver"]["guid"] != order["server"]["guid"]


def test_employees_are_those_who_serve(toast: ToastVendor, token: str, orders: list[Any]) -> None:
    status, staff, _ = ask(toast, "/labor/v1/employees", token=token)
    assert status == 200 and len(staff) == 7
    known = {person["guid"] for person in staff}
    served = {order["server"]["guid"] for order in of_pizza(toast, OPENS_AT, 14)}
    assert served < known
    assert sum(person["externalEmployeeId"] is None for person in staff) == 2


def test_the_pizzas_are_the_datasets(whole_trade: Trade, toast: ToastVendor, orders: list[Any]) -> None:
    pizza = {state.key for state in toast.orders.all(AT_THE_END) if state.group == PIZZA}
    orders = [order for order in orders if order["guid"] in pizza]
    assert len(orders) == len(whole_trade.pizza) == 21350
    plain = [order for order in orders if kind_of(order) == "plain"]
    changed = {order["externalId"].split("-", 2)[2] for order in orders if order["externalId"]}
    dataset = {order.id: order.subtotal for order in whole_trade.pizza}
    total = sum(check["amount"] for _, check in checks(plain)) * 100 + sum(dataset[key] for key in changed)
    assert total == sum(dataset.values()) == 81786005
    selections = sum(len(check["selections"]) for _, check in checks(orders))
    gift_cards = sum(kind_of(order) == "gift_card" for order in orders)
    assert selections - gift_cards == 48620
    assert all(check["taxAmount"] == 0 for _, check in checks(orders))
    assert len(changed) < len(orders) / 12


def test_business_dates_end_at_four(orders: list[Any], toast: ToastVendor) -> None:
    zones = {key: restaurant["general"]["timeZone"] for key, restaurant in toast.restaurants.items()}
    groups = {state.key: state.group for state in toast.orders.all(AT_THE_END)}
    after_midnight = 0
    for order in orders:
        local = datetime.fromisoformat(order["openedDate"]).astimezone(ZoneInfo(zones[groups[order["guid"]]]))
        assert f"{local.replace(tzinfo=None) - timedelta(hours=4):%Y%m%d}" == str(order["businessDate"])
        after_midnight += local.hour < 4
    assert after_midnight > 20
    assert max(order["businessDate"] for order in orders) == int(f"{CLOSES_ON:%Y%m%d}")


@pytest.mark.parametrize("day", range(10))
def test_every_day_something_old_changes(toast: ToastVendor, day: int) -> None:
    before, after = (
        {s.key: s for s in toast.orders.all(OPENS_AT + timedelta(days=n)) if s.group == PIZZA} for n in (day, day + 1)
    )
    moved = [(decoded(old), decoded(after[key])) for key, old in before.items() if old.since != after[key].since]
    assert all(old["modifiedDate"] < new["modifiedDate"] for old, new in moved)
    assert [new for old, new in moved if new["voided"] and not old["voided"]]
    assert [new for old, new in moved if new["checks"][0]["amount"] == old["checks"][0]["amount"] - 1]
    refunds = [new for _, new in moved if any(p["refund"] for p in new["checks"][0]["payments"])]
    assert refunds


def test_cards_are_captured_at_the_closeout(toast: ToastVendor) -> None:
    evening = datetime(2024, 4, 3, 3, tzinfo=UTC)  # ten o'clock in Chicago
    status = Counter(
        (p["paymentStatus"], order["businessDate"])
        for order, check in checks(of_pizza(toast, evening, 2))
        for p in check["payments"]
        if p["type"] == "CREDIT" and kind_of(order) == "plain"
    )
    assert {day for state, day in status if state == "AUTHORIZED"} == {20240402}
    assert (("CAPTURED", 20240402)) not in status and status["CAPTURED", 20240401] > 10


def test_pages_join_to_the_window(toast: ToastVendor, token: str) -> None:
    path, found = "/orders/v2/ordersBulk", []
    for page in range(1, 100):
        query = window("2024-03-01", "2024-03-08", page)
        status, records, _ = ask(toast, path, token=token, query=query)
        assert status == 200
        found += records
        if len(records) < 100:
            break
    assert len({order["guid"] for order in found}) == len(found) > 300
    assert all("2024-03-01" <= order["modifiedDate"] < "2024-03-08" for order in found)
    assert ask(toast, path, token=token, query=window("2024-03-01", "2024-03-08", 99))[1] == []


def test_menu_items_page_by_a_token_in_the_header(toast: ToastVendor, token: str) -> None:
    path, found, query = "/config/v2/menuItems", [], dict[str, str]()
    while True:
        status, items, headers = ask(toast, path, token=token, query=query)
        assert status == 200
        found += items
        if "Toast-Next-Page-Token" not in headers:
            break
        query = {"pageToken": headers["Toast-Next-Page-Token"]}
    sold = {s["item"]["guid"] for _, c in checks(of_pizza(toast, OPENS_AT, 14)) for s in c["selections"] if s["item"]}
    assert sold <= {item["guid"] for item in found} and len(found) > 50


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ({"body": {**CLIENT, "clientSecret": "wrong"}}, 401),
        ({"body": {"clientId": "x"}}, 400),
        ({"body": {**CLIENT, "userAccessType": "HUMAN"}}, 401),
    ],
)
def test_logins_refused(toast: ToastVendor, what: Mapping[str, Any], status: int) -> None:
    assert ask(toast, LOGIN, **what)[0] == status


def test_what_toast_refuses(toast: ToastVendor, token: str) -> None:
    path = "/orders/v2/ordersBulk"
    week = window("2024-03-01", "2024-03-08")
    assert ask(toast, path, query=week)[0] == 401
    assert ask(toast, path, token="wrong", query=week)[0] == 401
    assert ask(toast, path, token=token, query=week, restaurant=BAR)[0] == 403
    assert ask(toast, path, token=token, query={**week, "pageSize": "101"})[0] == 400
    assert ask(toast, path, token=token, query={"page": "1"})[0] == 400
    assert ask(toast, f"/restaurants/v1/restaurants/{BAR}", token=token)[0] == 404
    throttled = toast.throttled(1)
    assert (throttled.status, throttled.headers["Retry-After"]) == (429, "1")
