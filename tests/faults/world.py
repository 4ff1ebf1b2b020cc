"""A small shop on a server of its own: what faults are played on, and how its books are audited.

The vendor's sales become orders, lines, payments and a summary of days, with the columns that `reconcile` adds up; of
the other marts there are empty tables. A cycle over it takes a second, in a forked process of its own where it is to
be killed.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from ingestion import index
from ingestion.extract import Options, extract_source
from orchestration.dbt_worker import DbtProject
from orchestration.mark import code_fingerprint
from orchestration.shard_pass import Pass, PassResult, run_pass
from orchestration.sources import source_ref
from orchestration.transform import Choice, target_of
from orchestration.workers import PRELOAD
from reconcile.run import Reconciliation
from reconcile.run import run as reconcile
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from sharding.settings import Settings, get_settings
from tests.aside import Ended, aside, die, was_killed
from tests.conftest import Server
from tests.faults.record import compared
from tests.faults.steps import At, watch
from tests.orchestration.shop import Shop, open_shop, write_project
from tests.waiting import until

NOTHING = (
    "discount", "tax", "tip", "gratuity", "service_charge", "gift_card_sold", "donations", "rounding", "void_amount",
    "open_sales", "returns", "refund_unitemised", "amount_refunded",
)  # fmt: skip
_NOUGHTS = ", ".join(f"0::numeric(19, 4) as {name}" for name in NOTHING)
MODELS = {
    "fct_sale": f"""
{{{{ config(unique_key=['source_id', 'natural_key']) }}}}
select
    source_id, natural_key, source_id as location_id, business_date, 'USD'::text as currency, 1 as order_count,
    total as gross_sales, total as net_product_sales, total as net_sales, total as total_collected, {_NOUGHTS}
from {{{{ ref('stg_acme__sales') }}}}
""",
    "fct_sale_item": f"""
{{{{ config(unique_key=['source_id', 'natural_key']) }}}}
select
    source_id, natural_key, business_date, currency, 'completed'::text as line_status, gross_sales, {_NOUGHTS}
from {{{{ ref('fct_sale') }}}}
""",
    "fct_payment": """
{{ config(unique_key=['source_id', 'natural_key']) }}
select source_id, natural_key, business_date, currency, total_collected as collected from {{ ref('fct_sale') }}
""",
    "sum_sales_day": f"""
{{{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']) }}}}
select
    location_id, business_date, currency, count(*)::integer as order_count,
    sum(gross_sales)::numeric(19, 4) as gross_sales, sum(net_product_sales)::numeric(19, 4) as net_product_sales,
    sum(net_sales)::numeric(19, 4) as net_sales, sum(total_collected)::numeric(19, 4) as total_collected,
    sum(total_collected)::numeric(19, 4) as payments_collected,
    {_NOUGHTS}
from {{{{ ref('fct_sale') }}}} group by 1, 2, 3
""",
}
STAGING = """
select
    source_id, natural_key, (payload ->> 'total')::numeric(19, 4) as total, (payload ->> 'day')::date as business_date
from {{ source('raw_acme', 'sales_current') }}
"""
RECEIPTS = '''
"""What the made-up vendor's own records add up to."""

from datetime import date
from decimal import Decimal

from reconcile.model import Amount


def receipts(records, sites, now):
    for sale in records.get("sales", ()):
        day, total = date.fromisoformat(sale["day"]), Decimal(str(sale["total"]))
        for measure in ("gross_sales", "payments"):
            yield Amount(day, "USD", measure, total)
        for measure in ("order_count", "line_count"):
            yield Amount(day, "USD", measure, Decimal(1))
'''
_KEYED = "source_id bigint, location_id bigint, business_id bigint, business_date date, currency text"
_REFUNDED = "returns refund_unitemised tax_returned tip_returned service_charge_returned gratuity_returned" \
    " gift_card_returned donations_returned rounding_returned amount_refunded"  # fmt: skip
EMPTY = {
    "fct_refund": _REFUNDED,
    "fct_shift": "base_cost hours costed_hours",
    "fct_ad_spend": "spend claimed_purchase_value impressions clicks claimed_purchases",
    "fct_review": "rating",
    "fct_mailing": "attributed_revenue sent_count bounce_count unique_open_count unique_click_count unsubscribe_count"
    " attributed_orders",
    "sum_labour_day": "base_cost shift_count hours costed_hours",
    "sum_marketing_day": "spend claimed_purchase_value impressions clicks claimed_purchases",
    "sum_review_day": "review_count rating_sum replied_count",
}
_MORE = {
    "fct_shift": ", part_began_at timestamptz, clocked_in_at timestamptz",
    "fct_review": ", is_replied boolean",
}


def write_shop_project(folder: Path) -> None:
    """The shop's dbt project and integration, with the columns that `reconcile` adds up."""
    write_project(folder)
    models = folder / "project" / "dbt_project" / "models"
    for name in ("forecast_sales_day.sql", "_marts.yml"):
        (models / "marts" / name).unlink()
    (models / "staging" / "acme" / "stg_acme__sales.sql").write_text(STAGING)
    for name, text in MODELS.items():
        (models / "marts" / f"{name}.sql").write_text(text)
    tests = "models:\n  - name: fct_sale\n    columns: [{name: gross_sales, data_tests: [not_null]}]\n"
    (models / "marts" / "_marts.yml").write_text(tests)
    (folder / "integrations" / "acme" / "receipts.py").write_text(RECEIPTS)


@dataclass
class World:
    """The shop (`cafe` on the first shard, `diner` on the second), its server, and the auditor."""

    shop: Shop
    server: Server
    project: DbtProject
    folder: Path
    vendor: HTTPServer
    prices: dict[str, dict[str, Decimal]] = field(default_factory=lambda: {"cafe": {}, "diner": {}})
    day: str = "2025-03-10"
    patience: float = 5.0
    said: str = field(default="", init=False)
    """What the last forked process failed of."""

    @property
    def catalogue(self) -> Catalogue:
        return self.shop.installation.catalogue

    def shard(self, business: str) -> Shard:
        return self.shop.shards[0 if business == "cafe" else 1]

    def rows(self, business: str, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on a business's shard."""
        return self.shop.rows(0 if business == "cafe" else 1, query)

    def sell(self, key: str, total: str, business: str = "cafe", **more: Any) -> None:
        """A sale on the vendor's books, or a new version of one."""
        books = self.shop.sales[business]
        books[:] = [sale for sale in books if sale["id"] != key]
        self.shop.sell(business, key, total, self.day)
        books[-1] |= more
        self.prices[business][key] = Decimal(total)

    def trade(self, number: int, business: str = "cafe") -> None:
        """A while goes by: something new is sold, something old is corrected by a cent."""
        self.shop.now += timedelta(seconds=30)
        self.sell(f"n{number}", f"{number % 90 + 1}.{number % 100:02d}", business)
        old = f"n{number // 2}"
        if old != f"n{number}" and old in self.prices[business]:
            self.sell(old, str(self.prices[business][old] + Decimal("0.01")), business)

    # -- one cycle ---------------------------------------------------------------------------------------------------

    def cycle(self, business: str = "cafe") -> PassResult:
        """Extract, load and build one business's shard, in this process. Raises whatever goes wrong."""
        at = self.shop.installation
        source = at.catalogue.source(f"{business}/till")
        for result in extract_source(
            source_ref(at.catalogue, source), self.spec(), at.store, at.catalogue.dsn, at.clock,
            Options(force=True, heed=False, patience=self.patience),
        ):  # fmt: skip
            if result.error is not None or result.outcome == "busy":
                raise result.error or RuntimeError("the stream is busy")
        return self.load_and_build(business)

    def load_and_build(self, business: str = "cafe") -> PassResult:
        """The pass of a business's shard: as a worker does it."""
        at, shard = self.shop.installation, self.shard(business)
        source = at.catalogue.source(f"{business}/till")
        with closing(index.connect(at.catalogue.dsn)) as control:
            pending = tuple(index.pending(control, [source.id]))
        failures: list[Any] = []

        def tell(kind: str, event: Any) -> None:
            if kind == "loaded" and event.failure is not None:
                failures.append(event.failure)

        job = Pass(
            target_of(shard), shard, pending, {source.id: source}, (at.store.url, ""), at.catalogue.dsn,
            Choice(tests=False), code_fingerprint(at.transform.project_dir), at.clock(), {},
        )  # fmt: skip
        here = Path.cwd()
        try:
            done = run_pass(job, self.project, tell)
        finally:
            os.chdir(here)  # dbt goes elsewhere
        if failures:
            raise RuntimeError(f"{failures[0].turn}: {failures[0].cause}")
        if done.build is None or done.build.state == "failed":
            raise RuntimeError(done.build.reason if done.build else "nothing was built")
        return done

    def spec(self) -> Any:
        from ingestion.registry import discover

        return discover()["acme"]

    def aside(self, work: Callable[[], Any], business: str = "cafe") -> int:
        """Do something in a forked process: its exit code; 1 for an error, which is in `self.said`."""
        ended = aside(work)
        self.said = ended.said
        return ended.code

    def disturbed(self, nth: int, act: Callable[[], None], work: Callable[[], Any] | None = None) -> int:
        """Do a cycle in a forked process, which does something else before its n-th step; its exit code."""

        def play() -> None:
            watch(At(nth, act))
            (work or self.cycle)()

        return self.aside(play)

    def killed(self, nth: int, work: Callable[[], Any] | None = None) -> bool:
        """Do a cycle that is killed before its n-th step; False if it came to its end before."""
        code = self.disturbed(nth, die, work)
        return was_killed(Ended(code, self.said))

    def steps(self, work: Callable[[], Any] | None = None) -> list[tuple[str, str]]:
        """The steps of a cycle that nobody disturbs: (stage, step)."""
        found = self.folder / "steps.txt"

        def count() -> None:
            counting = At(0, die)
            watch(counting)
            (work or self.cycle)()
            found.write_text("\n".join(f"{stage}\t{step}" for stage, step in counting.seen))

        assert self.aside(count) == 0, self.said
        return [(stage, step) for stage, _, step in (line.partition("\t") for line in found.read_text().splitlines())]

    def quiet(self) -> None:
        """Wait until the server has noticed that killed processes are gone: their locks go with them."""
        query = (
            "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
            " and application_name <> 'auditor'"
        )
        with closing(psycopg2.connect(self.server.dsn("postgres"))) as conn, conn.cursor() as cur:
            conn.autocommit = True

            def all_gone() -> bool:
                cur.execute(query)
                return cur.fetchone() == (0,)

            until(all_gone, why="sessions of killed processes stay")

    # -- the auditor -------------------------------------------------------------------------------------------------

    def audit(self, business: str = "cafe") -> Reconciliation:
        """Blocks beside raw, facts and summaries, by the package `reconcile`."""
        sources = [s for s in self.catalogue.sources() if s.business_name == business]
        return reconcile(business, sources, self.shard(business), self.shop.installation.store.url, self.shop.now)

    def check(self, business: str = "cafe") -> None:
        """Nothing is lost, nothing is there twice, and it is equal to the cent."""
        prices = self.prices[business]
        facts = dict(self.rows(business, "select natural_key, net_sales from {marts}.fct_sale"))
        assert facts == prices, f"facts are not the vendor's books: {set(facts.items()) ^ set(prices.items())}"
        [(total,)] = self.rows(business, "select sum(net_sales) from {marts}.sum_sales_day")
        assert total == sum(prices.values())
        found = self.audit(business)
        assert found.equal, found
        twice = "select count(*) from (select from {raw}_acme.sales group by source_id, natural_key, hash, observed_at"
        assert self.rows(business, f"{twice} having count(*) > 1) as twice") == [(0,)]
        [(blocks, different)] = self.rows(
            business, "select count(*), count(distinct block_id) from {raw}.loaded_blocks where generation = 1"
        )
        assert blocks == different
        self._nothing_is_left(business)
        compared(business)

    def _nothing_is_left(self, business: str) -> None:
        """Neither files that no manifest commits, nor intents, nor blocks that wait."""
        store, source = self.shop.installation.store, self.catalogue.source(f"{business}/till")
        with closing(index.connect(self.catalogue.dsn)) as control:
            with control.cursor() as cur:
                cur.execute("select count(*) from control.block_intents where source_id = %s", (source.id,))
                assert cur.fetchone() == (0,)
                cur.execute("select manifest from control.blocks where source_id = %s", (source.id,))
                ids = {row[0]["block_id"] for row in cur.fetchall()}
            assert index.pending(control, [source.id]) == []
        files = list(store.files(f"{source.business}/{source.id}"))
        assert {Path(file).name.partition(".")[0] for file in files} == ids
        assert len(files) == 2 * len(ids), files

    def landed(self, business: str = "cafe") -> int:
        """Rows in landing tables."""
        query = "select oid::regclass::text from pg_class where relname = 'landing' and relkind = 'r'"
        tables = [name for (name,) in self.rows(business, query)]
        return sum(self.rows(business, f"select count(*) from {name}")[0][0] for name in tables)


def empty_marts(world: Shop, shard: int) -> None:
    """The marts that the shop has nothing for."""
    for table, names in EMPTY.items():
        columns = ", ".join(f"{name} numeric" for name in names.split())
        world.rows(shard, f"create table {{marts}}.{table} ({_KEYED}, {columns}{_MORE.get(table, '')})")


@contextmanager
def inside(folder: Path, control_dsn: str) -> Iterator[None]:
    """With the settings of an installation in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LARDER_HOME", str(folder / "home"))
        patch.setenv("LARDER_CONTROL_DSN", control_dsn)
        patch.setenv("LARDER_INTEGRATIONS_PATH", str(folder / "integrations"))
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@contextmanager
def open_world(server: Server) -> Iterator[World]:
    """A shop on fresh databases of a server, built once; what is done with it is done `inside` its settings."""
    folder = Path(tempfile.mkdtemp(prefix="larder-faults-", dir="/var/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        write_shop_project(folder)
        made: list[str] = [server.copy_of("larder_control")]
        stack.callback(lambda: [server.drop(name) for name in made])
        vendor = HTTPServer(host="127.0.0.1", port=0)
        vendor.start()
        stack.callback(vendor.stop)
        with inside(folder, server.dsn(made[0])):
            world = _settled(server, folder, vendor, made)
        yield world


def _settled(server: Server, folder: Path, vendor: HTTPServer, made: list[str]) -> World:
    """The shop's databases, whose names are added to `made`, with a first cycle done."""

    def make_shard(name: str) -> Shard:
        made.append(server.copy_of("shard"))
        return server.shard(made[-1], name)

    settings = Settings(home=folder / "home", control_dsn=SecretStr(server.dsn(made[0])))
    catalogue = Catalogue(server.dsn(made[0]), settings.home)
    secret = instances.secret_path(server.instance.name, server.settings)
    at = server.instance
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))

    def register(shard: Shard) -> Catalogue:
        catalogue.add_shard(shard.name, shard.instance, shard.database, shard.namespace)
        return catalogue

    for module in PRELOAD:
        importlib.import_module(module)  # once, and not in each forked process: two CPU-seconds
    shop = open_shop(folder, folder, vendor, settings, make_shard, register)
    project = DbtProject(shop.installation.transform.project_dir, folder / "dbt")
    here = Path.cwd()
    project.parse()
    os.chdir(here)
    world = World(shop, server, project, folder, vendor)
    for number, business in enumerate(("cafe", "diner")):
        world.trade(0, business)
        assert world.aside(lambda business=business: world.cycle(business)) == 0, world.said  # type: ignore[misc]
        empty_marts(shop, number)
        world.check(business)
    for name in made:  # what was committed stays after a crash, as it does on servers that were not made for speed
        server.execute(f"alter database {name} set synchronous_commit = on")
    return world
