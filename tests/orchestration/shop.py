"""A made-up vendor over real HTTP, two businesses on two shards, and a dbt project over the vendor's sales."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestration.cycle import Installation
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.settings import Settings
from tests.parsed import write_parsed

INTEGRATION = """
name: acme
title: Acme
kind: pos
docs: https://acme.example
base_url: https://acme.example
auth: {type: bearer}
rate_limit: {requests: 10000}
money: decimal
time_zone: utc
streams:
  - name: sales
    about: Sales
    path: /sales
    params: {from: "{from}", to: "{to}"}
    records: data
    natural_key: id
    modified: {path: changed}
    cursor: {lag: 5m, initial: 10d}
    paging: {type: cursor_query, cursor: next}
"""

SCHEMAS = """
{% macro generate_schema_name(custom_schema_name, node) -%}
{{ env_var('LARDER_SCHEMA_PREFIX', '') }}{{ custom_schema_name or 'staging' }}
{%- endmacro %}
"""

PROJECT = {
    "dbt_project.yml": """
name: larder
profile: larder
model-paths: [dbt_project/models]
macro-paths: [macros]
on-run-start: ["{{ prepare_changed_facets() }}"]
on-run-end: ["{{ note_tests(results) }}", "{{ prune_feeds() }}"]
models:
  larder:
    staging: {+schema: staging, +materialized: view}
    marts: {+schema: marts, +materialized: changed_facets}
""",
    "macros/schemas.sql": SCHEMAS,
    "dbt_project/models/staging/acme/_acme.yml": """
sources:
  - name: raw_ledger
    schema: raw
    tables: [{name: feed}]
  - name: raw_acme
    tables:
      - name: sales_current
        config:
          meta:
            feed: {name: raw, table: feed, beside: raw_ledger.feed, filter: "integration = 'acme' and stream = 'sales'"}
""",
    "dbt_project/models/staging/acme/stg_acme__sales.sql": """
select
    source_id as location_id,
    natural_key,
    (payload ->> 'total')::numeric(19, 4) as total,
    (payload ->> 'day')::date as business_date
from {{ source('raw_acme', 'sales_current') }}
""",
    "dbt_project/models/marts/fct_sale.sql": """
{{ config(unique_key=['location_id', 'natural_key']) }}
select * from {{ ref('stg_acme__sales') }}
""",
    "dbt_project/models/marts/sum_sales_day.sql": """
{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']) }}
select location_id, business_date, 'USD'::text as currency, coalesce(sum(total), 0)::numeric(19, 4) as net_sales
from {{ ref('fct_sale') }} group by 1, 2
""",
    "dbt_project/models/marts/forecast_sales_day.sql": """
{{ config(materialized='table') }}
select * from {{ source('python', 'forecast_sales_day') }}
""",
    "dbt_project/models/marts/_marts.yml": """
sources:
  - name: python
    schema: intermediate
    tables:
      - name: forecast_sales_day
        identifier: python_forecast_sales_day
        columns:
          - {name: location_id, data_type: bigint}
          - {name: business_date, data_type: date}
          - {name: currency, data_type: text}
          - {name: forecast_net_sales, data_type: "numeric(19, 4)"}
          - {name: weekdays_used, data_type: smallint}
          - {name: last_actual_date, data_type: date}
models:
  - name: fct_sale
    columns:
      - {name: total, data_tests: [not_null]}
""",
}


@dataclass
class Shop:
    """The vendor's sales by business, and an installation with business `cafe` on shard_1 and `diner` on shard_2."""

    installation: Installation
    shards: tuple[Shard, Shard]
    sales: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"cafe": [], "diner": []})
    broken: set[str] = field(default_factory=set)
    now: datetime = datetime(2025, 3, 10, 12, tzinfo=UTC)

    def clock(self) -> datetime:
        return self.now

    def sell(self, business: str, key: str, total: object, day: str = "2025-03-10") -> None:
        """Put a sale, or a new version of one, on the vendor's books."""
        changed = self.now.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.sales[business].append({"id": key, "total": total, "day": day, "changed": changed})

    def answer(self, request: Request) -> Response:
        business = request.headers["Authorization"].removeprefix("Bearer ")
        if business in self.broken:
            return Response(json.dumps({"error": "bad token"}), 401)
        window = request.args["from"], request.args["to"]
        data = [s for s in self.sales[business] if window[0] <= s["changed"] <= window[1]]
        return Response(json.dumps({"data": data}), 200, content_type="application/json")

    def rows(self, shard: int, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on one of the two shards (0 or 1)."""
        with closing(psycopg2.connect(self.shards[shard].dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(self.shards[shard].render(query))
            return cur.fetchall() if cur.description else []


def with_changed_facets(project: Path) -> None:
    """Give a project the macros by which its models follow changes."""
    macros = Path(__file__).parents[2] / "macros" / "changed_facets"
    shutil.copytree(macros, project / "macros" / macros.name, dirs_exist_ok=True)


def write_models(project: Path) -> None:
    """The dbt project alone."""
    for name, text in PROJECT.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with_changed_facets(project)


def write_project(folder: Path) -> None:
    """The dbt project in `folder / "project"`, what dbt parsed of it in `folder / "dbt"`, and the vendor's declaration
    in `folder / "integrations"`."""
    write_parsed(write_models, folder / "project", folder / "dbt")
    declaration = folder / "integrations" / "acme" / "integration.yml"
    declaration.parent.mkdir(parents=True, exist_ok=True)
    declaration.write_text(INTEGRATION)


def open_shop(
    folder: Path,
    project: Path,
    httpserver: HTTPServer,
    settings: Settings,
    make_shard: Callable[..., Shard],
    register: Callable[[Shard], Catalogue],
) -> Shop:
    """Set all of it up: secrets and blocks under `folder`, over the files that `write_project(project)` wrote. The
    caller puts `project / "integrations"` on LARDER_INTEGRATIONS_PATH."""
    shards = make_shard("shard_1"), make_shard("shard_2")
    for shard, business in zip(shards, ("cafe", "diner"), strict=True):
        catalogue = register(shard)
        catalogue.add_business(business, business.title(), shard.name)
        secret = folder / f"{business}.token"
        secret.write_text(business)
        config = {"base_url": httpserver.url_for("").rstrip("/")}
        catalogue.add_source(business, "acme", "till", config, f"file:{secret}")
    installation = Installation.of(settings, catalogue, project / "project")
    shop = Shop(installation, shards)
    transform = replace(installation.transform, work_dir=project / "dbt", clock=shop.clock, deadline=60.0, workers=1)
    shop.installation = replace(installation, clock=shop.clock, transform=transform)
    for number in (0, 1):
        shop.rows(number, "select {raw}.ensure_stream('acme', 'sales')")
    httpserver.expect_request("/sales").respond_with_handler(shop.answer)
    return shop
