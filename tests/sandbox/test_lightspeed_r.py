"""The Lightspeed of the sandbox: sales that add up, what happens to them, the API's manners."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from ingestion.sandbox.data import OPENS_AT, Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.vendors.lightspeed_r import tokens
from ingestion.sandbox.vendors.lightspeed_r.vendor import ACCOUNT, BUCKET_SIZE, DRIP_RATE, LightspeedVendor

AT_THE_END = datetime(2024, 6, 1, tzinfo=UTC)
ALL = json.dumps(["SaleLines", "SaleLines.Discount", "SaleLines.Item", "SalePayments", "SalePayments.PaymentType"])


@pytest.fixture(scope="module")
def lightspeed(whole_trade: Trade) -> LightspeedVendor:
    return LightspeedVendor(whole_trade, clock=iter(range(0, 10**9, 60)).__next__)  # every bucket is empty again


def token(vendor: LightspeedVendor, now: datetime, **change: str) -> tuple[int, Any]:
    form = {
        "grant_type": "refresh_token",
        "client_id": tokens.CLIENT,
        "client_secret": tokens.SECRET,
        "refresh_token": tokens.REFRESH_TOKEN,
    }
    body = urlencode(form | change).encode()
    answer = vendor.answer(Request("POST", tokens.PATH, {}, {}, body, "http://127.0.0.1:1", now))
    return answer.status, json.loads(answer.body)


def ask(
    vendor: LightspeedVendor, name: str, now: datetime = AT_THE_END, *, bearer: str | None = None, **query: str
) -> tuple[int, Any, Mapping[str, str]]:
    bearer = token(vendor, now)[1]["access_token"] if bearer is None else bearer
    path = f"/API/V3/Account/{ACCOUNT}/{name}.json"
    headers = {"authorization": f"Bearer {bearer}"}
    answer = vendor.answer(Request("GET", path, query, headers, b"", "http://127.0.0.1:1", now))
    return answer.status, json.loads(answer.body), answer.headers


def read(vendor: LightspeedVendor, now: datetime = AT_THE_END, **query: str) -> list[Any]:
    """All pages of sales."""
    found: list[Any] = []
    while True:
        status, page, _ = ask(vendor, "Sale", now, **query)
        assert status == 200, page
        found += children(page, "Sale")
        if not page["@attributes"]["next"]:
            return found
        query = dict(parse_qsl(urlsplit(page["@attributes"]["next"]).query))


def children(record: Any, element: str) -> list[Any]:
    inside = (record or {}).get(element, [])
    return inside if isinstance(inside, list) else [inside]


@pytest.fixture(scope="module")
def sales(lightspeed: LightspeedVendor) -> list[Any]:
    return read(lightspeed, archived="true", load_relations=ALL)


def test_every_completed_sale_adds_up(sales: list[Any]) -> None:
    for sale in sales:
        lines = children(sale.get("SaleLines"), "SaleLine")
        total, tax = Decimal(sale["calcTotal"]), Decimal(sale["calcTax1"])
        assert total == Decimal(sale["calcSubtotal"]) - Decimal(sale["calcDiscount"]) + tax
        assert abs(sum((Decimal(line["calcTax1"]) for line in lines), Decimal(0)) - tax) <= Decimal("0.005")
        for line in lines:
            discount = Decimal(line["calcLineDiscount"]) + Decimal(line["calcTransactionDiscount"])
            parts = Decimal(line["calcSubtotal"]) - discount + Decimal(line["calcTax1"])
            assert abs(parts - Decimal(line["calcTotal"])) < Decimal("0.00001")
        payments = [p for p in children(sale.get("SalePayments"), "SalePayment") if p["archived"] == "false"]
        paid = sum((Decimal(p["amount"]) - Decimal(p["tipAmount"]) for p in payments), Decimal(0))
        if sale["completed"] == "true":
            assert paid == total, sale["referenceNumber"]


def test_the_cups_are_the_datasets(whole_trade: Trade, sales: list[Any]) -> None:
    cups = {order.id: order for order in whole_trade.coffee}
    assert len(cups) == 1208 and sum(order.subtotal for order in cups.values()) == 3_965_678
    plain = [sale for sale in sales if not sale["referenceNumber"]]
    instants = Counter((o.instant.replace(microsecond=0).isoformat(), o.subtotal) for o in cups.values())
    assert Counter((sale["completeTime"], int(Decimal(sale["total"]) * 100)) for sale in plain) <= instants
    assert len(plain) > 1000
    told = {sale["referenceNumber"].partition("-cup-")[2] for sale in sales if sale["referenceNumber"]}
    assert len(plain) + len(told) >= 1208 and len(told) < 300


def test_each_story_is_told(sales: list[Any]) -> None:
    kinds = Counter(sale["referenceNumber"].split("-")[1] for sale in sales if sale["referenceNumber"])
    assert set(kinds) == {
        "syrup", "line_discount", "sale_discount", "tip", "slow", "refund", "unlinked", "exchange", "void", "gift_sold",
        "gift_tender", "deposit", "declined", "cart", "archived_cart",
    }  # fmt: skip
    lines = {line["saleLineID"]: line for sale in sales for line in children(sale.get("SaleLines"), "SaleLine")}
    back = [line for line in lines.values() if Decimal(line["unitQuantity"]) < 0]
    linked = [line for line in back if line["parentSaleLineID"] != "0"]
    assert len(back) > len(linked) > 10
    assert all(lines[line["parentSaleLineID"]]["itemID"] == line["itemID"] for line in linked)


def test_everything_is_text_and_one_child_is_an_object(sales: list[Any]) -> None:
    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for inside in value.values() for leaf in leaves(inside)]
        return [leaf for inside in value for leaf in leaves(inside)] if isinstance(value, list) else [value]

    assert all(isinstance(leaf, str) for sale in sales for leaf in leaves(sale))
    shapes = Counter(type((sale.get("SaleLines") or {}).get("SaleLine")).__name__ for sale in sales)
    assert min(shapes["dict"], shapes["list"], shapes["NoneType"]) > 5


def test_carts_are_listed_and_an_archived_one_on_demand(lightspeed: LightspeedVendor, sales: list[Any]) -> None:
    carts = [sale for sale in sales if sale["completed"] == "false"]
    assert len(carts) > 60 and not any("completeTime" in sale for sale in carts)
    archived = [sale["saleID"] for sale in sales if sale["archived"] == "true"]
    assert archived and not set(archived) & {sale["saleID"] for sale in read(lightspeed)}


def test_a_voided_sale_keeps_its_timestamp(lightspeed: LightspeedVendor) -> None:
    voided = read(lightspeed, voided="true")
    assert len(voided) > 10
    assert all(sale["timeStamp"] == sale["completeTime"] < sale["updateTime"] for sale in voided)
    sale = voided[-1]
    before = datetime.fromisoformat(sale["updateTime"]) - timedelta(minutes=1)
    assert sale["saleID"] not in {s["saleID"] for s in read(lightspeed, before, voided="true")}


def test_windows_include_both_ends_and_pages_follow_the_url(lightspeed: LightspeedVendor, sales: list[Any]) -> None:
    stamps = sorted(sale["timeStamp"] for sale in sales)
    first, last = stamps[100], stamps[500]
    found = read(lightspeed, timeStamp=f"><,{first},{last}", sort="timeStamp", limit="50", archived="true")
    assert [sale["timeStamp"] for sale in found] == [stamp for stamp in stamps if first <= stamp <= last]
    assert len(read(lightspeed, timeStamp=f">=,{last}", archived="true")) == sum(stamp >= last for stamp in stamps)
    assert not any("SaleLines" in sale for sale in found), "relations come only when they are asked for"
    status, page, _ = ask(lightspeed, "Sale", timeStamp="><,2030-01-01T00:00:00+00:00,2031-01-01T00:00:00+00:00")
    assert (status, page) == (200, {"@attributes": {"next": "", "previous": ""}})


@pytest.mark.parametrize(
    "query",
    [{"limit": "101"}, {"limit": "many"}, {"offset": "100"}, {"timeStamp": "<,2024"}, {"load_relations": '["Tips"]'},
     {"after": "nothing"}],
)  # fmt: skip
def test_what_it_does_not_know_it_refuses(lightspeed: LightspeedVendor, query: dict[str, str]) -> None:
    status, page, _ = ask(lightspeed, "Sale", AT_THE_END, **query)
    assert (status, page["httpCode"]) == (400, "400")


def test_one_shop_is_an_object_several_employees_are_a_list(lightspeed: LightspeedVendor) -> None:
    shop = ask(lightspeed, "Shop", load_relations='["Contact"]')[1]["Shop"]
    assert (shop["timeZone"], shop["Contact"]["Addresses"]["ContactAddress"]["city"]) == ("Europe/Kyiv", "Київ")
    assert shop["Contact"]["Emails"] == "" and "currency" not in json.dumps(shop).lower()
    assert len(ask(lightspeed, "Employee")[1]["Employee"]) == 2
    assert len(ask(lightspeed, "Employee", archived="true")[1]["Employee"]) == 3
    assert len(ask(lightspeed, "Item")[1]["Item"]) == 9


def test_tokens_last_half_an_hour(lightspeed: LightspeedVendor) -> None:
    status, issued = token(lightspeed, OPENS_AT)
    assert (status, issued["expires_in"]) == (200, 1800)
    bearer = issued["access_token"]
    assert ask(lightspeed, "Shop", OPENS_AT + timedelta(minutes=29), bearer=bearer)[0] == 200
    assert ask(lightspeed, "Shop", OPENS_AT + timedelta(minutes=30), bearer=bearer)[0] == 401
    assert ask(lightspeed, "Shop", OPENS_AT, bearer="1.made-up")[0] == 401
    assert token(lightspeed, OPENS_AT, refresh_token="another")[0] == 400
    assert token(lightspeed, OPENS_AT, client_secret="another")[0] == 401


def test_the_bucket_leaks(whole_trade: Trade) -> None:
    now = [0.0]
    vendor = LightspeedVendor(whole_trade, clock=lambda: now[0])
    bearer = token(vendor, OPENS_AT)[1]["access_token"]
    for poured in range(1, BUCKET_SIZE + 1):
        status, _, headers = ask(vendor, "Shop", OPENS_AT, bearer=bearer)
        assert (status, headers["X-LS-API-Bucket-Level"]) == (200, f"{poured}/{BUCKET_SIZE}")
    status, _, headers = ask(vendor, "Shop", OPENS_AT, bearer=bearer)
    assert (status, headers["X-LS-API-RateLimit-Type"]) == (429, "api-leaky-bucket")
    now[0] += int(headers["Retry-After"])
    assert ask(vendor, "Shop", OPENS_AT, bearer=bearer, load_relations="all")[2]["X-LS-API-Request-Cost"] == "10"
    assert DRIP_RATE == 10
