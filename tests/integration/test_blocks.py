"""Where a record of the demo went, and its days read again."""

from __future__ import annotations

from typing import Any

from tests.integration.conftest import World


def orders_block(world: World) -> str:
    listed = world.larder("blocks", "list", "--source", "jaffle_shop/till", "--stream", "orders", "--json").json
    return str(listed[-1]["block"])


def test_a_record_is_followed_to_its_summaries(world: World) -> None:
    shown = world.larder("blocks", "show", orders_block(world), "--records", "1", "--json").json
    [record] = shown["records"]
    assert record["outcome"] == "version"
    went: dict[str, Any] = record["went_to"]
    [(sale, location, day)] = world.rows(
        "jaffle_shop",
        "select sale_id::text, location_id::text, business_date::text from marts.fct_sale where root_key = %s",
        record["natural_key"],
    )
    assert [str(row["sale_id"]) for row in went["fct_sale"]] == [sale]
    [facet] = went["sum_sales_day"]
    assert (str(facet["location_id"]), facet["business_date"]) == (location, day)
    lines = world.rows("jaffle_shop", "select sale_item_id from marts.fct_sale_item where sale_id = %s", sale)
    assert len(went["fct_sale_item"]) == len(lines) > 0 and went["fct_payment"]
    [in_day] = [row for row in went["sum_location_day"] if row["business_date"] == day]
    assert in_day and len(went["sum_location_day"]) == 1, "no day but its own"


def test_days_that_are_known_change_nothing_when_read_again(world: World) -> None:
    told = world.larder(
        "reimport", "--business", "jaffle_shop", "--source", "till", "--from", "2024-03-30", "--to", "2024-03-31",
        "--dry-run", "--json",
    ).json  # fmt: skip
    assert told["days"] == [] and told["unchanged"] > 50
    assert {one["stream"] for one in told["read"]} == {"orders", "payments", "refunds", "timecards"}
