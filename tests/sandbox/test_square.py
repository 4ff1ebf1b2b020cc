"""The Square of the sandbox: amounts that add up in every order, the dataset's totals, the API's manners."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.sandbox.data import OPENS_AT, Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.timeline import Timeline
from ingestion.sandbox.vendors.square.vendor import CURSOR_LIFE, TOKEN, SquareVendor

Record = Mapping[str, Any]
AT_THE_END = datetime(2024, 6, 1, tzinfo=UTC)
SEARCH = {"date_time_filter": {"updated_at": {"start_at": "2024-01-01T00:00:00Z", "end_at": "2024-12-31T00:00:00Z"}}}
SORTED = {"sort_field": "UPDATED_AT", "sort_order": "ASC"}


class Hand:
    """A clock that is set by hand."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture(scope="module")
def hand() -> Hand:
    return Hand()


@pytest.fixture(scope="module")
def square(whole_trade: Trade, hand: Hand) -> SquareVendor:
    return SquareVendor(whole_trade, hand)


def served(timeline: Timeline, now: datetime = AT_THE_END) -> list[Any]:
    return [json.loads(state.body) for state in timeline.all(now)]


@pytest.fixture(scope="module")
def orders(square: SquareVendor) -> list[Any]:
    return served(square.orders)


def cents(records: Sequence[Record], *names: str) -> int:
    return sum(record[name]["amount"] for record in records for name in names)


def ask(square: SquareVendor, method: str = "POST", path: str = "/v2/orders/search", **what: Any) -> tuple[int, Any]:
    """Status and body. `body`, `query`, `token` and `now` may be given."""
    request = Request(
        method,
        path,
        what.get("query", {}),
        {"authorization": f"Bearer {what.get('token', TOKEN)}"},
        json.dumps(what["body"]).encode() if "body" in what else b"",
        "http://127.0.0.1:1",
        what.get("now", OPENS_AT),
    )
    answer = square.answer(request)
    return answer.status, json.loads(answer.body)


def search(square: SquareVendor, **more: Any) -> tuple[int, Any]:
    sites = [location["id"] for location in square.locations]
    body = {"location_ids": sites, "query": {"filter": SEARCH, "sort": SORTED}, "limit": 1000, **more.pop("body", {})}
    return ask(square, body=body, **more)


def test_every_order_adds_up(orders: list[Any]) -> None:
    for order in orders:
        items, charges = order.get("line_items", []), order.get("service_charges", [])
        for item in items:
            price = item["base_price_money"]["amount"] * int(item["quantity"])
            modifiers = cents(item.get("modifiers", []), "total_price_money")
            assert item["gross_sales_money"]["amount"] == price + modifiers
            gross, discount, tax = (
                item[name]["amount"] for name in ("gross_sales_money", "total_discount_money", "total_tax_money")
            )
            assert item["total_money"]["amount"] == gross - discount + tax
            assert cents(item.get("applied_taxes", []), "applied_money") == tax
            assert cents(item.get("applied_discounts", []), "applied_money") == discount
        assert cents(items, "total_tax_money") == order["total_tax_money"]["amount"]
        assert cents(order.get("taxes", []), "applied_money") == order["total_tax_money"]["amount"]
        assert cents(items, "total_discount_money") == order["total_discount_money"]["amount"]
        assert cents(charges, "total_money") == order["total_service_charge_money"]["amount"]
        total = cents(items, "total_money") + cents(charges, "total_money") + order["total_tip_money"]["amount"]
        assert order["total_money"]["amount"] == total
        if not order.get("returns"):
            assert order["net_amounts"]["total_money"]["amount"] == total


def test_payments_are_the_orders_totals(square: SquareVendor, orders: list[Any]) -> None:
    paid: Counter[str] = Counter()
    tips: Counter[str] = Counter()
    for payment in served(square.payments):
        if payment["status"] == "COMPLETED":
            tip = payment.get("tip_money", {"amount": 0})["amount"]
            assert payment["total_money"]["amount"] == payment["amount_money"]["amount"] + tip
            paid[payment["order_id"]] += payment["total_money"]["amount"]
            tips[payment["order_id"]] += tip
    for order in orders:
        due = order["total_money"]["amount"] if order["state"] == "COMPLETED" else 0
        assert paid[order["id"]] == due
        assert tips[order["id"]] == (order["total_tip_money"]["amount"] if due else 0)
        assert cents(order.get("tenders", []), "amount_money") == due


def test_refunds_are_the_returns_totals(square: SquareVendor, orders: list[Any]) -> None:
    by_order = {refund["order_id"]: refund for refund in served(square.refunds)}
    returns = [order for order in orders if order.get("returns")]
    by_id = {order["id"]: order for order in orders}
    back = {p["id"]: p.get("refunded_money", {}).get("amount") for p in served(square.payments)}
    assert len(returns) == len(by_order) > 50
    for order in returns:
        (part,) = order["returns"]
        refund = by_order[order["id"]]
        lines = cents(part["return_line_items"], "total_money") + cents(part.get("return_tips", []), "applied_money")
        assert refund["status"] == "COMPLETED"
        assert refund["amount_money"]["amount"] == part["return_amounts"]["total_money"]["amount"] == lines > 0
        assert back[refund["payment_id"]] == lines
        assert lines <= by_id[part["source_order_id"]]["total_money"]["amount"]
        uids = {item["uid"] for item in by_id[part["source_order_id"]]["line_items"]}
        assert {line.get("source_line_item_uid") for line in part["return_line_items"]} <= uids | {None}


def test_plain_orders_are_the_datasets(whole_trade: Trade, orders: list[Any]) -> None:
    sales = [order for order in orders if not order.get("returns")]
    assert len(sales) == len(whole_trade.jaffle) == 11285
    dataset = {order.id: order for order in whole_trade.jaffle}
    changed = {order["metadata"]["dataset_order"]: order for order in sales if "metadata" in order}
    plain = cents([order for order in sales if "metadata" not in order], "total_money")
    assert plain + sum(dataset[key].subtotal + dataset[key].tax for key in changed) == sum(
        order.subtotal + order.tax for order in dataset.values()
    )
    for key, order in changed.items():
        # what was corrected, left open, given back or paid otherwise is in the end the dataset's own
        if order["metadata"]["synthetic"] in ("edited", "left_open", "refund_line", "gift_tender", "declined"):
            assert order["total_money"]["amount"] == dataset[key].subtotal + dataset[key].tax
    assert len(changed) < len(sales) / 12


@pytest.mark.parametrize("day", range(14))
def test_every_day_something_old_changes(square: SquareVendor, day: int) -> None:
    before, after = ({s.key: s for s in square.orders.all(OPENS_AT + timedelta(days=n))} for n in (day, day + 1))
    moved = [
        (json.loads(old.body), json.loads(after[key].body))
        for key, old in before.items()
        if old.since != after[key].since
    ]
    assert all(old["updated_at"] < new["updated_at"] and old["version"] < new["version"] for old, new in moved)
    assert [new for old, new in moved if (old["state"], new["state"]) == ("OPEN", "COMPLETED")]
    assert [new for old, new in moved if (old["state"], new["state"]) == ("OPEN", "CANCELED")]
    assert [new for old, new in moved if len(new["line_items"]) < len(old["line_items"])]
    new = [json.loads(state.body) for key, state in after.items() if key not in before]
    returns = [order for order in new if order.get("returns")]
    assert any(part["source_order_id"] in before for order in returns for part in order["returns"])


def test_nothing_of_the_future_shows(square: SquareVendor) -> None:
    now = OPENS_AT + timedelta(hours=7)
    for timeline in (square.orders, square.payments, square.refunds):
        for record in served(timeline, now):
            assert record["created_at"] <= record["updated_at"] <= now.strftime("%Y-%m-%dT%H:%M:%S.%f")
            assert record.get("closed_at", "") <= record["updated_at"]


def test_pages_join_to_the_whole_in_order_of_update(square: SquareVendor) -> None:
    found: list[Any] = []
    status, page = search(square)
    while True:
        assert status == 200
        found += page["orders"]
        if "cursor" not in page:
            break
        assert len(page["orders"]) == 1000
        status, page = search(square, body={"cursor": page["cursor"]})
    assert len({order["id"] for order in found}) == len(found) == len(square.orders.all(OPENS_AT))
    assert [order["updated_at"] for order in found] == sorted(order["updated_at"] for order in found)


def test_a_window_begins_with_its_start_and_ends_before_its_end(square: SquareVendor) -> None:
    seen = Counter[str]()
    edges = ["2024-03-20T00:00:00Z", "2024-03-20T12:31:00.000Z", "2024-03-21T00:00:00Z"]
    spans = [(edges[0], edges[1]), (edges[1], edges[2]), (edges[0], edges[2])]
    for start, end in spans:
        window = {"date_time_filter": {"updated_at": {"start_at": start, "end_at": end}}}
        _, page = search(square, body={"query": {"filter": window, "sort": SORTED}})
        seen.update(order["id"] for order in page["orders"])
        assert all(start <= order["updated_at"] < end for order in page["orders"])
    assert set(seen.values()) == {2}


def test_a_cursor_dies_and_belongs_to_its_query(square: SquareVendor, hand: Hand) -> None:
    _, page = search(square)
    status, error = search(square, body={"cursor": page["cursor"], "limit": 999})
    assert (status, error["errors"][0]["code"]) == (400, "INVALID_CURSOR")
    hand.time += CURSOR_LIFE + 1
    status, error = search(square, body={"cursor": page["cursor"]})
    assert (status, error["errors"][0]["code"]) == (400, "INVALID_CURSOR")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"limit": 1001}, "INVALID_VALUE"),
        ({"location_ids": [f"L{n}" for n in range(11)]}, "INVALID_VALUE"),
        ({"location_ids": []}, "INVALID_VALUE"),
        ({"query": {"filter": SEARCH, "sort": {"sort_field": "CREATED_AT"}}}, "INVALID_VALUE"),
        ({"cursor": "nonsense"}, "INVALID_CURSOR"),
    ],
)
def test_what_square_refuses(square: SquareVendor, body: Record, code: str) -> None:
    status, error = search(square, body=body)
    assert (status, error["errors"][0]["code"]) == (400, code)


def test_a_wrong_token_and_too_many_requests(square: SquareVendor) -> None:
    status, error = search(square, token="wrong")
    assert (status, error["errors"][0]["category"]) == (401, "AUTHENTICATION_ERROR")
    throttled = square.throttled(1)
    assert (throttled.status, throttled.headers["Retry-After"]) == (429, "1")
    assert json.loads(throttled.body)["errors"][0]["code"] == "RATE_LIMITED"


def test_payments_are_of_one_location_and_a_hundred_a_page(square: SquareVendor) -> None:
    count: dict[str, int] = defaultdict(int)
    for location in square.locations:
        query = {"location_id": location["id"], "limit": "1000"}
        while True:
            status, page = ask(square, "GET", "/v2/payments", query=query)
            assert status == 200 and len(page["payments"]) <= 100
            assert {payment["location_id"] for payment in page["payments"]} == {location["id"]}
            count[location["id"]] += len(page["payments"])
            if "cursor" not in page:
                break
            query = {**query, "cursor": page["cursor"]}
    assert sum(count.values()) == len(square.payments.all(OPENS_AT))
    _, page = ask(square, "GET", "/v2/payments")
    assert {payment["location_id"] for payment in page["payments"]} == {square.locations[0]["id"]}


def test_a_request_is_answered_as_of_its_clock(square: SquareVendor) -> None:
    request = Request("GET", "/v2/refunds", {}, {"authorization": f"Bearer {TOKEN}"}, b"", "", OPENS_AT)
    later = replace(request, now=OPENS_AT + timedelta(days=1))
    first, second = (json.loads(square.answer(r).body)["refunds"] for r in (request, later))
    assert {r["id"] for r in first} < {r["id"] for r in second}


def test_payments_and_refunds_say_who_was_at_the_till(square: SquareVendor) -> None:
    status, answer = ask(square, path="/v2/team-members/search", body={"limit": 200})
    members = {member["id"]: member for member in answer["team_members"]}
    assert status == 200 and len(members) == 9
    assert not any("wage_setting" in member for member in members.values())
    taken = Counter(payment["team_member_id"] for payment in served(square.payments))
    assert set(taken) == set(members)
    for record in [*served(square.payments), *served(square.refunds)]:
        at = members[record["team_member_id"]]["assigned_locations"]["location_ids"]
        assert record["location_id"] in at
