"""Sales that are hard to count: a key that two vendors use, a refund after 40 days, clock changes and midnight.

All in one block of the till, in the project's own models, audited to the cent.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2
import pytest

from ingestion.blocks import BlockStore, HttpEvidence, Window
from ingestion.load import load_blocks
from ingestion.registry import BUILT_IN, discover
from orchestration.dbt_worker import DbtProject
from orchestration.results import Job
from orchestration.transform import target_of
from tests.conftest import Server
from tests.faults.record import Figure, compared
from tests.reconcile.conftest import BUSINESS, COMPARED, SOURCES, Audited, Shop, page
from tests.reconcile.store import ENCODER

TILL = next(source for source in SOURCES if source.name == "till")
EDGES = (
    "2024-03-10T06:59:59.000Z", "2024-03-10T07:00:00.000Z",  # New York: 01:59:59, and 03:00:00 a second later
    "2023-11-05T05:30:00.000Z", "2023-11-05T06:30:00.000Z",  # both at half past one
    "2024-03-15T03:59:59.000Z", "2024-03-15T04:00:00.000Z",  # midnight
    "2024-03-15T07:59:59.000Z", "2024-03-15T08:00:00.000Z",  # four in the morning
    "2023-12-31T23:59:59.000Z", "2024-02-29T23:59:59.000Z",
)  # fmt: skip
LATER = timedelta(days=40)


def again(records: Any, **other: str) -> Any:
    """Records with other texts in them."""
    text = ENCODER.encode(records).decode()
    for was, becomes in other.items():
        text = text.replace(was, becomes)
    return json.loads(text, parse_float=Decimal)


def spelled(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.fixture(scope="module")
def hard(
    server: Server, shop: Shop, warehouse: DbtProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Audited, dict[str, str]]]:
    """The shop with these sales loaded and built; what each of them is called, by its id."""
    orders, payments = page("square/orders")["orders"], page("square/payments")["payments"]
    refunds = page("square/refunds")["refunds"]
    plain, sold, returned = orders[0], orders[1], orders[2]
    (paid,) = [p for p in payments if p["order_id"] == plain["id"]]
    new: dict[str, list[Any]] = {"orders": [], "payments": [], "refunds": []}
    names: dict[str, str] = {}

    def add(name: str, key: str, **times: str) -> None:
        pay, line = f"pay-{key}", f"line-{key}"
        other = {plain["id"]: key, paid["id"]: pay, plain["line_items"][0]["uid"]: line, **times}
        new["orders"].append(again(plain, **other))
        new["payments"].append(again(paid, **other))
        names[key] = name

    add("two vendors", page("toast/orders")[0]["guid"])
    for number, moment in enumerate(EDGES):
        add(moment, f"edge-{number}", **{plain["created_at"]: moment, plain["closed_at"]: moment})
    gone = datetime.fromisoformat(sold["closed_at"]) + LATER
    of_both = [p for p in payments if p["order_id"] in (sold["id"], returned["id"])]
    money = [r for r in refunds if r["order_id"] == returned["id"]]
    other = {sold["id"]: "late-sale", returned["id"]: "late-return"}
    other |= {p["id"]: f"late-{n}" for n, p in enumerate(of_both)} | {r["id"]: f"back-{n}" for n, r in enumerate(money)}
    other |= {line["uid"]: f"late-line-{n}" for n, line in enumerate(sold["line_items"])}
    times = {t: spelled(gone) for t in (returned["created_at"], returned["updated_at"], returned["closed_at"])}
    times |= {t: spelled(gone) for r in money for t in (r["created_at"], r["updated_at"])}
    new["orders"] += [again(sold, **other), again(returned, **times, **other)]
    new["payments"] += again(of_both, **other)
    new["refunds"] += again(money, **times, **other)
    names["late-sale"] = "late refund"

    folder = tmp_path_factory.mktemp("hard") / "blocks"
    shutil.copytree(shop.template.store.path(""), folder)
    store = BlockStore(f"file://{folder}")
    database = server.copy_of(shop.template.shard.database)
    audited = Audited(server.shard(database), store)
    made = []
    for stream, records in new.items():
        with store.writer(BUSINESS, TILL.id, stream) as writer:
            for record in records:
                writer.write(ENCODER.encode(record))
        manifest = writer.manifest(
            integration="square", integration_version="1", window=Window(), cursor_before=None, cursor_after={},
            observed_at=gone + timedelta(days=1), http=HttpEvidence(), created_by="test",
        )  # fmt: skip
        writer.commit(manifest)
        made.append(manifest)
    at = (audited.shard.dsn, audited.shard.schemas)
    assert not load_blocks(*at, made, store, discover((BUILT_IN,))).failures
    here = Path.cwd()
    job = Job(target_of(audited.shard), select=tuple(f"+{model}" for model in COMPARED), tests=False)
    result = warehouse.build(job)
    os.chdir(here)
    assert result.ok, result.error or [(node.name, node.message) for node in result.failed]
    yield audited, names
    server.drop(database)


def rows(audited: Audited, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(audited.shard.dsn)) as conn, conn.cursor() as cur:
        cur.execute(query, values)
        return cur.fetchall()


def days(audited: Audited) -> dict[str, date]:
    """Natural key of the till's orders → business date."""
    found = rows(
        audited,
        "select k.natural_key, f.business_date from marts.fct_sale as f inner join keys.sale as k on k.id = f.sale_id"
        " where f.source_id = %s",
        TILL.id,
    )
    return dict(found)


@pytest.mark.fault(20)
@pytest.mark.fault(21)
@pytest.mark.fault(22)
def test_the_books_are_equal_to_the_cent(hard: tuple[Audited, dict[str, str]], figure: Figure) -> None:
    audit = hard[0].audit()
    assert audit.equal, [(s.source, s.differences, s.raw, s.identity) for s in audit.sources if not s.equal]
    compared("shop")
    figure("amounts compared", sum(source.cells for source in audit.sources))


@pytest.mark.fault(20)
def test_one_key_at_two_vendors_is_two_orders(hard: tuple[Audited, dict[str, str]], figure: Figure) -> None:
    audited, names = hard
    (key,) = [key for key, name in names.items() if name == "two vendors"]
    found = rows(
        audited,
        "select f.sale_id, s.integration, f.gross_sales from marts.fct_sale as f"
        " inner join keys.sale as k on k.id = f.sale_id inner join keys.source as s on s.id = f.source_id"
        " where k.natural_key = %s order by 2",
        key,
    )
    assert [integration for _, integration, _ in found] == ["square", "toast"]
    assert found[0][0] != found[1][0] and found[0][2] != found[1][2]
    figure("orders of one key", len(found))


@pytest.mark.fault(21)
def test_a_refund_after_forty_days_counts_on_its_own_day(hard: tuple[Audited, dict[str, str]], figure: Figure) -> None:
    audited, _ = hard
    ((sold, back, gross),) = rows(
        audited,
        "select f.business_date, r.business_date, f.gross_sales from marts.fct_sale as f"
        " inner join keys.sale as k on k.id = f.sale_id inner join marts.fct_refund as r on r.sale_id = f.sale_id"
        " where k.natural_key = 'late-sale'",
    )
    assert back - sold == LATER and gross > 0
    figure("days late", LATER.days, how="max")


@pytest.mark.fault(22)
def test_clock_changes_and_midnight(hard: tuple[Audited, dict[str, str]], figure: Figure) -> None:
    audited, names = hard
    found = days(audited)
    ((zone, day_start),) = set(
        rows(
            audited,
            "select setting.timezone, setting.day_start from keys.source_location as site"
            " inner join keys.location_map as map on map.source_location_id = site.id"
            " inner join keys.location_setting as setting using (location_id) where site.source_id = %s",
            TILL.id,
        )
    )
    edges = {key: name for key, name in names.items() if key.startswith("edge-")}
    for key, said in edges.items():
        local = datetime.fromisoformat(said).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert found[key] == (local - day_start).date(), said
    assert found["edge-2"] == found["edge-3"]
    figure("instants", len(edges))
