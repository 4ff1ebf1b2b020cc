"""Vendors' own examples, from the recorded page to the rows in marts: one shard and one dbt build for all vendors.

A folder beside this file is a vendor, by its integration's name. Nothing else names it. In it:

    source.yml          the business and its source (fields: `Recording` in pages.py)
    <stream>.json       a page, exactly as the vendor answers; it is read through the spec's `records`
    <stream>.<n>.json   more pages of the same read; `context` in source.yml may differ for each
    later/…json         pages read a day later: what changed, or (snapshots, sweeps and complete windows) what is gone
    expected.yml        relation of `marts` → all its rows that come of this vendor, in any order:

        fct_payment:
          # 113.85 in the tender; Square's fee is not in the order
          - {sale_key: BxCc4Y2, amount: 113.85, tip: null, paid_at: "2021-06-18T13:31:43Z"}

Rows are worked out by hand from the vendor's documentation and the definitions in docs, a comment each, never
copied from what comes out. Only the columns written are compared, and all rows must have the same. Numbers compare as
numbers, times as instants, everything else as text; `null` is null. A relation with no rows is `[]`. Ids mean nothing
here: write `<thing>_key` where the relation has only `<thing>_id` (sale_key, campaign_key, source_location_key), and
`location_name` for a location_id: the runner looks them up. Every page must load whole: a record in quarantine fails.

    pytest tests/recorded                     all vendors
    pytest tests/recorded -k lightspeed       this vendor alone is loaded and built: another's errors do not matter
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ingestion.blocks import BlockStore
from orchestration.dbt_worker import DbtProject
from orchestration.results import BuildResult, Job
from orchestration.transform import target_of
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from tests.conftest import Server
from tests.recorded.pages import NOW, Recording, connect, decide, load, write_blocks


@dataclass(frozen=True)
class Built:
    """The shard after its build."""

    shard: Shard
    result: BuildResult
    businesses: dict[str, int]  # by vendor
    problems: dict[str, list[str]]  # of loading, by vendor

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.shard.dsn, options="-c timezone=UTC")) as conn, conn.cursor() as cur:
            cur.execute(query, values or None)
            return cur.fetchall()


def vendors_of(request: pytest.FixtureRequest) -> list[str]:
    """The vendors that the chosen tests are about."""
    named = (item.callspec.params.get("vendor") for item in request.session.items if isinstance(item, pytest.Function)
             and hasattr(item, "callspec"))  # fmt: skip
    return sorted({vendor for vendor in named if isinstance(vendor, str) and (Path(__file__).parent / vendor).is_dir()})


@pytest.fixture(scope="session")
def built(
    request: pytest.FixtureRequest, server: Server, warehouse: DbtProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    """One business a vendor on one shard: pages in blocks, blocks in raw, everything built."""
    folder = tmp_path_factory.mktemp("recorded")
    control, database = server.copy_of("larder_control"), server.copy_of("shard")
    catalogue, store = Catalogue(server.dsn(control), folder), BlockStore(f"file://{folder / 'blocks'}")
    at, secret = server.instance, instances.secret_path(server.instance.name, server.settings)
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))
    catalogue.add_shard("shard_1", at.name, database)
    shard = server.shard(database)
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("insert into keys.clock (now) values (%s)", (NOW,))
    businesses: dict[str, int] = {}
    problems: dict[str, list[str]] = {}
    models: set[str] = set()
    for number, vendor in enumerate(vendors_of(request)):
        recording = Recording.read(Path(__file__).parent / vendor)
        # Every other business has a number above 2^18: the ids of its rows are negative.
        source = connect(catalogue, recording, 1001 + number if number % 2 else 300_001 + number)
        businesses[vendor] = source.business
        decide(shard, source, recording)
        write_blocks(catalogue, store, source, recording)
        problems[vendor] = load(catalogue, shard, store, source)
        models |= set(recording.expected)
    here = Path.cwd()
    job = Job(target_of(shard), select=tuple(f"+{model}" for model in sorted(models)), tests=False)
    result = warehouse.build(job) if models else BuildResult(shard.name, ())
    os.chdir(here)
    yield Built(shard, result, businesses, problems)
    server.drop(database)
    server.drop(control)
