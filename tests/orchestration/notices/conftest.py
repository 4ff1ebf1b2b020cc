"""A control database with businesses and sources that need no shard: what is told is all in there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection
from pytest_httpserver import HTTPServer

from ingestion import index
from orchestration.notices import outbox, state
from orchestration.notices.causes import Cause, Well
from orchestration.notices.channels import Channels
from tests.orchestration.notices.post import Office, opened
from tests.orchestration.notices.told import SECRET, Told, secret_of
from tests.orchestration.shop import Shop

SOURCES = 500
CONTROL = f"""
insert into control.instances values ('pg', 'external', 'h', 1, 'u', 'env:X');
insert into control.shards (shard, instance, database)
select 'shard_' || n, 'pg', 'd' || n from generate_series(0, 3) as n;
insert into control.businesses (business, name, display_name, shard)
select n, 'cafe_' || n, 'Café ' || n, 'shard_' || n % 4 from generate_series(1, {SOURCES}) as n;
insert into control.sources (source_id, business, integration, name)
select n::bigint << 45, n, 'acme', 'till' from generate_series(1, {SOURCES}) as n
"""


@dataclass
class World:
    """The database, the mail server, and what a cycle does with both."""

    conn: Connection
    dsn: str
    channels: Channels
    office: Office = field(default_factory=Office)

    def cycle(self, *causes: Cause, well: Well | None = None) -> None:
        """A cycle that met these causes, and told."""
        state.meet(self.conn, causes, "run-1")
        state.heal(self.conn, well)
        self.tell()

    def tell(self) -> outbox.Sent:
        outbox.write(self.conn, self.channels)
        return outbox.send(self.conn, self.channels, now=True)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.conn, self.conn.cursor() as cur:
            cur.execute(query, values or None)
            return cur.fetchall() if cur.description else []

    def answered(self, *numbers: int, stream: str = "sales") -> None:
        """Sources whose stream was read."""
        self.sql(
            "insert into control.extraction_log (source_id, stream, started_at, outcome)"
            " select n::bigint << 45, %s, now(), 'empty' from unnest(%s) as n",
            stream, list(numbers),
        )  # fmt: skip

    def a_day_passes(self) -> None:
        for table, column in (("notices", "queued_at"), ("notice_affected", "queued_at")):
            self.sql(f"update control.{table} set {column} = {column} - interval '25 hours'")


@pytest.fixture
def world(control_dsn: str) -> Iterator[World]:
    """500 sources of one vendor, and a mail server."""
    office = Office()
    with closing(index.connect(control_dsn)) as conn, opened(office) as channels:
        made = World(conn, control_dsn, channels, office)
        made.sql(CONTROL)
        yield made


@pytest.fixture
def told(shop: Shop, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """The shop's channels, and secrets that are to stay ones."""
    monkeypatch.setenv("HOOK", httpserver.url_for("/hook"))
    for source in shop.installation.catalogue.sources():
        secret_of(shop, source.label).write_text(f"{source.business_name}-{SECRET}")
    with opened(office := Office()) as channels:
        shop.installation = replace(shop.installation, channels=replace(channels, webhook="env:HOOK"))
        made = Told(shop, office)
        httpserver.clear_all_handlers()
        httpserver.expect_request("/hook", method="POST").respond_with_handler(made.take)
        httpserver.expect_request("/sales").respond_with_handler(made.answer)
        yield made


def down(number: int, said: str = "http://a/sales failed (HTTP 503)", stream: str = "sales") -> Cause:
    """The vendor is down, for one of the sources."""
    who = f"cafe_{number}/till"
    return Cause("extract", "vendor down", "Acme", who, said, f"larder extract --source {who}", stream,
                 frozenset({who, "Acme", "acme"}))  # fmt: skip


def refused(number: int) -> Cause:
    """The vendor refuses one source's credentials."""
    who = f"cafe_{number}/till"
    said = f"Acme refuses the credentials of {who} (HTTP 401): Maria Garcia's token {number}"
    return Cause("extract", "credentials", "Acme", who, said, f"larder source check {who}", "sales",
                 frozenset({who, "Acme"}))  # fmt: skip


def failing_test(number: int, shard: str = "shard_1") -> Cause:
    """A data test that fails on a shard."""
    name = f"not_null_fct_sale_{number}"
    return Cause("test", "data", name, shard, "Got 3 results, configured to fail if != 0",
                 f"larder build --shard {shard} --select {name}", names=frozenset({name, shard}))  # fmt: skip
