"""The whole sandbox read by the real extraction: nothing lost, nothing twice, and a day later only what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ingestion.blocks import BlockStore
from ingestion.extract import Options, StreamResult, extract_all
from ingestion.index import pending
from ingestion.registry import get
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import Trade
from ingestion.sandbox.server import serving
from ingestion.sandbox.vendors.square.vendor import TOKEN, SquareVendor
from ingestion.sandbox.vendors.toast.vendor import BAR, ToastVendor
from ingestion.source import SourceRef, secrets_of

BUSINESS = 1001
SINCE = {"since": "2024-02-26"}
CLIENT = {"client_id": "sandbox-toast-jaffle-shop", "client_secret": "sandbox-secret-jaffle-shop"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def urls(home: Path) -> Iterator[dict[str, str]]:
    with serving(home, ["square", "toast"]) as found:
        yield found


@pytest.fixture
def sources(control_dsn: str, urls: dict[str, str]) -> list[SourceRef]:
    """Both tills of the jaffle shop, in a control database."""
    [secret] = secrets_of(get("square"))
    known: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("square", SINCE, {secret: TOKEN}),
        ("toast", {**SINCE, "restaurant_guids": [BAR]}, CLIENT),
    ]
    with closing(psycopg2.connect(control_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("insert into control.instances values ('i', 'external', 'localhost', 1, 'u', 'env:X')")
        cur.execute("insert into control.shards (shard, instance, database) values ('shard_1', 'i', 'd')")
        cur.execute(
            "insert into control.businesses (business, name, display_name, shard)"
            " values (%s, 'jaffle', 'Jaffle Shop', 'shard_1')",
            [BUSINESS],
        )
        for n, (integration, _, _) in enumerate(known):
            cur.execute(
                "insert into control.sources (source_id, business, integration, name) values (%s, %s, %s, %s)",
                [(BUSINESS << 45) + n, BUSINESS, integration, integration],
            )
    return [
        SourceRef((BUSINESS << 45) + n, BUSINESS, "jaffle", name, name, {**config, "base_url": urls[name]}, secret)
        for n, (name, config, secret) in enumerate(known)
    ]


def test_everything_once_and_a_day_later_what_changed(
    sources: list[SourceRef], control_dsn: str, home: Path, tmp_path: Path, whole_trade: Trade
) -> None:
    clock, store = SandboxClock(home), BlockStore(f"file://{tmp_path}")
    square, toast = SquareVendor(whole_trade), ToastVendor(whole_trade)
    timelines = {"orders": square.orders, "payments": square.payments, "refunds": square.refunds}

    def extract() -> dict[str, StreamResult]:
        results = extract_all(sources, store, control_dsn, clock.now, Options(patience=20))
        assert [result.error for result in results if result.error] == []
        return {f"{result.source.name}/{result.stream}": result for result in results}

    def received() -> list[dict[str, Any]]:
        with closing(psycopg2.connect(control_dsn)) as conn:
            manifests = [m for m in pending(conn) if (m.integration, m.stream) == ("square", "orders")]
        return [json.loads(record) for manifest in manifests for record in store.read(manifest)]

    first, now = extract(), clock.now()
    for name, timeline in timelines.items():
        assert first[f"square/{name}"].records == len(timeline.all(now))
    of_bar = [state for state in toast.orders.all(now) if state.group == BAR]
    assert first["toast/orders"].records == len(of_bar) > 100
    assert len({record["id"] for record in received()}) == len(received())

    clock.advance(timedelta(days=1))
    second, then = extract(), clock.now()
    for name, timeline in timelines.items():
        lag = timedelta(minutes=10)
        changed = timeline.between(now - lag, then, then)
        assert 0 < second[f"square/{name}"].records == len(changed) < 400
    newest = {record["id"]: record for record in received()}
    assert newest == {state.key: json.loads(state.body) for state in square.orders.all(then)}
