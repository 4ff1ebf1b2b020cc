"""A business with sources in a control database of its own, a block store in a folder, a vendor over real HTTP."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pytest_httpserver import HTTPServer

from ingestion.blocks import BlockStore, Manifest
from ingestion.extract import Options, StreamResult, extract_source
from ingestion.index import pending
from ingestion.source import SourceRef
from ingestion.spec import IntegrationSpec

BUSINESS = 7
NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)


def make_spec(*streams: dict[str, Any], **changes: Any) -> IntegrationSpec:
    """A small made-up integration."""
    return IntegrationSpec.model_validate(
        {
            "name": "acme",
            "title": "Acme",
            "kind": "pos",
            "docs": "https://acme.example",
            "base_url": "https://acme.example",
            "auth": {"type": "bearer"},
            "rate_limit": {"requests": 10_000},
            "money": "decimal",
            "time_zone": "utc",
            "streams": list(streams),
        }
        | changes
    )


ITEMS = {
    "name": "items",
    "about": "Items",
    "path": "/items",
    "records": "data",
    "natural_key": "id",
    "deletes": "snapshot",
}
SALES = {
    "name": "sales",
    "about": "Sales",
    "path": "/sales",
    "params": {"from": "{from}", "to": "{to}"},
    "records": "data",
    "natural_key": "id",
    "modified": {"path": "changed"},
    "cursor": {"lag": "5m", "initial": "10d"},
    "ascending": True,
    "paging": {"type": "cursor_query", "cursor": "next"},
}


class Shop:
    """One business's control database, block store and clock."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.store, self.now = dsn, BlockStore(f"file://{folder}"), NOW
        self.folder = folder

    def clock(self) -> datetime:
        return self.now

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(query, values)
            return cur.fetchall() if cur.description else []

    def source(self, number: int = 1, integration: str = "acme", **config: Any) -> SourceRef:
        """A source in the catalogue; `config` holds its settings."""
        source_id = (BUSINESS << 45) | number
        self.rows(
            "insert into control.sources (source_id, business, integration, name) values (%s, %s, %s, %s)"
            " on conflict do nothing",
            source_id,
            BUSINESS,
            integration,
            f"s{number}",
        )
        return SourceRef(source_id, BUSINESS, "cafe", integration, f"s{number}", config, {"token": "s3cret/+"})

    def extract(self, source: SourceRef, spec: IntegrationSpec, **options: Any) -> list[StreamResult]:
        return extract_source(source, spec, self.store, self.dsn, self.clock, Options(**{"patience": 2.0} | options))

    def manifests(self) -> list[Manifest]:
        with closing(psycopg2.connect(self.dsn)) as conn:
            return pending(conn)

    def records(self) -> list[bytes]:
        """Records of every indexed block, in order."""
        return [record for manifest in self.manifests() for record in self.store.read(manifest)]

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def shop(control_dsn: str, tmp_path: Path) -> Shop:
    made = Shop(control_dsn, tmp_path / "blocks")
    made.rows("insert into control.instances values ('i', 'external', 'localhost', 1, 'u', 'env:X')")
    made.rows("insert into control.shards (shard, instance, database) values ('shard_1', 'i', 'd')")
    made.rows(
        "insert into control.businesses (business, name, display_name, shard) values (%s, 'cafe', 'Café', 'shard_1')",
        BUSINESS,
    )
    return made


@pytest.fixture
def vendor(httpserver: HTTPServer) -> Iterator[HTTPServer]:
    """The made-up vendor."""
    yield httpserver
    httpserver.clear()


Answer = Callable[[dict[str, str]], object]
