"""The Clover of the sandbox: orders that add up by Clover's own arithmetic, what happens to them, the API's manners."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingestion.sandbox.data import OPENS_AT, Trade
from ingestion.sandbox.http import Request
from ingestion.sandbox.money import half_up
from ingestion.sandbox.timeline import Timeline
from ingestion.sandbox.vendors.clover.till import DELETED, LIVE
from ingestion.sandbox.vendors.clover.vendor import TOKEN, CloverVendor
from ingestion.sandbox.vendors.clover.writing import MERCHANT, ms

AT_THE_END = datetime(2024, 6, 1, tzinfo=UTC)
BASE = f"/v3/merchants/{MERCHANT}"
EXPAND = "lineItems.discounts,lineItems.modifications,lineItems.taxRates,discounts,serviceCharge,orderType"
Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def clover(whole_trade: Trade) -> CloverVendor:
    return CloverVendor(whole_trade)


def all_of(timeline: Timeline, now: datetime = AT_THE_END) -> Records:
    return [state.record() for state in timeline.all(now)]  # type: ignore[misc]


@pytest.fixture(scope="module")
def sales(clover: CloverVendor) -> Records:
    """Orders that were paid, those of manual refunds left out."""
    found = [s.record() for s in clover.orders.all(AT_THE_END) if s.group == LIVE]
    return [o for o in found if o["paymentState"] != "CREDITED"]  # type: ignore[index,misc]


def kind_of(order: Mapping[str, Any]) -> str:
    return str(order.get("externalReferenceId", "-plain-").split("-")[1])


def elements(record: Mapping[str, Any], name: str) -> Records:
    return list(record.get(name, {}).get("elements", []))


def ask(
    clover: CloverVendor,
    path: str,
    now: datetime = OPENS_AT,
    token: str = TOKEN,
    filters: tuple[str, ...] = (),
    **query: str,
) -> tuple[int, Any]:
    parameters = [*query.items(), *[("filter", f) for f in filters]]
    headers = {"authorization": f"Bearer {token}"}
    answer = clover.answer(Request("GET", path, dict(parameters), headers, b"", "http://127.0.0.1:1", now, parameters))
    return answer.status, json.loads(answer.body)


def between(field: str, start: datetime, end: datetime) -> tuple[str, str]:
    return f"{field}>={ms(start)}", f"{field}<={ms(end)}"


def off(discounts: Records, base: int) -> int:
    """What discounts come to: amounts are negative cents, percentages of `base` are rounded each by itself."""
    return sum(-d["amount"] if "amount" in d else half_up(Decimal(base) * d["percentage"] / 100) for d in discounts)


def test_every_order_adds_up(clover: CloverVendor, sales: Records) -> None:
    """Lines less their discounts, less the order's, plus tax and service charge; and that is what was paid."""
    paid: dict[str, Records] = {}
    for payment in all_of(clover.payments):
        if payment["result"] == "SUCCESS":
            paid.setdefault(payment["order"]["id"], []).append(payment)
    for order in sales:
        lines = [line for line in elements(order, "lineItems") if not line["exchanged"]]
        subtotal = 0
        for line in lines:
            gross = line["price"] + sum(m["amount"] for m in elements(line, "modifications"))
            subtotal += gross - off(elements(line, "discounts"), gross)
        left = subtotal - off(elements(order, "discounts"), subtotal)
        charge = half_up(Decimal(left) * order.get("serviceCharge", {}).get("percentageDecimal", 0) / 1_000_000)
        payments = paid.get(order["id"], [])
        tax = sum(p["taxAmount"] for p in payments)
        assert order["total"] == left + charge + tax == sum(p["amount"] for p in payments)
        assert charge == sum(p.get("serviceCharge", {}).get("amount", 0) for p in payments)
        taxed = left - sum(line["price"] for line in lines if not line["isRevenue"])
        rates = {t["rate"] for line in lines for t in elements(line, "taxRates")}
        assert abs(tax - half_up(taxed * Decimal(sum(rates)) / 10_000_000)) <= (kind_of(order) != "plain") + 1


def test_the_sales_are_the_datasets(whole_trade: Trade, clover: CloverVendor, sales: Records) -> None:
    philadelphia = [order for order in whole_trade.jaffle if order.site == "Philadelphia"]
    gone = [s for s in clover.orders.all(AT_THE_END) if s.group == DELETED]
    assert len(sales) + len(gone) == len(philadelphia) == 7160
    plain = [order for order in sales if kind_of(order) == "plain"]
    changed = {o["externalReferenceId"].split("-", 2)[2] for o in sales if kind_of(o) != "plain"}
    changed |= {s.record()["externalReferenceId"].split("-", 2)[2] for s in gone}  # type: ignore[index]
    dataset = {order.id: order.subtotal + order.tax for order in philadelphia}
    assert sum(o["total"] for o in plain) + sum(dataset[key] for key in changed) == sum(dataset.values())
    assert len(changed) < len(sales) / 9


def test_refunds_name_their_lines_and_credits_no_payment(clover: CloverVendor, sales: Records) -> None:
    by_id = {order["id"]: order for order in sales}
    payments = {payment["id"]: payment for payment in all_of(clover.payments)}
    seen = Counter[str]()
    for refund in all_of(clover.refunds):
        order, payment = by_id[refund["orderRef"]["id"]], payments[refund["payment"]["id"]]
        assert payment["order"]["id"] == order["id"]
        assert 0 < refund["amount"] <= payment["amount"] + payment.get("tipAmount", 0)
        assert refund["createdTime"] > payment["createdTime"]
        back = {line["id"] for line in elements(refund, "lineItems")}
        assert back == {line["id"] for line in elements(order, "lineItems") if line["refunded"]}
        seen[f"{kind_of(order)} {refund['status']}"] += 1
    assert min(seen[f"{k} SUCCESS"] for k in ("refund_line", "refund_amount", "refund_all")) > 3
    assert seen["refund_refused FAIL"] > 3
    credited = {s.key: s.record() for s in clover.orders.all(AT_THE_END) if s.group == LIVE}
    credits = all_of(clover.credits)
    assert len(credits) > 3
    for credit in credits:
        order = credited[credit["orderRef"]["id"]]  # type: ignore[assignment]
        assert (order["paymentState"], order["total"]) == ("CREDITED", -credit["amount"])


def test_what_is_taken_off_is_nowhere_but_in_the_voids(clover: CloverVendor, sales: Records) -> None:
    lines = {line["id"] for order in sales for line in elements(order, "lineItems")}
    types = Counter(v["deleteType"] for v in all_of(clover.voided_lines))
    assert types["LINE_ITEM_DELETE"] > 3 and types["ORDER_DELETE"] > 10
    assert not lines & {v["lineItem"]["id"] for v in all_of(clover.voided_lines)}


@pytest.mark.parametrize("day", range(10))
def test_every_day_something_old_changes(clover: CloverVendor, day: int) -> None:
    now, then = OPENS_AT + timedelta(days=day + 1), OPENS_AT + timedelta(days=day)
    kinds = Counter(kind_of(o) for o in all_of(clover.orders, now) if o["modifiedTime"] > ms(then) > o["createdTime"])
    assert kinds["tip_later"] and (kinds["left_open"] or kinds["deleted"])
    given_back = all_of(clover.refunds, now) + all_of(clover.credits, now)
    assert [r for r in given_back if r["createdTime"] > ms(then)]
    assert kinds.total() < 60


def test_pages_are_cut_without_a_word(clover: CloverVendor) -> None:
    window = between("modifiedTime", OPENS_AT - timedelta(days=60), OPENS_AT)

    def page(**query: Any) -> Records:
        found: Records = ask(clover, f"{BASE}/orders", filters=window, **query)[1]["elements"]
        return found

    assert (len(page()), len(page(limit="1000")), len(page(limit="5000"))) == (100, 1000, 1000)
    everything, offset = dict[str, Any](), 0
    while batch := page(limit="1000", offset=str(offset)):
        everything |= {order["id"]: order for order in batch}
        offset += 1000
    assert len(everything) == len([s for s in clover.orders.all(OPENS_AT) if s.group == LIVE]) > 4000
    assert not {"lineItems", "discounts", "orderType"} & set().union(*everything.values())


def test_lists_inside_are_cut_at_a_hundred_and_whole_by_themselves(clover: CloverVendor) -> None:
    window = between("modifiedTime", OPENS_AT - timedelta(days=9), OPENS_AT)
    orders = ask(clover, f"{BASE}/orders", filters=window, limit="1000", expand=EXPAND)[1]["elements"]
    catered = [o for o in orders if kind_of(o) == "catering"]
    assert catered and all(len(elements(o, "lineItems")) == 100 for o in catered)
    path = f"{BASE}/orders/{catered[0]['id']}/line_items"
    whole = ask(clover, path, limit="1000", expand="discounts,modifications,taxRates")[1]["elements"]
    assert len(whole) > 100 and whole[:100] == elements(catered[0], "lineItems")
    assert len(ask(clover, path)[1]["elements"]) == 100
    assert ask(clover, path, limit="1000", offset="1000")[1]["elements"] == []


def test_deleted_orders_are_only_shown_to_who_asks_for_them(clover: CloverVendor) -> None:
    span = OPENS_AT - timedelta(days=30), OPENS_AT
    deleted = ask(clover, f"{BASE}/orders", filters=between("deletedTime", *span), limit="1000")[1]["elements"]
    live = ask(clover, f"{BASE}/orders", filters=between("modifiedTime", *span), limit="1000")[1]["elements"]
    assert deleted and all(o["deletedTimestamp"] == o["modifiedTime"] for o in deleted)
    assert not [o for o in live if "deletedTimestamp" in o]


def test_of_a_long_window_the_last_ninety_days_are_served(clover: CloverVendor) -> None:
    at_the_end = clover.orders.all(AT_THE_END)[-1].since
    late = at_the_end + timedelta(days=90 - 3)
    window = between("modifiedTime", OPENS_AT - timedelta(days=300), late)
    found = ask(clover, f"{BASE}/orders", late, filters=window, limit="1000")[1]["elements"]
    assert found and min(o["modifiedTime"] for o in found) >= ms(at_the_end - timedelta(days=3))


def test_the_merchant_says_its_zone_only_when_asked(clover: CloverVendor) -> None:
    assert "properties" not in ask(clover, BASE)[1]
    properties = ask(clover, BASE, expand="address,properties")[1]["properties"]
    assert (properties["timezone"], properties["defaultCurrency"]) == ("America/New_York", "USD")


def test_sold_items_and_staff_are_known(clover: CloverVendor, sales: Records) -> None:
    items = {i["id"] for i in ask(clover, f"{BASE}/items", limit="1000", expand="categories")[1]["elements"]}
    assert {line["item"]["id"] for order in sales for line in elements(order, "lineItems")} <= items
    staff = {e["id"] for e in ask(clover, f"{BASE}/employees")[1]["elements"]}
    assert {order["employee"]["id"] for order in sales} == staff


def test_what_clover_refuses(clover: CloverVendor) -> None:
    assert ask(clover, BASE, token="wrong")[0] == 401
    assert ask(clover, "/v3/merchants/SOMEONEELSES1/orders")[0] == 401
    assert ask(clover, f"{BASE}/nothing")[0] == 404
    assert ask(clover, f"{BASE}/orders", filters=("total>5",))[0] == 400
    assert ask(clover, f"{BASE}/orders", limit="many")[0] == 400
    throttled = clover.throttled(1)
    assert (throttled.status, throttled.headers["X-RateLimit-tokenLimit"]) == (429, "16")
