"""An integration that nobody here has heard of: a folder outside the repository, and nothing else.

Its folder is written by the test; no file of the checkout names it. From its pages, over HTTP, to unified facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sharding.settings import project_root
from tests.conftest import Server
from tests.integration.conftest import World, new_world

FOLDER = {
    "integration.yml": """
name: bento
title: Bento Box
kind: pos
docs: https://bento.example/docs
base_url: https://api.bento.example
auth: {type: bearer}
rate_limit: {requests: 100}
money: decimal_string
time_zone: utc
streams:
  - name: shops
    about: Shops
    path: /shops
    records: shops
    natural_key: id
    deletes: snapshot
    cadence: 1d
    feeds: [location]
  - name: tickets
    about: Tickets with their lines
    path: /tickets
    params: {since: "{from}", until: "{to}"}
    records: tickets
    natural_key: number
    modified: {path: changed_at}
    cursor: {format: iso_seconds_z}
    paging: {type: cursor_query, cursor: next, send_as: after}
    deletes: soft_flag
    deleted_flag: torn
    feeds: [sale, sale_item]
""",
    "models/staging/stg_bento__shops.sql": """
select
    source_id,
    natural_key as shop_key,
    payload ->> 'name' as shop_name,
    payload ->> 'zone' as timezone
from {{ source('raw_bento', 'shops_current') }}
""",
    "models/staging/stg_bento__tickets.sql": """
select
    source_id,
    natural_key as ticket_key,
    payload ->> 'shop' as shop_key,
    coalesce((payload ->> 'torn')::boolean, false) as is_torn,
    payload -> 'lines' as ticket_lines,
    (payload ->> 'tax')::numeric as tax,
    (payload ->> 'paid_at')::timestamptz as paid_at
from {{ source('raw_bento', 'tickets_current') }}
""",
    "models/staging/_bento__models.yml": """
models:
  - {name: stg_bento__shops, description: Shops.}
  - {name: stg_bento__tickets, description: Tickets.}
""",
    "models/intermediate/int_bento__locations.sql": """
select
    source_id,
    shop_key as natural_key,
    shop_name as location_name,
    timezone,
    null as day_start,
    'JPY' as currency,
    'JP' as country,
    null as region,
    null as locality,
    null as postal_code,
    null as address_line,
    true as is_active,
    true as is_till
from {{ ref('stg_bento__shops') }}
""",
    "models/intermediate/int_bento__sales.sql": """
select
    source_id,
    ticket_key as natural_key,
    shop_key as location_key,
    ticket_key as order_number,
    case when is_torn then 'void' else 'completed' end as sale_status,
    'takeaway' as channel,
    null as vendor_channel,
    null as till_name,
    null as employee_key,
    'JPY' as currency,
    null as vendor_business_date,
    paid_at as opened_at,
    paid_at as closed_at,
    paid_at as counted_at,
    null as covers,
    0 as service_charge,
    0 as gratuity,
    tax,
    0 as tip,
    0 as rounding,
    null as vendor_total
from {{ ref('stg_bento__tickets') }}
""",
    "models/intermediate/int_bento__sale_items.sql": """
select
    tickets.source_id,
    tickets.ticket_key || '|' || line.number as natural_key,
    tickets.ticket_key as sale_key,
    null as parent_key,
    null as item_key,
    null as employee_key,
    line.number as line_number,
    'item' as line_type,
    line.value ->> 'what' as item_name,
    null as variation_name,
    null as category_name,
    'JPY' as currency,
    (line.value ->> 'n')::numeric as quantity,
    (line.value ->> 'each')::numeric as unit_price,
    (line.value ->> 'n')::numeric * (line.value ->> 'each')::numeric as amount,
    0 as discount,
    0 as comp,
    0 as tax_included,
    tickets.tax as tax_added,
    false as is_void,
    null as void_reason
from {{ ref('stg_bento__tickets') }} as tickets
cross join lateral jsonb_array_elements(tickets.ticket_lines) with ordinality as line (value, number)
""",
    "models/intermediate/_bento__intermediate.yml": """
models:
  - {name: int_bento__locations, description: Shops.}
  - {name: int_bento__sales, description: Tickets.}
  - {name: int_bento__sale_items, description: Lines of tickets.}
""",
}
PAGES = {
    None: {
        "tickets": [
            {"number": "T1", "shop": "S1", "tax": "118", "paid_at": "2024-04-01T15:30:00Z",
             "changed_at": "2024-04-01T15:30:00Z",
             "lines": [{"what": "Onigiri", "n": "3", "each": "160"}, {"what": "Bento", "n": "1", "each": "700"}]},
        ],
        "next": "p2",
    },
    "p2": {
        "tickets": [
            {"number": "T2", "shop": "S1", "tax": "16", "paid_at": "2024-04-01T14:00:00Z",
             "changed_at": "2024-04-01T16:00:00Z", "torn": True,
             "lines": [{"what": "Onigiri", "n": "1", "each": "160"}]},
        ],
    },
}  # fmt: skip


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """An installation that knows a folder of integrations outside the checkout."""
    for name, text in FOLDER.items():
        file = tmp_path / "ours" / "bento" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip())
    with new_world(server, "shard_1") as made:
        made.environment["LARDER_INTEGRATIONS_PATH"] = str(tmp_path / "ours")
        made.catalogue.add_business("kiosk", "Kiosk", "shard_1", business=9)
        yield made


def serve(vendor: HTTPServer) -> None:
    def tickets(request: Request) -> Response:
        assert request.args["since"] == "2024-04-01T00:00:00Z"
        return Response(json.dumps(PAGES[request.args.get("after")]), content_type="application/json")

    vendor.expect_request("/shops", headers={"Authorization": "Bearer open sesame"}).respond_with_json(
        {"shops": [{"id": "S1", "name": "Kiosk at the gate", "zone": "Asia/Tokyo"}]}
    )
    vendor.expect_request("/tickets").respond_with_handler(tickets)


def test_a_folder_is_an_integration(world: World, httpserver: HTTPServer) -> None:
    serve(httpserver)
    (world.home / "bento").write_text("open sesame")
    added = world.larder(
        "source", "add", "kiosk", "bento", "--set", f"base_url={httpserver.url_for('')}", "--set", "since=2024-04-01",
        "--secret", "file:bento",
    )  # fmt: skip
    assert added.code == 0, added
    assert world.larder("source", "check").code == 0, world.said[-1]

    # extraction and blocks
    assert world.larder("extract").code == 0, world.said[-1]
    blocks = world.larder("blocks", "list", "--json").json
    assert {(block["stream"], block["records"]) for block in blocks} == {("shops", 1), ("tickets", 2)}

    # raw
    assert world.larder("load").code == 0, world.said[-1]
    raw = "select natural_key, payload ->> 'tax' from {raw}_bento.tickets_current order by 1"
    assert world.rows("kiosk", raw) == [("T1", "118"), ("T2", "16")]

    # staging and unified facts
    assert world.larder("build", "--select", "+fct_sale", "--select", "+dim_location", "--no-tests").code == 0, (
        world.said[-1]
    )
    assert world.one("kiosk", "select count(*) from {staging}.stg_bento__tickets") == 2
    # T1: 3 × 160 + 700 = 1180; 15:30 UTC is half past midnight of 2 April in Tokyo, where the day starts at four
    # T2 was torn up: it counts nothing
    columns = "sale_key, business_date::text, sale_status, gross_sales, tax, total_collected"
    assert world.rows("kiosk", f"select {columns} from {{marts}}.fct_sale order by 1") == [
        ("T1", "2024-04-01", "completed", Decimal("1180.0000"), Decimal("118.0000"), Decimal("1298.0000")),
        ("T2", "2024-04-01", "void", Decimal(0), Decimal(0), Decimal(0)),
    ]
    names = "select l.location_name from {marts}.fct_sale as s inner join {marts}.dim_location as l using (location_id)"
    assert {name for (name,) in world.rows("kiosk", names)} == {"Kiosk at the gate"}

    root = project_root()
    own = [*root.glob("macros/**/*.sql"), *root.glob("dbt_project/**/*.sql"), *root.glob("ingestion/**/*.yml")]
    assert [file for file in own if "bento" in file.read_text()] == [], "the checkout knows nothing of it"


def test_records_that_feed_nothing_are_in_raw_and_what_lacks_its_model_is_said(
    world: World, httpserver: HTTPServer, tmp_path: Path
) -> None:
    folder = tmp_path / "ours" / "bento"
    (folder / "models/intermediate/int_bento__sales.sql").unlink()
    built = world.larder("build")
    assert built.code == 2
    assert "feeds sale, but there is no models/intermediate/int_bento__sales.sql" in built.err
