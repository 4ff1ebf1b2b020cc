"""`larder load` and `larder quarantine`, from pending blocks to a decision on each bad record."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from ingestion import index
from ingestion.blocks import BlockStore, HttpEvidence, Manifest, Window
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.settings import Settings
from tests.cli.conftest import Ran

Larder = Callable[..., Ran]
ORDER = {"id": "A", "updated_at": "2025-03-10T11:00:00Z", "total_money": {"amount": 700, "currency": "USD"}}
ODD = {"id": "B", "updated_at": "2025-03-10T11:00:00Z", "total_money": {"amount": 700, "currency": "XYZ"}}


def block(settings: Settings, catalogue: Catalogue, source: str, *records: dict[str, object]) -> Manifest:
    """An indexed block of orders."""
    store, owner = BlockStore(settings.block_store), catalogue.source(source)
    with store.writer(owner.business, owner.id, "orders") as writer:
        for record in records:
            writer.write(json.dumps(record).encode())
    now = datetime(2025, 3, 10, 12, tzinfo=UTC)
    manifest = writer.manifest(
        integration="square", integration_version="1", window=Window(), cursor_before=None, cursor_after={"value": 1},
        observed_at=now, http=HttpEvidence(), created_by="test",
    )  # fmt: skip
    writer.commit(manifest)
    with closing(index.connect(catalogue.dsn)) as conn:
        index.record_block(conn, manifest, index.LogEntry(owner.id, "orders", now))
    return manifest


@pytest.fixture
def businesses(catalogue: Catalogue) -> Catalogue:
    """Two businesses with a till each."""
    for name in ("cafe", "diner"):
        catalogue.add_business(name, name.title(), "shard_1")
        catalogue.add_source(name, "square", "till", {})
    return catalogue


def test_load_and_decide(larder: Larder, settings: Settings, businesses: Catalogue) -> None:
    block(settings, businesses, "cafe/till", ORDER, ODD, {**ODD, "id": "C"})
    block(settings, businesses, "diner/till", ORDER)
    ran = larder("load", "--json")
    assert (ran.code, [(row["source"], row["versions"], row["quarantined"], row["changed"]) for row in ran.json]) == (
        0,
        [("cafe/till", 1, 2, 1), ("diner/till", 1, 0, 1)],
    )
    assert larder("load").out == "load: nothing is pending\n"

    rows = larder("quarantine", "list", "--json").json
    assert [(row["source"], row["reason"]) for row in rows] == [("cafe/till", "unknown_currency")] * 2
    assert "total_money.currency is 'XYZ', no ISO 4217 currency" in rows[0]["detail"]
    first, second = sorted(str(row["id"]) for row in rows)
    assert '"XYZ"' in larder("quarantine", "show", first, "--json").json["payload_text"]
    assert larder("quarantine", "retry", "--json").json == [
        {"shard": "shard_1", "tried": 2, "loaded": 0, "still in quarantine": 2}
    ]
    assert larder("quarantine", "discard", first).code == 2, "a reason is needed"
    assert larder("quarantine", "discard", first, "--reason", "a test sale", "--json").json == {
        "discarded": 1,
        "asked": 1,
    }
    assert [str(row["id"]) for row in larder("quarantine", "list", "--json").json] == [second]


@pytest.mark.fault(24)
def test_one_damaged_block_fails_alone(larder: Larder, settings: Settings, businesses: Catalogue) -> None:
    bad = block(settings, businesses, "cafe/till", ORDER)
    block(settings, businesses, "diner/till", ORDER)
    Path(BlockStore(settings.block_store).path(bad.data_path)).write_bytes(b"\0")
    ran = larder("load")
    assert ran.code == 5
    assert f"block {bad.block_id} is damaged" in ran.err
    assert f"larder blocks verify {bad.block_id}" in ran.err
    assert "diner/till" in ran.out
    assert [row["source"] for row in larder("blocks", "list", "--pending", "--json").json] == ["cafe/till"]


@pytest.mark.fault(6)
def test_a_shard_that_is_gone(larder: Larder, settings: Settings, businesses: Catalogue, shard: Shard) -> None:
    block(settings, businesses, "cafe/till", ORDER)
    with closing(psycopg2.connect(businesses.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("update control.shards set database = 'nowhere'")
    ran = larder("load")
    assert ran.code == 1
    assert "the shard cannot be reached" in ran.err
    assert "larder status" in ran.err
