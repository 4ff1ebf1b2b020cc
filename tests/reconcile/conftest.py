"""One business with a till, a bar, a rota and an ad account: the recorded pages in blocks, loaded and built once.

A first load sets one order aside, as a check of yesterday might have; then the record is retried and all is built
again. Both audits are kept. Tests that change something get a copy of the database and of the blocks.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ingestion import quarantine
from ingestion.blocks import BlockStore, HttpEvidence, Manifest, Window
from ingestion.load import load_blocks
from ingestion.registry import BUILT_IN, discover
from ingestion.spec import IntegrationSpec
from orchestration.dbt_worker import DbtProject
from orchestration.results import Job
from orchestration.transform import target_of
from reconcile.run import Reconciliation, run
from sharding.ids import make_id
from sharding.model import Shard
from tests.reconcile.store import ENCODER

PAGES = Path(__file__).parents[1] / "fixtures"
BUSINESS = 1001
NOW = datetime(2024, 4, 4, 12, tzinfo=UTC)
COMPARED = (
    "fct_sale", "fct_sale_item", "fct_refund", "fct_payment", "fct_shift", "fct_ad_spend", "sum_sales_day",
    "sum_labour_day", "sum_marketing_day", "fct_review", "fct_mailing", "sum_review_day",
)  # fmt: skip
BAR, PIZZERIA = "eb59e278-8b0e-4815-a08c-f7fbfdc378f1", "ff5e1293-839a-464b-803e-d6d23a03a416"


@dataclass(frozen=True)
class Source:
    """What the auditor needs to know of a source."""

    id: int
    business: int
    integration: str
    name: str
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


SOURCES = [
    Source(make_id(BUSINESS, number), BUSINESS, integration, name)
    for number, (integration, name) in enumerate(
        [("square", "till"), ("toast", "bar"), ("sevenshifts", "rota"), ("meta_ads", "ads")], 1
    )
]


@dataclass(frozen=True)
class Audited:
    """A built shard and the blocks it was built from."""

    shard: Shard
    store: BlockStore

    def audit(self) -> Reconciliation:
        return run("jaffle", SOURCES, self.shard, self.store.url, NOW)

    def sql(self, statement: str) -> int:
        """Run SQL; the number of rows."""
        with closing(psycopg2.connect(self.shard.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.rowcount

    def data_of(self, source: str, stream: str) -> Path:
        """The data file of a source's only block of a stream."""
        number = next(s.id for s in SOURCES if s.name == source)
        (found,) = Path(self.store.path(f"{BUSINESS}/{number}/{stream}")).rglob("*.jsonl.zst")
        return found


def page(name: str) -> Any:
    return json.loads((PAGES / f"{name}.json").read_text(), parse_float=Decimal)


def records() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The recorded records by source and stream, with the context that the extractor adds."""
    wages = [
        {"_context": {"user_id": user}, **wage}
        for user, answer in page("sevenshifts/wages").items()
        for some in answer["data"].values()
        for wage in some
    ]
    bar_items = {item["guid"] for item in page("toast/menu_items")}

    def site(order: dict[str, Any]) -> str:
        items = {s["item"]["guid"] for check in order["checks"] for s in check["selections"] if s.get("item")}
        return BAR if items & bar_items else PIZZERIA

    return {
        ("till", "locations"): page("square/locations")["locations"],
        ("till", "catalog"): page("square/catalog")["objects"],
        ("till", "orders"): page("square/orders")["orders"],
        ("till", "payments"): page("square/payments")["payments"],
        ("till", "refunds"): page("square/refunds")["refunds"],
        ("bar", "restaurants"): page("toast/restaurants"),
        ("bar", "menu_items"): [{"_context": {"restaurant": BAR}, **item} for item in page("toast/menu_items")],
        ("bar", "orders"): [{"_context": {"restaurant": site(o)}, **o} for o in page("toast/orders")],
        ("rota", "locations"): page("sevenshifts/locations")["data"],
        ("rota", "users"): page("sevenshifts/users")["data"],
        ("rota", "wages"): wages,
        ("rota", "time_punches"): page("sevenshifts/time_punches")["data"],
        ("ads", "accounts"): [page("meta_ads/accounts")],
        ("ads", "campaigns"): page("meta_ads/campaigns")["data"],
        ("ads", "insights"): page("meta_ads/insights")["data"],
    }


def write_blocks(store: BlockStore) -> list[Manifest]:
    """A block of each stream, observed now."""
    made = []
    owners = {source.name: source for source in SOURCES}
    for (name, stream), of_stream in records().items():
        source = owners[name]
        with store.writer(BUSINESS, source.id, stream) as writer:
            for record in of_stream:
                writer.write(ENCODER.encode(record))
        complete = discover((BUILT_IN,))[source.integration].stream(stream).deletes == "snapshot"
        manifest = writer.manifest(
            integration=source.integration, integration_version="1", window=Window(complete=complete),
            cursor_before=None, cursor_after={}, observed_at=NOW, http=HttpEvidence(), created_by="test",
        )  # fmt: skip
        writer.commit(manifest)
        made.append(manifest)
    return made


def stricter(specs: Mapping[str, IntegrationSpec]) -> dict[str, IntegrationSpec]:
    """Specs that take the name of an order's discount for a currency: one recorded order has one."""
    till = specs["square"]
    streams = [
        s.model_copy(update={"currency": ("discounts.0.name",)}) if s.name == "orders" else s for s in till.streams
    ]
    return {**specs, "square": till.model_copy(update={"streams": tuple(streams)})}


@dataclass(frozen=True)
class Shop:
    """The built template and the two audits on the way to it."""

    template: Audited
    with_quarantine: Reconciliation
    after_retry: Reconciliation


@pytest.fixture(scope="session")
def shop(server: Any, warehouse: DbtProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The business, built twice: with an order in quarantine, and after its retry."""
    database = server.copy_of("shard")
    audited = Audited(server.shard(database), BlockStore(f"file://{tmp_path_factory.mktemp('blocks')}"))
    audited.sql(f"insert into keys.route (business, name, display_name) values ({BUSINESS}, 'jaffle', 'Jaffle')")
    audited.sql(f"insert into keys.counter (business, next) values ({BUSINESS}, 10)")
    for source in SOURCES:
        audited.sql(
            "insert into keys.source (id, integration, name)"
            f" values ({source.id}, '{source.integration}', '{source.name}')"
        )
    job = Job(target_of(audited.shard), select=tuple(f"+{model}" for model in COMPARED), tests=False)
    here = Path.cwd()

    def build() -> Reconciliation:
        result = warehouse.build(job)
        os.chdir(here)
        assert result.ok, result.error or [(node.name, node.message) for node in result.failed]
        return audited.audit()

    specs = discover((BUILT_IN,))
    made = write_blocks(audited.store)
    at = (audited.shard.dsn, audited.shard.schemas)
    assert not load_blocks(*at, made, audited.store, stricter(specs)).failures
    set_aside = build()
    ids = [row["quarantine_id"] for row in quarantine.listed(*at)]
    by_id = {manifest.block_id: manifest for manifest in made}
    assert not quarantine.retry(*at, ids, by_id.get, audited.store, specs).failures
    yield Shop(audited, set_aside, build())
    server.drop(database)


@pytest.fixture
def audited(server: Any, shop: Shop, tmp_path: Path) -> Iterator[Audited]:
    """A copy of the built shard and its blocks, to be damaged."""
    database = server.copy_of(shop.template.shard.database)
    folder = tmp_path / "blocks"
    shutil.copytree(shop.template.store.path(""), folder)
    yield Audited(server.shard(database), BlockStore(f"file://{folder}"))
    server.drop(database)
