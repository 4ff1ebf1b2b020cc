"""The main job, from nothing to marts that equal the receipts; a day later; and all of it once more from the blocks.

The tests run in the order of this file and move one world on.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ingestion.sandbox.data import load
from ingestion.sandbox.vendors.square.sale import token
from ingestion.sandbox.vendors.toast.visit import guid
from sharding.dbt_profiles import profiles, write_profiles
from sharding.ids import id_range
from sharding.settings import project_root
from tests.faults.record import compared
from tests.integration.conftest import BUSINESSES, DEMO, NOW, SINCE, World

KEYS = (
    "source_location source_employee source_item source_campaign sale sale_item payment discount refund shift ad_spend"
)
FACTS = "fct_sale fct_sale_item fct_payment fct_discount fct_refund fct_refund_item fct_shift fct_ad_spend"
BROOKLYN, PHILADELPHIA = "Jaffle Shop Brooklyn", "Jaffle Shop Philadelphia"
PRODUCTION = (
    "marts", "keys", "raw", "raw_square", "raw_toast", "raw_sevenshifts", "raw_meta_ads", "raw_lightspeed_r",
    "raw_deputy", "raw_google_ads", "raw_google_business", "raw_mailchimp", "intermediate", "meta", "bi",
)  # fmt: skip


def changes(world: World) -> dict[str, dict[str, tuple[int, int]]]:
    """Shard → model → rows (inserted, deleted) by the last command, which said it in JSON."""
    return {
        build["shard"]: {
            node["unique_id"].split(".")[-1]: (node["inserted"], node["deleted"])
            for node in build["result"]["nodes"]
            if node["inserted"] is not None
        }
        for build in world.said[-1].json["builds"]
        if build["result"]
    }


def reconciled(world: World) -> None:
    ran = world.larder("reconcile", "--json")
    assert [line for result in ran.json for line in result["differences"]] == []
    assert ran.code == 0 and {result["business"] for result in ran.json} == set(DEMO)
    assert all(source["equal"] and source["amounts"] for result in ran.json for source in result["sources"])
    compared("demo")


def test_from_nothing_to_marts_that_equal_the_receipts(world: World) -> None:
    first = world.said[0]
    assert first.code == 0, first.out + first.err
    assert first.out.count("equal to the cent") == 12
    assert "shard_1: built because never built" in first.out and "shard_2: built because never built" in first.out
    reconciled(world)


def test_plain_orders_are_the_datasets_to_the_cent(world: World) -> None:
    trade = load()
    # What a dataset's order comes to at the till, by the till's own id of it.
    tills = {
        "jaffle_shop": {token("order", order.id): order for order in trade.jaffle},
        "pizza_place": {guid("order", order.id): order for order in trade.pizza},
    }
    plain = {
        "jaffle_shop": "select natural_key, source_id from {raw}_square.orders_current"
        " where not payload ? 'metadata' and payload ->> 'state' = 'COMPLETED'",
        "pizza_place": "select natural_key, source_id from {raw}_toast.orders_current"
        " where payload ->> 'externalId' is null and payload ->> 'paidDate' is not null",
    }
    for business, orders in tills.items():
        sold = world.rows(
            business,
            f"select plain.natural_key, sale.gross_sales, sale.tax, sale.total_collected, sale.order_count"
            f" from ({plain[business]}) as plain"
            f" left join {{marts}}.fct_sale as sale"
            f" on sale.source_id = plain.source_id and sale.sale_key = plain.natural_key",
        )
        assert len(sold) > 150 and len({row[0] for row in sold}) == len(sold)
        mine = [(orders[number], gross, tax, total, count) for number, gross, tax, total, count in sold]
        assert [
            (o.id, gross, tax, total)
            for o, gross, tax, total, count in mine
            if (gross, tax, total, count) != (cents(o.subtotal), cents(o.tax), cents(o.subtotal + o.tax), 1)
        ] == []
        assert sum(row[3] for row in sold) == cents(sum(o.subtotal + o.tax for o, *_ in mine))
    # Nobody is missing: every order of the dataset since then is there, plain or not.
    began = datetime.fromisoformat(f"{SINCE}T00:00Z")
    known = {key for (key,) in world.rows("jaffle_shop", "select natural_key from {raw}_square.orders_current")}
    assert {key for key, order in tills["jaffle_shop"].items() if began <= order.instant < NOW} <= known


def cents(amount: int) -> Decimal:
    return Decimal(amount) / 100


def test_one_site_on_two_tills_a_rota_and_an_ad_account_is_one_location(world: World) -> None:
    ((brooklyn,),) = world.rows("jaffle_shop", "select id from {keys}.location where name = %s and id in"
                                " (select location_id from {marts}.fct_sale)", BROOKLYN)  # fmt: skip
    sources = {
        fact: {
            name
            for (name,) in world.rows(
                "jaffle_shop",
                f"select distinct name from {{marts}}.{fact} inner join {{keys}}.source on id = source_id"
                " where location_id = %s",
                brooklyn,
            )
        }
        for fact in ("fct_sale", "fct_shift", "fct_ad_spend")
    }
    assert sources == {"fct_sale": {"till", "bar"}, "fct_shift": {"rota"}, "fct_ad_spend": {"ads"}}
    days = world.rows(
        "jaffle_shop",
        "select order_count, net_sales, labour_hours, allocated_spend from {marts}.sum_location_day"
        " where location_id = %s and business_date = %s",
        brooklyn,
        date(2024, 4, 1),
    )
    ((orders, net, hours, spend),) = days
    assert (orders, net) == world.rows(
        "jaffle_shop",
        "select sum(order_count)::bigint, sum(net_sales) - (select coalesce(sum(returns), 0) from {marts}.fct_refund"
        " where location_id = %(at)s and business_date = '2024-04-01') from {marts}.fct_sale"
        " where location_id = %(at)s and business_date = '2024-04-01'".replace("%(at)s", str(brooklyn)),
    )[0]
    assert orders and net > 0 and hours > 0 and spend > 0
    traded = world.rows(
        "jaffle_shop",
        "select distinct location_name from {marts}.dim_location inner join {marts}.fct_sale using (location_id)"
        " where business_name = 'Jaffle Shop'",
    )
    assert {name for (name,) in traded} == {BROOKLYN, PHILADELPHIA}


def test_every_id_has_its_businesses_bits_also_below_zero(world: World) -> None:
    for business in BUSINESSES:
        # The ids of a shard lie between those of the businesses that live there, and each in its own's.
        here = [id_range(number) for name, number in DEMO.items() if world.shard_of(name) == world.shard_of(business)]
        assert all((high < 0) == (business == "pizza_place") for _, high in here)
        inside = " or ".join(f"{{id}} >= {low} and {{id}} < {high}" for low, high in here)
        for table in (
            *(f"{{keys}}.{key}" for key in KEYS.split()),
            "{keys}.location",
            "{keys}.item",
            "{keys}.employee",
        ):
            beside = f"select count(*) from {table} where not ({inside.format(id='id')})"
            assert world.one(business, beside) == 0, table
        for fact in FACTS.split():
            beside = f"select count(*) from {{marts}}.{fact} where not ({inside.format(id='source_id')})"
            assert world.one(business, beside) == 0, fact
    at = str(world.one("pizza_place", "select min(sale_id) from {marts}.fct_sale"))
    ran = world.larder(
        "sql", "--shard", "shard_2", f"select sale_id, sale_id_text from bi.fct_sale where sale_id = {at}", "--json"
    )
    assert ran.code == 0, ran.err
    assert {str(value) for value in json.loads(ran.out)[0].values() if str(value).startswith("-")} == {at}


def test_again_there_is_nothing_to_do_and_it_says_so(world: World) -> None:
    before = world.checksums("marts", "keys", "raw", "meta")
    for command in ("demo", "cycle"):
        ran = world.larder(command)
        assert ran.code == 0, ran.out + ran.err
        assert "Nothing new: no stream was due or gave a block, no shard has anything to build." in ran.out
    assert world.larder("cycle", "--json").json["idle"] is True
    assert world.larder("cycle", "--probe").out == "nothing is due\n"
    assert world.checksums("marts", "keys", "raw", "meta") == before


@pytest.fixture(scope="module")
def checkout(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own files under another root, whose profiles.yml is this world's and not a person's."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("dbt_project.yml", "dbt_project", "macros", "seeds"):
        if (project_root() / name).exists():
            (folder / name).symlink_to(project_root() / name)
    assert write_profiles(world.shards, folder / ".larder") == folder / "profiles.yml"
    return folder


def dbt(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Plain dbt, as an analytics engineer runs it after `larder up`: nothing of Larder's in the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LARDER_", "DBT_"))}
    command = [str(Path(sys.executable).with_name("dbt")), *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300)


def schemas(world: World) -> set[str]:
    return {name for (name,) in world.rows("jaffle_shop", "select nspname from pg_namespace where nspname !~ '^pg_'")}


def test_the_default_target_writes_a_schema_of_ones_own_and_nothing_else(world: World, checkout: Path) -> None:
    personal = str(profiles(world.shards, getpass.getuser())["larder"]["outputs"]["dev"]["schema"])
    before, there = world.checksums(*PRODUCTION), schemas(world)
    assert len(before) > 100
    ran = dbt(checkout, "build")
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert f"Target dev: development, in {personal} alone" in ran.stdout
    assert schemas(world) - there == {personal}
    assert world.checksums(*PRODUCTION) == before

    mine, production = (
        dict(world.rows("jaffle_shop", f"select business_date, sum(net_sales) from {schema}.fct_sale group by 1"))
        for schema in (personal, "marts")
    )
    assert mine == production
    made, of_production = (
        {model for (model,) in world.rows("jaffle_shop", f"select model from {schema}.model_change")}
        for schema in (personal, "meta")
    )
    assert len(made) > 30 and {model[:5] for model in of_production ^ made} == {"keys_"}, "production's keys serve both"
    assert world.one("jaffle_shop", f"select count(*) from {personal}.mark") == 0
    assert "Nothing new" in world.larder("cycle").out, "production's mark has not moved"


def test_a_shards_name_is_production(world: World, checkout: Path) -> None:
    runs = "select count(*) from meta.run"
    before = world.one("jaffle_shop", runs)
    ran = dbt(checkout, "build", "--target", "shard_1", "--select", "dim_business")
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert world.one("jaffle_shop", runs) == before + 1
    assert "Target shard_1: PRODUCTION" in ran.stdout


@pytest.fixture(scope="module")
def a_day_later(world: World) -> Iterator[dict[str, Any]]:
    """Facts before and after a day and a cycle, by business and table; and what the cycle reported."""
    facts = {"fct_sale": "sale_id", "fct_refund": "refund_id", "fct_shift": "shift_id", "fct_ad_spend": "ad_spend_id"}

    def now() -> dict[tuple[str, str], dict[Any, dict[str, Any]]]:
        return {
            (business, fact): {
                tuple(row[c] for c in (key, "business_date") if fact == "fct_shift" or c == key): row
                for (row,) in world.rows(business, f"select to_jsonb(f) from {{marts}}.{fact} as f")
            }
            for business in BUSINESSES
            for fact, key in facts.items()
        }

    before, marks = now(), {b: world.one(b, "select pg_current_snapshot()::text") for b in BUSINESSES}
    assert world.larder("sandbox", "advance", "1d").code == 0
    ran = world.larder("cycle", "--json")
    assert ran.code == 0, ran.out[-3000:] + ran.err
    yield {"before": before, "after": now(), "marks": marks, "report": ran.json, "changes": changes(world)}


def test_a_day_later_only_what_changed_is_changed(world: World, a_day_later: dict[str, Any]) -> None:
    for shard in ("shard_1", "shard_2"):
        done = a_day_later["changes"][shard]
        changed = {model for model, rows in done.items() if rows != (0, 0)}
        assert not changed & {"dim_business", "dim_item", "dim_location", "dim_employee", "dim_campaign"}
        assert {"fct_sale", "fct_sale_item", "fct_payment", "fct_shift", "sum_sales_day", "sum_location_day"} <= {
            model for model, rows in done.items() if rows[0]
        }
    for business in BUSINESSES:
        # A row of a fact differs only where raw says that its record is new.
        fed = {
            key
            for (table,) in world.rows(business, "select format('raw_%I.%I', integration, stream) from {raw}.stream")
            for (key,) in world.rows(
                business,
                f"select natural_key from {table} where not pg_visible_in_snapshot(xid, %s::pg_snapshot)",
                a_day_later["marks"][business],
            )
        }
        before, after = a_day_later["before"][business, "fct_sale"], a_day_later["after"][business, "fct_sale"]
        differing = [
            row for key in before.keys() | after.keys() if before.get(key) != after.get(key)
            for row in (before.get(key) or after[key],)
        ]  # fmt: skip
        assert differing and {row["sale_key"] for row in differing} <= fed
    reconciled(world)


@pytest.mark.fault(21)
def test_a_late_refund_counts_on_its_own_day_and_keeps_the_sales_day(world: World, a_day_later: dict[str, Any]) -> None:
    for business in BUSINESSES:
        before, after = a_day_later["before"][business, "fct_refund"], a_day_later["after"][business, "fct_refund"]
        late = [row for key, row in after.items() if key not in before and row["original_business_date"]]
        assert {(row["business_date"], row["original_business_date"]) for row in late} >= {("2024-04-02", "2024-04-01")}
        for row in late:
            was = a_day_later["before"][business, "fct_sale"].get((row["sale_id"],))
            if was:  # sold before this cycle: the sale of that day stays as it was sold
                assert was["business_date"] == row["original_business_date"]
                assert a_day_later["after"][business, "fct_sale"][row["sale_id"],]["gross_sales"] == was["gross_sales"]
        assert all(row["amount_refunded"] > 0 for row in late)


def test_a_shift_is_corrected_and_spend_restated(world: World, a_day_later: dict[str, Any]) -> None:
    for business in BUSINESSES:
        before, after = a_day_later["before"][business, "fct_shift"], a_day_later["after"][business, "fct_shift"]
        ended = {key for key, row in before.items() if row["clocked_out_at"]}
        corrected = {key for key in ended & after.keys() if before[key]["hours"] != after[key]["hours"]}
        assert corrected or ended - after.keys(), business
        before, after = a_day_later["before"][business, "fct_ad_spend"], a_day_later["after"][business, "fct_ad_spend"]
        less = {key for key in before.keys() & after.keys() if after[key]["spend"] < before[key]["spend"]}
        assert less, business
        assert {before[key]["business_date"] for key in less} < {str(date(2024, 3, day)) for day in range(5, 32)} | {
            "2024-04-01"
        }


def test_a_sale_of_yesterday_is_voided_or_corrected(a_day_later: dict[str, Any]) -> None:
    for business in BUSINESSES:
        before, after = a_day_later["before"][business, "fct_sale"], a_day_later["after"][business, "fct_sale"]
        changed = [(before[key], after[key]) for key in before.keys() & after.keys() if before[key] != after[key]]
        assert [a for b, a in changed if (b["sale_status"], a["sale_status"]) == ("completed", "void") or
                (a["sale_status"] == "completed" and a["gross_sales"] < b["gross_sales"])], business  # fmt: skip
        assert all(b["business_date"] == a["business_date"] for b, a in changed if b["sale_status"] != "open")


def test_what_is_decided_of_the_past_moves_what_it_touches_and_no_model_misses_it(
    world: World, a_day_later: dict[str, Any]
) -> None:
    """A later start of the day from a date on, a shorter week, a campaign for one site, another day and week to compare
    with: all in one cycle of facets, then every model is compared with its own SELECT over everything."""
    brooklyn = "jaffle_shop/Jaffle Shop Brooklyn"
    for decision in (
        ("set-location", brooklyn, "--day-start", "06:00", "--from", "2024-03-31"),
        ("set-location", "pizza_place/Pizza Place Chicago", "--overtime-weekly-hours", "20"),
        ("set", "campaign", "jaffle_shop/ads:23851234567890102", "Jaffle Shop Philadelphia", "--from", "2024-04-01"),
        ("compare", "jaffle_shop", "--day", "2024-03-31", "--with", "2024-03-24", "--because", "Easter"),
        ("compare", "pizza_place", "--week", "2024-03-25", "--with", "2024-03-18", "--because", "open since February"),
    ):
        assert world.larder("map", *decision).code == 0, world.said[-1]
    assert world.larder("cycle").code == 0, world.said[-1]
    verified = world.larder("verify")
    assert verified.code == 0 and "no difference" in verified.out, verified
    compared = "select distinct {} from {{marts}}.sum_sales_like_for_like_{} where {}"
    days = world.rows("jaffle_shop", compared.format("business_date_before", "day", "business_date = '2024-03-31'"))
    assert (date(2024, 3, 24),) in days, "of this business; others of the shard have decided nothing"
    weeks = world.rows("pizza_place", compared.format("week_begins_on_before", "week", "week_begins_on = '2024-03-25'"))
    assert (date(2024, 3, 18),) in weeks
    months = "first_date_before, last_date_before", "month", "month_start = '2024-03-01'"
    for business, last in (("jaffle_shop", date(2024, 3, 24)), ("pizza_place", date(2024, 3, 24))):
        rows = world.rows(business, compared.format(*months))
        assert (date(2023, 3, 3), last) in rows, "a month's days are compared by day and by week"
    reconciled(world)


def test_all_once_more_from_the_blocks_is_the_same_with_the_same_ids(world: World, a_day_later: dict[str, Any]) -> None:
    def rows() -> dict[str, str]:
        """All marts and keys. The counters are drawn on by raw's versions, too, which are written once more."""
        return {name: digest for name, digest in world.checksums("marts", "keys").items() if "counter" not in name}

    before = rows()
    assert "Nothing new" in world.larder("cycle").out
    for business in BUSINESSES:
        versions = "select distinct format('{raw}_%I.%I', integration, stream) from {raw}.feed"
        tables = [name for (name,) in world.rows(business, versions)]
        tables += ["{raw}.loaded_blocks", "{raw}.head", "{raw}.complete_window", "{raw}.feed", "{raw}.build_mark"]
        world.rows(business, f"truncate {', '.join(tables)}")
    world.control("update control.blocks set loaded_at = null")
    assert world.larder("load").code == 0
    ran = world.larder("build", "--full-refresh", "--no-tests", "--json")
    assert ran.code == 0, ran.out[-3000:] + ran.err
    assert rows() == before
    reconciled(world)
