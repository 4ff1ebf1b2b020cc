"""A dbt project of a few models, so that these tests are about the machinery and not about the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
from pytest_httpserver import HTTPServer

from ingestion.registry import discover
from orchestration.manifest import load_manifest
from orchestration.python_model import python_models
from orchestration.specs import Graph, build_graph
from orchestration.transform import Transform
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.settings import Settings
from tests.orchestration.shop import SCHEMAS, Shop, open_shop, with_changed_facets, write_project
from tests.parsed import write_parsed

FILES = {
    "dbt_project.yml": """
name: tiny
profile: larder
model-paths: [dbt_project/models]
macro-paths: [macros]
on-run-start: ["{{ prepare_changed_facets() }}"]
on-run-end: ["{{ note_tests(results) }}", "{{ prune_feeds() }}"]
models: {tiny: {+schema: marts}}
""",
    "macros/schemas.sql": SCHEMAS,
    "dbt_project/models/source_ids.sql": """
{{ config(materialized='ephemeral') }}
select id as source_id, name, '{{ target.name }}'::text as shard from {{ source('keys', 'source') }}
""",
    "dbt_project/models/dim_source.sql": """
{{ config(materialized='changed_facets', unique_key='source_id') }}
select * from {{ ref('source_ids') }}
""",
    "dbt_project/models/dim_map.sql": """
{{ config(materialized='changed_facets', unique_key='source_location_id') }}
select source_location_id, location_id from {{ source('keys', 'location_map') }}
""",
    "dbt_project/models/sum_source.sql": """
{{ config(materialized='view') }}
select count(*) as sources from {{ ref('dim_source') }}
""",
    "dbt_project/models/_models.yml": """
sources:
  - name: keys
    tables:
      - {name: source, config: {meta: {feed: {table: feed__source, beside: keys.source}}}}
      - {name: location_map, config: {meta: {feed: {table: feed__location_map, beside: keys.location_map}}}}
models:
  - name: dim_source
    columns:
      - {name: name, data_tests: [not_null, {accepted_values: {arguments: {values: [pos, rota, desk, bar]}}}]}
""",
}


def write_tiny(project: Path) -> None:
    for name, text in FILES.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with_changed_facets(project)


@pytest.fixture
def tiny_project(tmp_path: Path) -> Path:
    """Folder of a small dbt project over the shard's own `keys.source`."""
    write_parsed(write_tiny, tmp_path / "tiny", tmp_path / "work")
    return tmp_path / "tiny"


@pytest.fixture
def transform(tiny_project: Path, tmp_path: Path) -> Transform:
    """Transform of the small project."""
    return Transform(tiny_project, tmp_path / "work", workers=2, deadline=60)


@pytest.fixture
def query() -> Callable[..., list[Any]]:
    """`query(shard, sql)`: run SQL with the shard's schema names filled in; the rows, if there are any."""

    def run(shard: Shard, sql: str) -> list[Any]:
        with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(shard.render(sql))
            return cur.fetchall() if cur.description else []

    return run


@pytest.fixture
def two_shards(make_shard: Callable[..., Shard], query: Callable[..., list[Any]]) -> tuple[Shard, Shard]:
    """Two shards, the second behind a namespace, each with one source of business 1 or 2."""
    shards = make_shard("shard_1"), make_shard("shard_2", "north")
    for number, (shard, name) in enumerate(zip(shards, ("pos", "rota"), strict=True), 1):
        query(shard, f"insert into {{keys}}.route (business, name, display_name) values ({number}, 'b', 'B')")
        add_source(query, shard, number, name)
    return shards


def add_source(query: Callable[..., list[Any]], shard: Shard, business: int, name: str) -> None:
    """A source, which the models read and follow."""
    query(
        shard,
        "insert into {keys}.source (id, integration, name)"
        f" values ({{keys}}.reserve({business}, 1), 'vendor', '{name}')",
    )


@pytest.fixture(scope="session")
def shop_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up vendor and its dbt project; parsed once, since no test changes it."""
    folder = tmp_path_factory.mktemp("shop")
    write_project(folder)
    return folder


@pytest.fixture
def shop(
    tmp_path: Path,
    shop_project: Path,
    httpserver: HTTPServer,
    settings: Settings,
    make_shard: Callable[..., Shard],
    register: Callable[[Shard], Catalogue],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    """Two businesses with a till at the made-up vendor."""
    monkeypatch.setenv("LARDER_INTEGRATIONS_PATH", str(shop_project / "integrations"))
    yield open_shop(tmp_path, shop_project, httpserver, settings, make_shard, register)
    httpserver.clear()


@pytest.fixture
def graph(shop: Shop) -> Graph:
    """The graph of the made-up vendor and its models."""
    transform = shop.installation.transform
    manifest = load_manifest(transform.project_dir, transform.work_dir)
    return build_graph({"acme": discover()["acme"]}, manifest, python_models())


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage as an installation has it: SQLite."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made
