"""Blocks, raw, facts and summaries of a real shard: equal when left alone, red at the date and measure that is hurt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from reconcile.compare import Cell
from reconcile.run import Reconciliation, SourceResult
from tests.reconcile.conftest import Audited, Shop
from tests.reconcile.store import alter

MODIFIED = "92a10dd600391c762d58ec13279c"  # 5.75 on 1 March, 0.75 of it for cheese
TWO_LINES = "ed9dbbb263e11cd5ae800aec1ba4"  # 7.00 and 12.00 on 1 March
PIZZAS = "cc894992-ca31-427d-8d91-7714edf01991"
PIZZA = "1efd54cc-a113-4057-b790-2eaacc82c1df"
REFUND = "0c9cf0de855cc245a76cb20d3edb_026010630df9e396bdd983189d67"
RETURNED = "e51e2743da2ad3d126ac6ae0bd6f"  # 7.41 given back on 6 March


def of(result: Reconciliation, source: str) -> SourceResult:
    return next(s for s in result.sources if s.source == source)


def red(result: SourceResult) -> Mapping[tuple[str, str], tuple[Decimal, Decimal | None]]:
    """(date, measure) → (receipts, facts) of every amount that differs."""
    return {(d.cell.business_date.isoformat(), d.cell.measure): (d.blocks, d.facts) for d in result.differences}


def red_days(result: Reconciliation) -> set[tuple[str, str]]:
    """(date, measure) of every amount that differs between receipts and summaries."""
    return {(d.cell.business_date.isoformat(), d.cell.measure) for d in result.summaries}


def test_untouched_everything_is_equal(shop: Shop) -> None:
    result = shop.after_retry
    assert result.equal, result
    assert [(s.source, s.quarantined, s.cells > 4) for s in result.sources] == [
        (name, 0, True) for name in ("till", "bar", "rota", "ads")
    ]
    till = of(result, "till").sums
    assert till[_cell("2024-03-01", "gross_sales")] == Decimal("46.75"), "worked out by hand in test_receipts_square"


def test_a_record_set_aside_is_missed_by_all_sides_alike_until_it_is_retried(shop: Shop) -> None:
    before, after = (of(r, "till") for r in (shop.with_quarantine, shop.after_retry))
    assert (before.quarantined, after.quarantined) == (1, 0)
    assert before.raw == before.ledger == before.differences == []
    assert after.keys == before.keys + 1
    gross, day = _cell("2024-03-01", "gross_sales"), _cell("2024-03-01", "discount")
    assert after.sums[gross] - before.sums[gross] == 6
    assert (before.sums.get(day), after.sums[day]) == (None, Decimal("0.6"))
    assert [(str(c.business_date), collected, paid) for c, collected, paid in before.identity] == [
        ("2024-03-01", Decimal("43.94"), Decimal("49.66"))
    ], "its payment of 5.72 stands alone"


def _cell(day: str, measure: str) -> Cell:
    return Cell(date.fromisoformat(day), "USD", measure)


def test_a_modifier_lost_in_the_facts(audited: Audited) -> None:
    assert audited.sql("delete from marts.fct_sale_item where line_type = 'modifier' and gross_sales = 0.75") == 1
    result = audited.audit()
    assert red(of(result, "till")) == {
        ("2024-03-01", "line_count"): (8, 7),
        ("2024-03-01", "gross_sales_of_lines"): (Decimal("46.75"), Decimal("46.00")),
    }
    assert [s.source for s in result.sources if not s.equal] == ["till"]


def test_a_line_lost_in_the_facts(audited: Audited) -> None:
    lost = f"""
    delete from marts.fct_sale_item as line using marts.fct_sale as sale
    where sale.sale_id = line.sale_id and sale.sale_key = '{TWO_LINES}' and line.gross_sales = 12
    """
    assert audited.sql(lost) == 1
    assert audited.sql(f"update marts.fct_sale set gross_sales = 7 where sale_key = '{TWO_LINES}'") == 1
    assert red(of(audited.audit(), "till")) == {
        ("2024-03-01", "line_count"): (8, 7),
        ("2024-03-01", "gross_sales"): (Decimal("46.75"), Decimal("34.75")),
        ("2024-03-01", "gross_sales_of_lines"): (Decimal("46.75"), Decimal("34.75")),
    }


def test_a_refund_doubled_in_the_facts(audited: Audited) -> None:
    doubled = "update marts.fct_refund set returns = 2 * returns, amount_refunded = 2 * amount_refunded"
    assert audited.sql(f"{doubled} where refund_key = '{RETURNED}'") == 1
    found = red(of(audited.audit(), "till"))
    assert found["2024-03-06", "refunds"] == (Decimal("7.41"), Decimal("14.82"))
    assert found["2024-03-06", "returns"] == (7, 14)
    assert set(found) == {
        ("2024-03-06", m)
        for m in ("refunds", "returns", "net_product_sales", "net_sales", "total_collected")
    }  # fmt: skip


def test_a_cent_lost_in_a_summary(audited: Audited) -> None:
    assert audited.sql("update marts.sum_sales_day set tip = tip - 0.01 where tip = 0.75") == 1
    result = audited.audit()
    assert all(s.equal for s in result.sources)
    assert red_days(result) == {("2024-03-01", "tip")}


def test_hours_and_spend_are_compared_too(audited: Audited) -> None:
    assert audited.sql("update marts.fct_shift set hours = hours + 0.25 where hours = 8") > 0
    assert audited.sql("update marts.sum_marketing_day set spend = spend + 1 where business_date = '2024-03-13'") > 0
    result = audited.audit()
    assert {measure for _, measure in red(of(result, "rota"))} == {"hours"}
    assert ("2024-03-13", "spend") in red_days(result)


def test_a_modifier_lost_in_the_blocks(audited: Audited) -> None:
    alter(audited.data_of("till", "orders"), MODIFIED, lambda order: order["line_items"][0].pop("modifiers"))
    till = of(audited.audit(), "till")
    assert red(till) == {("2024-03-01", "line_count"): (7, 8)}
    assert [(d.natural_key, d.problem) for d in till.raw] == [(MODIFIED, "payload differs")]


def test_a_line_lost_in_the_blocks(audited: Audited) -> None:
    alter(audited.data_of("till", "orders"), TWO_LINES, lambda order: order["line_items"].pop())
    result = audited.audit()
    found = red(of(result, "till"))
    assert found["2024-03-01", "line_count"] == (7, 8)
    assert found["2024-03-01", "gross_sales"] == (Decimal("34.75"), Decimal("46.75"))
    assert {day for day, _ in found} == {"2024-03-01"}
    assert ("2024-03-01", "gross_sales") in red_days(result)
    assert [(str(c.business_date), paid - collected) for c, collected, paid in of(result, "till").identity] == [
        ("2024-03-01", 12)
    ]


def test_a_refund_doubled_in_the_blocks(audited: Audited) -> None:
    def doubled(refund: dict[str, Any]) -> None:
        refund["amount_money"]["amount"] *= 2

    alter(audited.data_of("till", "refunds"), REFUND, doubled)
    till = of(audited.audit(), "till")
    assert red(till) == {("2024-03-06", "refunds"): (Decimal("14.82"), Decimal("7.41"))}
    assert [(str(c.business_date), collected, paid) for c, collected, paid in till.identity] == [
        ("2024-03-06", Decimal("-7.41"), Decimal("-14.82"))
    ]


def test_a_selection_taken_off_in_the_blocks(audited: Audited) -> None:
    """Toast: the last of three pizzas, 15.25 on 20 April; 20.75 of that day were on a void check."""
    alter(
        audited.data_of("bar", "orders"), PIZZAS, lambda order: order["checks"][0]["selections"][2].update(voided=True)
    )
    found = red(of(audited.audit(), "bar"))
    assert found["2023-04-20", "gross_sales"] == (Decimal("205.75"), Decimal("221.00"))
    assert found["2023-04-20", "void_amount"] == (Decimal("36.00"), Decimal("20.75"))
    assert {day for day, _ in found} == {"2023-04-20"}


def test_a_cent_more_or_less_is_seen(audited: Audited) -> None:
    """A price of 12.50 that became 12.49, and one that is only spelled otherwise."""
    data = audited.data_of("bar", "orders")

    def price(value: str) -> Any:
        return lambda order: order["checks"][0]["selections"][0].update(preDiscountPrice=Decimal(value))

    alter(data, PIZZA, price("12.500"))
    assert audited.audit().equal
    alter(data, PIZZA, price("12.49"))
    assert red(of(audited.audit(), "bar"))["2023-04-20", "gross_sales"] == (Decimal("220.99"), Decimal("221.00"))


def test_a_record_that_raw_lost(audited: Audited) -> None:
    assert audited.sql("delete from raw.head where natural_key = '5eb75b2566ebbd6ae071b7923e1b'") == 1
    till = of(audited.audit(), "till")
    assert [(d.stream, d.natural_key, d.problem) for d in till.raw] == [
        ("orders", "5eb75b2566ebbd6ae071b7923e1b", "in the blocks, not in raw")
    ]


def test_a_block_that_was_not_loaded_and_one_that_is_gone(audited: Audited) -> None:
    audited.sql("delete from raw.loaded_blocks where stream = 'refunds'")
    gone = audited.data_of("bar", "menu_items")
    gone.unlink()
    gone.with_name(gone.name.replace(".jsonl.zst", ".manifest.json")).unlink()
    result = audited.audit()
    assert [p.problem for p in of(result, "till").ledger] == ["in the store, not loaded"]
    assert [p.problem for p in of(result, "bar").ledger] == ["None records stored, 5 in the ledger, 5 told"]


def test_a_damaged_block_is_its_sources_alone(audited: Audited) -> None:
    data = audited.data_of("till", "payments")
    whole = data.read_bytes()
    data.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    result = audited.audit()
    assert not result.equal
    assert "larder blocks show" in str(of(result, "till").damage)
    assert all(s.equal for s in result.sources if s.source != "till")
    assert result.summaries == [], "they cannot be compared without the till"
