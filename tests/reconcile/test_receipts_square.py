"""The auditor's arithmetic for Square on the recorded pages and on cases they lack, each amount worked out by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ingestion.integrations.square.receipts import receipts
from reconcile.model import Sites, SiteSetting

PAGES = Path(__file__).parents[1] / "fixtures" / "square"
NOW = datetime(2024, 4, 4, tzinfo=UTC)
Sums = dict[tuple[str, str], str]


def page(name: str) -> Any:
    return json.loads((PAGES / f"{name}.json").read_text(), parse_float=Decimal)


def add_up(records: dict[str, Any], sites: Sites | None = None) -> Sums:
    """(date, measure) → amount as text; zero sums left out."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for a in receipts(records, sites or Sites(), NOW):
        sums[a.business_date.isoformat()[5:], a.measure] += a.amount
    return {key: f"{amount.normalize():f}" for key, amount in sums.items() if amount}


def recorded(*orders: str, sites: Sites | None = None) -> Sums:
    """Recorded orders by the first letters of their ids, with their payments and refunds."""
    found = [o for o in page("orders")["orders"] if o["id"].startswith(orders)]
    assert len(found) == len(orders)
    ids = {o["id"] for o in found}
    return add_up(
        {
            "locations": page("locations")["locations"],
            "orders": found,
            "payments": [p for p in page("payments")["payments"] if p["order_id"] in ids],
            "refunds": [r for r in page("refunds")["refunds"] if r["order_id"] in ids],
        },
        sites,
    )


def test_a_day_of_plain_tipped_discounted_and_modified_orders() -> None:
    """Gross 6.00 + (7.00 + 12.00) + 5.00 + 6.00 + (5.00 + 0.75 for cheese) + 5.00; of two payments one was declined."""
    assert recorded("5eb75b", "ed9dbb", "dad6e4", "36cc7a", "92a10d", "144fff") == {
        ("03-01", "gross_sales"): "46.75",
        ("03-01", "discount"): "0.6",
        ("03-01", "tax"): "2.76",
        ("03-01", "tip"): "0.75",
        ("03-01", "payments"): "49.66",
        ("03-01", "order_count"): "6",
        ("03-01", "line_count"): "8",
    }


def test_an_order_counts_on_the_day_it_closed_and_two_tenders_are_one_payment_sum() -> None:
    assert recorded("b46dd5", "2a3757", "a3aff8") == {
        ("03-02", "gross_sales"): "49",
        ("03-02", "tax"): "2.94",
        ("03-02", "payments"): "51.94",
        ("03-02", "order_count"): "3",
        ("03-02", "line_count"): "7",
    }


def test_a_gift_card_is_no_sale_and_a_cancelled_order_a_void() -> None:
    assert recorded("352c33", "2e811a") == {
        ("03-04", "gross_sales"): "5",
        ("03-04", "tax"): "0.3",
        ("03-04", "gift_card_sold"): "25",
        ("03-04", "void_amount"): "7",
        ("03-04", "payments"): "30.3",
        ("03-04", "order_count"): "1",
        ("03-04", "line_count"): "2",
    }


def test_an_automatic_gratuity_is_no_service_charge() -> None:
    sums = recorded("3d4431", "040777")
    assert sums["03-07", "service_charge"] == "1.5"
    assert sums["03-07", "gratuity"] == "1.26"
    assert sums["03-07", "payments"] == "17.6"


def test_returns_count_on_their_own_day_goods_tax_and_tip_apart() -> None:
    """The second came back at 02:41 UTC on the 14th: still the evening of the 13th in Philadelphia."""
    assert recorded("e51e27", "6ff06d") == {
        ("03-06", "returns"): "7",
        ("03-06", "tax"): "-0.41",
        ("03-06", "refunds"): "7.41",
        ("03-13", "returns"): "4",
        ("03-13", "tax"): "-0.24",
        ("03-13", "tip"): "-0.6",
        ("03-13", "refunds"): "4.84",
    }


@pytest.mark.parametrize(("kind", "measure"), [("GIFT_CARD", "gift_card_sold"), ("DONATION", "donations")])
def test_what_was_no_sale_comes_back_as_none(kind: str, measure: str) -> None:
    [order] = [o for o in page("orders")["orders"] if o["id"].startswith("e51e27")]
    for line in order["returns"][0]["return_line_items"]:
        line["item_type"] = kind
    found = add_up({"locations": page("locations")["locations"], "orders": [order]})
    assert found == {("03-06", measure): "-7", ("03-06", "tax"): "-0.41"}


def test_an_amount_given_back_without_goods_is_not_itemised() -> None:
    assert recorded("dd46e7") == {("03-17", "refund_unitemised"): "3.12", ("03-17", "refunds"): "3.12"}


def test_an_open_order_is_only_open() -> None:
    assert recorded("1c8191") == {("04-03", "open_sales"): "18"}


def test_what_people_decide_on_the_day_overrules() -> None:
    """A bar whose day begins at 23:00: what comes back at 22:41 on the 13th is still of the day of the 12th."""
    late = SiteSetting(date(2024, 1, 1), date(2025, 1, 1), "America/New_York", timedelta(hours=23))
    assert recorded("6ff06d", sites=Sites({"L168A8541199A": [late]}))["03-12", "returns"] == "4"


def test_a_day_goes_on_until_the_next_begins() -> None:
    """From 1 December days begin at five instead of four: half past four of that morning is still 30 November; and from
    1 January at four again, when half past four is already the new day."""
    december = SiteSetting(date(2024, 12, 1), date(2025, 1, 1), "America/New_York", timedelta(hours=5))
    sites = Sites({"a": [december]})
    at = [
        sites.business_date("a", datetime.fromisoformat(instant), "America/New_York", timedelta(hours=4))
        for instant in ("2024-12-01T09:30Z", "2024-12-01T10:30Z", "2025-01-01T08:30Z", "2025-01-01T09:30Z")
    ]
    assert at == [date(2024, 11, 30), date(2024, 12, 1), date(2024, 12, 31), date(2025, 1, 1)]


def cash(amount: int, currency: str = "USD") -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def order(number: str, currency: str = "USD", **fields: Any) -> dict[str, Any]:
    return {
        "id": number, "location_id": "L1", "state": "COMPLETED", "created_at": "2024-03-01T12:00:00Z",
        "total_money": cash(0, currency), **fields,
    }  # fmt: skip


def line(gross: int, currency: str = "USD", **fields: Any) -> dict[str, Any]:
    return {
        "item_type": "ITEM", "gross_sales_money": cash(gross, currency), "total_money": cash(gross, currency), **fields,
    }  # fmt: skip


@pytest.mark.parametrize(("country", "gross", "discount"), [("GB", "10", "1"), ("US", "12", "1.2")])
def test_tax_in_the_price_is_taken_out_where_square_leaves_it_in(country: str, gross: str, discount: str) -> None:
    """£12 with 20 % VAT inside, 10 % off: £10.80 paid, of which VAT 1.80. Net 9.00 = 10.00 − 1.00."""
    sold = line(
        1200, "GBP", total_discount_money=cash(120, "GBP"), total_tax_money=cash(180, "GBP"),
        total_money=cash(1080, "GBP"),
        applied_taxes=[{"tax_uid": "vat", "applied_money": cash(180, "GBP")}],
        applied_discounts=[{"uid": "d", "applied_money": cash(120, "GBP")}],
    )  # fmt: skip
    vat = {"uid": "vat", "type": "INCLUSIVE", "percentage": "20"}
    records = {
        "locations": [{"id": "L1", "country": country}],
        "orders": [order("A", "GBP", line_items=[sold], taxes=[vat], total_tax_money=cash(180, "GBP"))],
    }
    sums = add_up(records)
    assert sums["03-01", "gross_sales"] == gross
    assert sums["03-01", "discount"] == discount
    assert sums["03-01", "tax"] == "1.8"


def test_currencies_have_their_own_minor_units() -> None:
    amounts = {
        currency: [a.amount for a in receipts({"orders": [order("A", currency, line_items=[line(1250, currency)])]},
                                              Sites(), NOW) if a.measure == "gross_sales"]
        for currency in ("JPY", "KWD", "EUR")
    }  # fmt: skip
    assert amounts == {"JPY": [Decimal(1250)], "KWD": [Decimal("1.250")], "EUR": [Decimal("12.50")]}


def test_donations_rounding_and_taxed_charges() -> None:
    """A charge of 1.06 has 0.06 of the order's tax in it; cash is rounded down by 1 cent."""
    sold = order(
        "A",
        line_items=[line(500), line(200, item_type="DONATION")],
        service_charges=[{"uid": "c", "total_money": cash(106), "total_tax_money": cash(6)}],
        total_tax_money=cash(36),
        rounding_adjustment={"amount_money": cash(-1)},
    )
    assert add_up({"orders": [sold]}) == {
        ("03-01", "gross_sales"): "5",
        ("03-01", "donations"): "2",
        ("03-01", "service_charge"): "1",
        ("03-01", "tax"): "0.36",
        ("03-01", "rounding"): "-0.01",
        ("03-01", "order_count"): "1",
        ("03-01", "line_count"): "2",
    }


def test_a_returned_charge_is_what_the_order_that_charged_it_says() -> None:
    charges = [
        {"uid": "tip", "type": "AUTO_GRATUITY", "total_money": cash(126)},
        {"uid": "box", "type": "CUSTOM", "total_money": cash(150)},
    ]
    back = {
        "source_order_id": "A",
        "return_service_charges": [
            {"source_service_charge_uid": "tip", "total_money": cash(126)},
            {"source_service_charge_uid": "box", "total_money": cash(159), "total_tax_money": cash(9)},
        ],
        "rounding_adjustment": {"amount_money": cash(2)},
    }
    returned = order("B", returns=[back], created_at="2024-03-02T12:00:00Z")
    sums = add_up({"orders": [order("A", service_charges=charges), returned]})
    assert {key: amount for key, amount in sums.items() if key[0] > "03-01"} == {
        ("03-02", "gratuity"): "-1.26",
        ("03-02", "service_charge"): "-1.5",
        ("03-02", "tax"): "-0.09",
        ("03-02", "rounding"): "-0.02",
    }  # fmt: skip


def test_an_exchange_is_a_sale_and_a_return() -> None:
    back = {"return_line_items": [{"item_type": "ITEM", "source_line_item_uid": "x", "total_money": cash(400)}]}
    sums = add_up({"orders": [order("A", line_items=[line(700)], returns=[back])]})
    assert (sums["03-01", "gross_sales"], sums["03-01", "returns"], sums["03-01", "order_count"]) == ("7", "4", "1")


def refund(number: str, status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": number, "status": status, "location_id": "L1", "created_at": "2024-03-03T12:00:00Z",
        "amount_money": cash(500), **fields,
    }  # fmt: skip


def test_a_refund_counts_with_its_return_order_or_once_the_money_has_gone() -> None:
    back = {"return_line_items": [{"item_type": "ITEM", "source_line_item_uid": "x", "total_money": cash(500)}]}
    returned = order("R", returns=[back], created_at="2024-03-02T12:00:00Z")
    waiting = refund("1", "PENDING", order_id="R")
    assert add_up({"orders": [returned], "refunds": [waiting]}) == {
        ("03-02", "returns"): "5",
        ("03-02", "refunds"): "5",
    }
    assert add_up({"refunds": [waiting, refund("2", "FAILED"), refund("3", "REJECTED")]}) == {}
    sold = order("S", line_items=[line(500)])
    assert add_up({"orders": [sold], "refunds": [refund("4", "COMPLETED", order_id="S")]}) == {
        ("03-01", "gross_sales"): "5",
        ("03-01", "order_count"): "1",
        ("03-01", "line_count"): "1",
        ("03-03", "refunds"): "5",
        ("03-03", "refund_unitemised"): "5",
    }  # fmt: skip


def test_money_on_an_open_order_is_a_deposit_and_a_payment_of_a_sale_counts_on_its_day() -> None:
    def paid(number: str) -> dict[str, Any]:
        return {
            "id": number, "order_id": number, "status": "COMPLETED", "location_id": "L1", "total_money": cash(300),
            "created_at": "2024-03-09T12:00:00Z",
        }  # fmt: skip

    records = {
        "orders": [order("O", state="OPEN", line_items=[line(900)]), order("C", line_items=[line(300)])],
        "payments": [paid("O"), paid("C"), paid("elsewhere"), paid("C") | {"status": "APPROVED"}],
    }
    sums = add_up(records)
    assert {key: v for key, v in sums.items() if key[1] == "payments"} == {
        ("03-01", "payments"): "3",
        ("03-09", "payments"): "3",
    }
