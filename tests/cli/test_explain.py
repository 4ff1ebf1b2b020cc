"""`larder explain` on the made-up vendor: receipts, refunds, corrections, and one that left the day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pytest_httpserver import HTTPServer

from orchestration.cycle import run_cycle
from sharding.settings import Settings, get_settings
from tests.cli.conftest import Ran
from tests.cli.world import shop_world
from tests.conftest import Server
from tests.orchestration.shop import INTEGRATION, Shop, write_project

FACT = """
{{{{ config(unique_key=['source_id', 'natural_key']) }}}}
with sales as (select * from {{{{ ref('stg_acme__sales') }}}})
select source_id, natural_key, root_key, location_id, business_date, cashier, total from sales where {which}
"""
MODELS = {
    "staging/acme/stg_acme__sales.sql": """
select
    source_id, natural_key, coalesce(payload ->> 'refund_of', natural_key) as root_key, source_id as location_id,
    payload ->> 'cashier' as cashier, payload ->> 'refund_of' is not null as is_refund,
    (payload ->> 'total')::numeric(19, 4) as total, (payload ->> 'day')::date as business_date
from {{ source('raw_acme', 'sales_current') }}
""",
    "marts/fct_sale.sql": FACT.format(which="not is_refund"),
    "marts/fct_refund.sql": FACT.format(which="is_refund"),
    "marts/sum_sales_hour.sql": """
{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']) }}
select
    location_id, business_date, sum(total)::numeric(19, 4) as net_sales, count(distinct cashier) as cashiers
from (
    select location_id, business_date, cashier, total from {{ ref('fct_sale') }}
    union all
    select location_id, business_date, cashier, -total from {{ ref('fct_refund') }}
) as movements
group by 1, 2
""",
    "marts/sum_sales_day.sql": """
{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']) }}
select location_id, business_date, 'USD'::text as currency, net_sales, cashiers from {{ ref('sum_sales_hour') }}
""",
}


@dataclass(frozen=True)
class World:
    """The shop after its trade, and the source that is its location too."""

    shop: Shop
    source: int


@pytest.fixture(scope="module")
def world(server: Server, make_httpserver: HTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("explain")
    with shop_world(server, make_httpserver, folder) as shop:
        write_project(folder)
        for name, text in MODELS.items():
            (folder / "project" / "dbt_project" / "models" / name).write_text(text)
        linked = INTEGRATION.replace("    cursor: {lag", "    links: refund_of\n    cursor: {lag")
        (folder / "integrations" / "acme" / "integration.yml").write_text(linked)

        def trade(*sales: tuple[str, str, dict[str, str]]) -> None:
            shop.now += timedelta(minutes=20)
            for key, total, more in sales:
                shop.sell("cafe", key, total)
                shop.sales["cafe"][-1] |= {"cashier": "c1", **more}
            report = run_cycle(shop.installation)
            assert report.loaded and not report.failures, report

        trade(("s1", "10.00", {}), ("s2", "5.25", {}), ("s3", "1.00", {}))
        trade(("s3", "1.00", {"day": "2025-03-09"}))
        trade(("r1", "4.20", {"refund_of": "s1"}), ("s2", "6.25", {}))
        [source] = [s.id for s in shop.installation.catalogue.sources() if s.business_name == "cafe"]
        yield World(shop, source)


@pytest.fixture
def settings(world: World) -> Settings:
    """The installation of the whole module, for the command line."""
    return get_settings()


def test_a_number_is_told_by_its_receipts_and_what_changed_it(larder: Callable[..., Ran], world: World) -> None:
    asked = ("explain", "sum_sales_day", "--location", str(world.source), "--date", "2025-03-10")
    ran = larder(*asked, "--json")
    assert ran.code == 0, ran.out + ran.err
    told = ran.json
    assert (told["number"], told["adds_up"], told["from_no_record"]) == ({"USD": "12.0500"}, True, {})
    parts = {(part["fact"], part["record"]): part["amounts"]["USD"] for part in told["parts"]}
    assert parts == {("fct_sale", "s1"): "10.0000", ("fct_sale", "s2"): "6.2500", ("fct_refund", "s1"): "-4.2000"}
    of_s2 = next(part for part in told["parts"] if part["record"] == "s2")
    assert [version["record"] for version in of_s2["versions"]] == ["s2", "s2"]
    of_refund = next(part for part in told["parts"] if part["fact"] == "fct_refund")
    assert {version["record"] for version in of_refund["versions"]} == {"s1", "r1"}
    history = [(c["fact"], c["amounts"]["USD"], c["records"], c["after"]["USD"]) for c in told["history"]]
    assert history == [
        ("fct_sale", "16.2500", ["s1", "s2", "s3"], "16.2500"),
        ("fct_sale", "-1.0000", ["s3"], "15.2500"),
        ("fct_refund", "-4.2000", ["s1"], "11.0500"),
        ("fct_sale", "1.0000", ["s2"], "12.0500"),
    ]
    of_changes = [change["block"] for change in told["history"]]
    assert len(set(of_changes)) == 3 and set(of_changes) <= set(told["blocks"])
    for block in told["blocks"].values():
        assert block["http"]["requests"] == 1 and "/sales?from=" in block["http"]["first_url"]

    printed = larder(*asked).out
    assert "3 parts, together 12.05 USD: which is the number" in printed
    assert "-4.20 USD" in printed and "What changed it when" in printed


def test_what_is_no_sum_says_so(larder: Callable[..., Ran], world: World) -> None:
    asked = ("explain", "sum_sales_day", "--location", str(world.source), "--date", "2025-03-10")
    ran = larder(*asked, "--column", "cashiers")
    assert ran.code == 5
    assert (
        "3 parts, together 3.00 USD: but the number is 1.00 USD" in ran.out and "not every number is a sum" in ran.out
    )


def test_a_table_that_is_not_what_its_receipts_give(larder: Callable[..., Ran], world: World) -> None:
    asked = ("explain", "sum_sales_day", "--location", str(world.source), "--date", "2025-03-09")
    assert larder(*asked).code == 0
    world.shop.rows(0, "update marts.sum_sales_day set net_sales = 2 where business_date = '2025-03-09'")
    ran = larder(*asked)
    assert ran.code == 5 and "1 parts, together 1.00 USD: but the number is 2.00 USD" in ran.out
    world.shop.rows(0, "update marts.sum_sales_day set net_sales = 1 where business_date = '2025-03-09'")


def test_a_decision_of_a_person_is_told(larder: Callable[..., Ran], world: World) -> None:
    business = "select id, keys.make_id(keys.business_of(id), 0) from keys.source"
    world.shop.rows(
        0, f"insert into keys.location (id, parent_id, name) select t.*, 'High Street' from ({business}) as t"
    )
    world.shop.rows(
        0,
        "insert into keys.location_setting (location_id, timezone, decided_by) select id, 'Europe/London', 'Ada'"
        " from keys.location",
    )
    ran = larder("explain", "sum_sales_day", "--location", "cafe/High Street", "--date", "2025-03-10")
    assert "Ada decided: time zone Europe/London, the day begins at 04:00:00, from -infinity until infinity" in ran.out


def test_wrong_questions_are_answered(larder: Callable[..., Ran], world: World) -> None:
    place = ("--location", str(world.source))
    assert "no date" in larder("explain", "sum_sales_day", *place, "--date", "monday").err
    assert "of which location" in larder("explain", "sum_sales_day", "--date", "2025-03-10").err
    assert "no model 'sum_sail'" in larder("explain", "sum_sail", *place, "--date", "2025-03-10").err
    assert "it has no facet" in larder("explain", "fct_sale", *place, "--date", "2025-03-10").err
    assert "has no row of" in larder("explain", "sum_sales_day", *place, "--date", "2020-01-01").err
    wrong = larder("explain", "sum_sales_day", *place, "--date", "2025-03-10", "--column", "sales").err
    assert "no number 'sales'; it has net_sales, cashiers" in wrong
