"""`larder integration`: what cannot be begun, and what of the vendors' records has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion import index
from ingestion.blocks import BlockStore, HttpEvidence, Window
from sharding.catalogue import Catalogue
from sharding.settings import Settings
from tests.cli.conftest import Ran

Larder = Callable[..., Ran]
NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["square"], "is there already"),
        (["Corner-Till"], "not of lower-case letters"),
        (["corner", "--kind", "shop"], "known: pos, labour, marketing"),
        (["corner", "--stream", "Bills!"], "not of lower-case letters"),
    ],
)
def test_what_cannot_be_begun(larder: Larder, tmp_path: Path, arguments: list[str], cause: str) -> None:
    sample = tmp_path / "bills.json"
    sample.write_text(json.dumps([{"id": 1}]))
    ran = larder("integration", "new", *arguments, "--sample", str(sample))
    assert ran.code != 0 and cause in " ".join(ran.err.split())


def test_drift_is_told(larder: Larder, settings: Settings, catalogue: Catalogue) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    source = catalogue.add_source("cafe", "square", "till", {})
    assert larder("integration", "drift", "--json").json == []
    store = BlockStore(settings.block_store)
    for number, more in enumerate([{}, {"loyalty": {"points": 3}}]):
        with store.writer(source.business, source.id, "orders") as writer:
            writer.write(json.dumps({"id": f"o{number}", "updated_at": "2025-03-10T11:00:00Z", **more}).encode())
        manifest = writer.manifest(
            integration="square", integration_version="1", window=Window(), cursor_before=None, cursor_after={},
            observed_at=NOW + timedelta(hours=number), http=HttpEvidence(), created_by="test",
        )  # fmt: skip
        writer.commit(manifest)
        with closing(index.connect(catalogue.dsn)) as conn:
            index.record_block(conn, manifest, index.LogEntry(source.id, "orders", NOW))
    assert larder("load").code == 0
    (told,) = larder("integration", "drift", "--source", "cafe/till", "--json").json
    assert (told["field"], told["change"], told["became"]) == ("loyalty", "new", "object")
    assert told["block"] == str(manifest.block_id)
