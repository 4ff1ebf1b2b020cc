"""A business is erased: nothing of it is left anywhere, others are as they were, and a kill is gone on from."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from orchestration.cycle import Scope, run_cycle
from orchestration.erasing import POINTS, Eraser
from orchestration.moves import mover
from sharding.access.tenants import grant_access
from sharding.credentials import write_secret
from sharding.errors import LarderError
from sharding.settings import Settings
from tests.aside import die, killed
from tests.orchestration.shop import Shop

SECRET = "nobody-may-read-this"
SUMS = "select business_date, net_sales from {marts}.sum_sales_day order by location_id, 1"


def everything(dsn: str) -> dict[str, str]:
    """Table → all its rows as text, of all schemas of a database; statistics too."""
    found = {}
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cur:
        cur.execute(
            "select oid::regclass::text from pg_class where relkind in ('r', 'm')"
            " and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        )
        for (table,) in cur.fetchall():
            cur.execute(f"select string_agg(t::text, e'\\n' order by t::text) from {table} as t")
            [(found[table],)] = cur.fetchall()
        cur.execute("select string_agg(s::text, e'\\n') from pg_stats as s where schemaname !~ '^pg_'")
        [(found["pg_stats"],)] = cur.fetchall()
    return {table: rows for table, rows in found.items() if rows}


def naming(shop: Shop, text: str) -> list[str]:
    """Tables of both shards and the control database in which a text stands."""
    dsns = [shard.dsn for shard in shop.shards] + [shop.installation.catalogue.dsn]
    return [table for dsn in dsns for table, rows in everything(dsn).items() if text in rows]


@pytest.fixture
def eraser(shop: Shop, settings: Settings) -> Eraser:
    """Both businesses on both shards' ways: `cafe` with sales that bear a secret text, files and a secret."""
    shop.sell("cafe", SECRET, "3.10")
    shop.sell("diner", "b", "7.25")
    catalogue = shop.installation.catalogue
    catalogue.add_business("bar", "Bar", "shard_1")
    write_secret(settings.secrets_dir / "cafe.token", "cafe")
    source = catalogue.source("cafe/till")
    catalogue.set_source_config(source.id, source.config, "file:secrets/cafe.token")
    uploaded = settings.home / "uploads" / "cafe" / "wages" / "march.csv"
    uploaded.parent.mkdir(parents=True)
    uploaded.write_text(SECRET)
    return Eraser(shop.installation, settings)


def test_nothing_is_left_and_others_are_as_they_were(shop: Shop, eraser: Eraser, settings: Settings) -> None:
    catalogue, store = shop.installation.catalogue, shop.installation.store
    assert not run_cycle(shop.installation).failures
    with closing(psycopg2.connect(shop.shards[0].dsn)) as own, own, own.cursor() as cursor:  # an analyst's own copy
        cursor.execute("create schema dev_ann; create table dev_ann.mine as select * from marts.fct_sale")
    cafe, diner = catalogue.business("cafe"), catalogue.business("diner")
    assert mover(shop.installation, "cafe").move("shard_2").state == "flipped"  # an old copy is kept on shard_1
    assert naming(shop, SECRET) and list(store.files(f"{cafe.id}/"))
    others = list(store.files(f"{diner.id}/"))

    role = grant_access(catalogue, "cafe").role

    plan = eraser.plan("cafe")
    assert plan["shard shard_2"]["raw_acme.sales"] == 1 and plan["shard shard_1"]["raw_acme.sales"] == 1
    assert plan["shard shard_1"]["dev_ann.mine"] == 1 and plan["uploads"]["files"] == 1
    assert naming(shop, SECRET)
    done = eraser.erase("cafe")

    assert naming(shop, SECRET) == [] and naming(shop, "Cafe") == []
    assert [table for table in naming(shop, "cafe") if table != "control.erasures"] == []
    assert list(store.files(f"{cafe.id}/")) == [] and list(store.files(f"{diner.id}/")) == others
    assert not (settings.secrets_dir / "cafe.token").exists() and not (settings.home / "uploads" / "cafe").exists()
    assert shop.rows(0, SUMS) == [] and [total for _, total in shop.rows(1, SUMS)] == [Decimal("7.2500")]
    with closing(psycopg2.connect(shop.shards[0].dsn)) as own, own, own.cursor() as cursor:
        cursor.execute("select count(*) from pg_roles where rolname = %s", (role,))
        assert cursor.fetchone() == (0,)
    confirmed: dict[str, Any] = json.loads((settings.home / "erasures" / f"business-{cafe.id}.json").read_text())
    assert confirmed["erased"] == "cafe" and confirmed["removed"] == json.loads(json.dumps(done.removed))
    assert confirmed["removed"]["shard shard_2"] == plan["shard shard_2"]
    assert confirmed["removed"]["blocks"][0]["files"] == 2 and confirmed["removed"]["control database"]["sources"] == 1

    with pytest.raises(LarderError, match="no business 'cafe'"):
        catalogue.business("cafe")
    assert catalogue.add_business("next", "Next", "shard_1").id > max(cafe.id, diner.id)
    with pytest.raises(LarderError, match=f"business {cafe.id} was erased"):
        catalogue.add_business("cafe", "Another", "shard_1", business=cafe.id)
    shop.sell("diner", "c", "1.00")
    assert not run_cycle(shop.installation).failures
    assert naming(shop, SECRET) == []


def test_the_newest_number_is_not_given_again(shop: Shop, settings: Settings) -> None:
    catalogue = shop.installation.catalogue
    newest = catalogue.add_business("bar", "Bar", "shard_1")
    Eraser(shop.installation, settings).erase("bar")
    assert catalogue.add_business("bar", "Bar again", "shard_1").id == newest.id + 1
    with pytest.raises(LarderError, match="no business 'nobody'"):
        Eraser(shop.installation, settings).erase("nobody")


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=() if p in ("rows gone", "files gone") else pytest.mark.faults) for p in POINTS]
)
def test_a_killed_erasure_is_gone_on_with(shop: Shop, eraser: Eraser, settings: Settings, point: str) -> None:
    catalogue = shop.installation.catalogue
    cafe = catalogue.business("cafe").id
    assert not run_cycle(shop.installation, Scope(steps=("extract", "load"))).failures  # no models, nothing to build
    assert naming(shop, SECRET)

    def reached(where: str) -> None:
        if where == point:
            die()

    assert killed(lambda: Eraser(shop.installation, settings, reached=reached).erase("cafe"))
    done = eraser.erase("cafe")
    assert (
        done.done and done.removed["shard shard_1"]["raw_acme.sales"] == 1 and done.removed["blocks"][0]["files"] == 2
    )
    assert naming(shop, SECRET) == [] and list(shop.installation.store.files(f"{cafe}/")) == []
    assert not (settings.secrets_dir / "cafe.token").exists()
    assert (settings.home / "erasures" / f"business-{cafe}.json").exists()
    assert [business.name for business in catalogue.businesses()] == ["diner", "bar"]
