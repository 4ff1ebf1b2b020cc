"""The auditor's arithmetic for Toast on the recorded pages and on cases they lack, each amount worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ingestion.integrations.toast.receipts import receipts
from reconcile.model import Sites

PAGES = Path(__file__).parents[1] / "fixtures" / "toast"
NOW = datetime(2024, 4, 4, tzinfo=UTC)
SITE = {"_context": {"restaurant": "ff5e1293-839a-464b-803e-d6d23a03a416"}}
Sums = dict[tuple[str, str], str]


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def add_up(*orders: dict[str, Any]) -> Sums:
    """(date, measure) → amount as text; zero sums left out."""
    records = {"restaurants": exact((PAGES / "restaurants.json").read_text()), "orders": [SITE | o for o in orders]}
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for a in receipts(records, Sites(), NOW):
        assert a.currency == "USD"
        sums[a.business_date.isoformat()[5:], a.measure] += a.amount
    return {key: f"{amount.normalize():f}" for key, amount in sums.items() if amount}


def recorded(*guids: str) -> Sums:
    """Recorded orders by the first letters of their guids."""
    found = [o for o in exact((PAGES / "orders.json").read_text()) if o["guid"].startswith(guids)]
    assert len(found) == len(guids)
    return add_up(*found)


def test_a_day_of_plain_tipped_discounted_and_charged_orders() -> None:
    """12.50 + 20.50 + (20.75 + 20.75 + 16.75 + 15.25, sold for 66.15) + 39.00 + 55.25; part of the 39.00 goes back."""
    assert recorded("1efd54", "1fab4b", "0612a8", "cc8949", "cb47a7") == {
        ("04-20", "gross_sales"): "200.75",
        ("04-20", "discount"): "7.35",
        ("04-20", "service_charge"): "4",
        ("04-20", "tip"): "3.69",
        ("04-20", "payments"): "201.09",
        ("04-20", "order_count"): "5",
        ("04-20", "line_count"): "12",
        ("04-22", "returns"): "12.75",
        ("04-22", "refunds"): "12.75",
    }


def test_a_modifier_is_a_line_but_its_price_is_in_its_selections() -> None:
    assert recorded("4b3432") == {
        ("04-21", "gross_sales"): "11.25",
        ("04-21", "payments"): "11.25",
        ("04-21", "order_count"): "1",
        ("04-21", "line_count"): "2",
    }


def test_a_selection_or_an_order_that_is_void_was_not_sold() -> None:
    assert recorded("d3a7f2", "1c4182") == {
        ("04-23", "gross_sales"): "44.4",
        ("04-23", "void_amount"): "18.5",
        ("04-23", "payments"): "44.4",
        ("04-23", "order_count"): "1",
        ("04-23", "line_count"): "2",
        ("04-26", "void_amount"): "49.75",
    }


def test_a_full_refund_gives_back_goods_and_tip_on_its_own_day() -> None:
    sums = recorded("c8f7b2")
    assert (sums["04-21", "gross_sales"], sums["04-21", "tip"], sums["04-21", "payments"]) == ("36.75", "6.62", "43.37")
    assert {k: v for k, v in sums.items() if k[0] == "04-26"} == {
        ("04-26", "returns"): "36.75",
        ("04-26", "tip"): "-6.62",
        ("04-26", "refunds"): "43.37",
    }


def test_money_given_back_without_goods_is_not_itemised() -> None:
    sums = recorded("9610ef")
    assert (sums["06-28", "refund_unitemised"], sums["06-28", "refunds"]) == ("8.16", "8.16")


def test_gift_cards_sold_and_redeemed() -> None:
    """A card for 25.00 beside a pizza of 20.50; another order of 41.25 is paid with a card and 20.63 of credit."""
    sums = recorded("a5d663", "6f4f15")
    assert (sums["04-24", "gross_sales"], sums["04-24", "gift_card_sold"]) == ("61.75", "25")
    assert sums["04-24", "payments"] == "86.75"


def test_a_deleted_order_never_was() -> None:
    assert recorded("fc3651") == {}


def test_tax_and_gratuity() -> None:
    """The bar's three orders: 8.00 + 20.00 + 17.00 with 8.875 % tax, tips 3.60 and 3.06; elsewhere 2.30 gratuity."""
    sums = recorded("2ab072", "78f282", "8693e7", "643cdf")
    assert (sums["03-12", "gross_sales"], sums["03-12", "tax"], sums["03-12", "tip"]) == ("45", "4", "6.66")
    assert sums["03-12", "payments"] == "55.66"
    assert (sums["05-07", "gratuity"], sums["05-07", "payments"]) == ("2.3", "15.05")


def order(*checks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"businessDate": 20240301, "closedDate": "2024-03-01T20:00:00.000+0000", "checks": list(checks), **fields}


def dish(price: str, *modifiers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"preDiscountPrice": Decimal(price), "price": Decimal(price), "modifiers": list(modifiers), **fields}


def paid(amount: str, **fields: Any) -> dict[str, Any]:
    return {"amount": Decimal(amount), "tipAmount": Decimal(0), "refundStatus": "NONE", **fields}


def refunded(amount: str, of: str | None, **fields: Any) -> dict[str, Any]:
    refund = {"refundAmount": Decimal(amount), "refundBusinessDate": 20240302, **fields}
    return {"refundStatus": "PARTIAL", "refund": refund | ({"refundTransaction": {"guid": of}} if of else {})}


def test_one_refund_over_two_payments_is_itemised_once() -> None:
    """5.00 and 3.00 go back for a dish of 6.00 with 0.53 tax: 1.47 are for nothing in particular."""
    back = {"refundAmount": Decimal(6), "taxRefundAmount": Decimal("0.53"), "refundTransaction": {"guid": "t"}}
    sums = add_up(
        order(
            {"selections": [dish("6.00", refundDetails=back)], "payments": [paid("5.00", **refunded("5.00", "t"))]},
            {"selections": [dish("9.00")], "payments": [paid("10.00", **refunded("3.00", "t"))]},
        )
    )
    assert {k[1]: v for k, v in sums.items() if k[0] == "03-02"} == {
        "returns": "6",
        "tax": "-0.53",
        "refund_unitemised": "1.47",
        "refunds": "8",
    }


def test_refunds_without_a_transaction_are_each_their_own_and_itemise_nothing() -> None:
    told = {"refundAmount": Decimal(6)}
    payments = [
        paid("5.00", **refunded("5.00", None)),
        paid("4.00", **refunded("1.00", None, refundBusinessDate=20240304)),
    ]
    sums = add_up(order({"selections": [dish("9.00", refundDetails=told)], "payments": payments}))
    assert {k: v for k, v in sums.items() if k[0] > "03-01"} == {
        ("03-02", "refund_unitemised"): "5",
        ("03-02", "refunds"): "5",
        ("03-04", "refund_unitemised"): "1",
        ("03-04", "refunds"): "1",
    }


def test_a_refund_without_a_date_counts_on_the_restaurants_day() -> None:
    """08:59 UTC is 02:59 in Chicago in winter, before its closeout at 04:00."""
    told = refunded("1.00", None, refundBusinessDate=None, refundDate="2024-03-05T08:59:00.000+0000")
    assert add_up(order({"selections": [dish("9.00")], "payments": [paid("9.00", **told)]}))["03-04", "refunds"] == "1"


def test_a_refunded_gift_card_is_no_return() -> None:
    back = {"refundAmount": Decimal(25), "refundTransaction": {"guid": "t"}}
    card = dish("25.00", deferred=True, refundDetails=back)
    sums = add_up(order({"selections": [card], "payments": [paid("25.00", **refunded("25.00", "t"))]}))
    assert {k[1]: v for k, v in sums.items() if k[0] == "03-02"} == {"gift_card_sold": "-25", "refunds": "25"}


def test_a_modifier_taken_off_is_void_with_all_in_it_and_no_line() -> None:
    """A burger of 12.00 with cheese of 1.50 (truffle of 1.00 in it); bacon of 2.00 was taken off, its price too."""
    cheese = dish("1.50", dish("1.00"))
    bacon = dish("2.00", dish("0.50"), voided=True)
    assert add_up(order({"selections": [dish("12.00", cheese, bacon)], "payments": [paid("12.00")]})) == {
        ("03-01", "gross_sales"): "12",
        ("03-01", "void_amount"): "2",
        ("03-01", "payments"): "12",
        ("03-01", "order_count"): "1",
        ("03-01", "line_count"): "3",
    }


def test_an_open_order_is_only_open_and_what_is_paid_on_it_a_deposit() -> None:
    table = {
        "selections": [dish("30.00"), dish("5.00", voided=True)],
        "payments": [paid("10.00", tipAmount=Decimal(2))],
    }
    assert add_up(order(table, closedDate=None)) == {("03-01", "open_sales"): "30", ("03-01", "void_amount"): "5"}


def test_payments_that_never_were() -> None:
    never = [paid("9.00", paymentStatus=status) for status in ("VOIDED", "DENIED", "CANCELLED", "PROCESSING", "ERROR")]
    never.append(paid("9.00", paymentStatus="CAPTURED", voidInfo={"voidBusinessDate": 20240301}))
    counted = [paid("4.00", paymentStatus="AUTHORIZED"), paid("5.00", paymentStatus=None)]
    sums = add_up(order({"selections": [dish("9.00")], "payments": never + counted}))
    assert sums["03-01", "payments"] == "9"


def test_a_void_check_leaves_the_order_its_other_one() -> None:
    void = {"voided": True, "selections": [dish("7.00")], "taxAmount": Decimal("0.62"), "payments": []}
    kept = {"selections": [dish("9.00")], "taxAmount": Decimal("0.80"), "payments": [paid("9.80")]}
    gone = {"deleted": True, "selections": [dish("100.00")], "payments": [paid("100.00")]}
    assert add_up(order(void, kept, gone)) == {
        ("03-01", "gross_sales"): "9",
        ("03-01", "tax"): "0.8",
        ("03-01", "void_amount"): "7",
        ("03-01", "payments"): "9.8",
        ("03-01", "order_count"): "1",
        ("03-01", "line_count"): "1",
    }
