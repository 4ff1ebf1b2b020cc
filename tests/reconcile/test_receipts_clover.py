"""The auditor's arithmetic for Clover on the recorded pages and on cases they lack, each amount worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ingestion.integrations.clover.receipts import receipts
from reconcile.model import Sites

PAGES = Path(__file__).parents[1] / "recorded" / "clover"
NOW = datetime(2024, 4, 4, tzinfo=UTC)
NOON = 1709668800000  # 2024-03-05 12:00 in San Jose
Sums = dict[tuple[str, str], str]


def page(name: str) -> list[dict[str, Any]]:
    found = json.loads((PAGES / f"{name}.json").read_text(), parse_float=Decimal)
    return list(found.get("elements", [found]))


def add_up(**records: list[dict[str, Any]]) -> Sums:
    """(date and currency, measure) → amount as text; zero sums left out."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for a in receipts({"merchant": page("merchant"), **records}, Sites(), NOW):
        sums[f"{a.business_date.isoformat()} {a.currency}", a.measure] += a.amount
    return {key: f"{amount.normalize():f}" for key, amount in sums.items() if amount}


def of_a_day(sums: Sums, day: str) -> dict[str, str]:
    return {measure: amount for (at, measure), amount in sums.items() if at == day}


def recorded() -> Sums:
    """All recorded pages, as they were in the end."""
    orders = {o["id"]: o for name in ("orders.1", "orders.2", "later/orders") for o in page(name)}
    rest = {name: page(name) for name in ("deleted_orders", "voided_lines", "payments", "credits")}
    return add_up(orders=list(orders.values()), refunds=page("refunds") + page("later/refunds"), **rest)


def test_clovers_own_order_is_open() -> None:
    assert of_a_day(recorded(), "2019-01-03 USD") == {"open_sales": "12.95"}


def test_a_day_with_everything() -> None:
    """tests/recorded/clover/expected.yml works these out; the deleted order adds 8.00 of voids."""
    assert of_a_day(recorded(), "2024-03-05 USD") == {
        "gross_sales": "37.25",
        "discount": "7.48",
        "gift_card_sold": "17.9",
        "tax": "1.62",
        "tip": "6",
        "service_charge": "2.38",
        "void_amount": "18.5",
        "payments": "57.67",
        "order_count": "1",
        "line_count": "8",
    }


def test_tax_inside_the_price_is_taken_out() -> None:
    assert of_a_day(recorded(), "2024-03-05 EUR") == {
        "gross_sales": "10",
        "discount": "1",
        "tax": "1.71",
        "payments": "10.71",
        "order_count": "1",
        "line_count": "1",
    }


def test_refunds_and_credits_count_on_their_own_day() -> None:
    sums = recorded()
    assert of_a_day(sums, "2024-03-07 USD") == {"refunds": "8.72", "returns": "8.06", "tax": "-0.66"}
    assert of_a_day(sums, "2024-03-07 EUR") == {"refunds": "2", "refund_unitemised": "2"}
    assert of_a_day(sums, "2024-03-08 USD") == {"refunds": "5", "refund_unitemised": "4.6", "tax": "-0.4"}


def order(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A paid order with its lines."""
    told = {"id": "o", "currency": "USD", "total": 0, "paymentState": "PAID", "createdTime": NOON}
    return told | {"lineItems": {"elements": list(lines)}} | fields


def line(key: str, price: int, **fields: Any) -> dict[str, Any]:
    return {"id": key, "price": price, **fields}


def rates(*found: int) -> dict[str, Any]:
    return {"elements": [{"id": f"rate {n}", "rate": rate} for n, rate in enumerate(found)]}


def paid(amount: int, **fields: Any) -> dict[str, Any]:
    told = {"id": "p", "order": {"id": "o"}, "amount": amount, "result": "SUCCESS"}
    return told | {"createdTime": NOON, "modifiedTime": NOON, "clientCreatedTime": NOON} | fields


def test_each_rate_is_rounded_by_itself_where_no_payment_says_the_tax() -> None:
    """12.95 at 8.25 %, 1 % and 10 %: 1.07 + 0.13 + 1.30, as in Clover's own example, whose total is 15.45."""
    sums = add_up(orders=[order(line("l", 1295, taxRates=rates(825000, 100000, 1000000)))], payments=[paid(1545)])
    assert (sums["2024-03-05 USD", "tax"], sums["2024-03-05 USD", "payments"]) == ("2.5", "15.45")


def test_no_more_is_taken_off_than_there_is() -> None:
    whole = {"elements": [{"percentage": 80}, {"amount": -500}]}
    assert of_a_day(add_up(orders=[order(line("l", 1000, discounts=whole))]), "2024-03-05 USD") == {
        "gross_sales": "10",
        "discount": "10",
        "order_count": "1",
        "line_count": "1",
    }


def test_a_gratuity_a_fee_and_a_flat_tax() -> None:
    """18 % of 10.00 is a gratuity; a fee of 1.50 and one of 5 % are service charges; 0.10 tax on each bottle."""
    bottle = line("l", 1000, taxRates={"elements": [{"id": "deposit", "rate": 0, "taxAmount": 10}]})
    fees = [line("f", 150, isOrderFee=True), line("g", 0, isOrderFee=True, percentage=50000)]
    charge = {"percentageDecimal": 180000, "isAutoApplied": True}
    assert of_a_day(add_up(orders=[order(bottle, *fees, serviceCharge=charge)]), "2024-03-05 USD") == {
        "gross_sales": "10",
        "tax": "0.1",
        "gratuity": "1.8",
        "service_charge": "2",
        "order_count": "1",
        "line_count": "1",
    }


def test_what_is_paid_on_an_open_order_is_a_deposit() -> None:
    open_order = order(line("l", 3000), paymentState="PARTIALLY_PAID")
    assert of_a_day(add_up(orders=[open_order], payments=[paid(1000)]), "2024-03-05 USD") == {"open_sales": "30"}


def test_payments_that_never_were_and_one_whose_void_failed() -> None:
    never = [paid(1000, id=result, result=result) for result in ("FAIL", "VOIDED", "AUTH", "PENDING")]
    sums = add_up(orders=[order(line("l", 1000))], payments=[*never, paid(1000, result="VOID_FAILED")])
    assert sums["2024-03-05 USD", "payments"] == "10"


def test_before_there_were_payment_states() -> None:
    """Locked is closed; so is an order that was paid in full; an order in test mode is nothing."""
    locked = order(line("l", 100), id="locked", paymentState=None, state="locked")
    full = order(line("l", 200), paymentState=None, state="open", total=200)
    short = order(line("l", 400), id="short", paymentState=None, state="open", total=400)
    test = order(line("l", 800), id="test", testMode=True)
    payments = [paid(200), paid(399, id="q", order={"id": "short"}), paid(800, id="t", order={"id": "test"})]
    assert of_a_day(add_up(orders=[locked, full, short, test], payments=payments), "2024-03-05 USD") == {
        "gross_sales": "3",
        "open_sales": "4",
        "payments": "2",
        "order_count": "2",
        "line_count": "2",
    }


def test_yen_have_no_cents() -> None:
    sums = add_up(orders=[order(line("l", 1200), currency="JPY")], payments=[paid(1200)])
    assert of_a_day(sums, "2024-03-05 JPY") | {"line_count": "1"} == {
        "gross_sales": "1200",
        "payments": "1200",
        "order_count": "1",
        "line_count": "1",
    }
