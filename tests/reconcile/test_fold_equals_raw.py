"""Whatever blocks come, in whatever order they are loaded: the auditor's fold is what raw shows as current."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconcile.compare import ledger_problems, quarantined_places, raw_differences
from reconcile.reader import StreamRules, fold, stored
from sharding.ids import make_id
from tests.ingestion.raw_model import ITEMS, ORDERS, SPEND, Depot, Sample, depot
from tests.ingestion.test_load_order import samples

RULES = {str(stream["name"]): StreamRules.of(stream) for stream in (ORDERS, ITEMS, SPEND)}
FIRST_BUSINESS = 5000
businesses = iter(range(FIRST_BUSINESS, FIRST_BUSINESS + 1000))


@pytest.fixture(scope="module")
def shared(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    """One shard for all examples: each has a business of its own."""
    name = server.copy_of("shard")
    yield depot(lambda *_: server.shard(name), tmp_path_factory.mktemp("blocks"))
    server.drop(name)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(samples(), min_size=2, max_size=10), st.integers(0, 10))
def test_the_fold_equals_raw(shared: Depot, blocks: list[Sample], cut: int) -> None:
    shared.business = next(businesses)
    shared.add_business(shared.business)
    source_id = make_id(shared.business, 1)
    written = [
        shared.block(sample.stream, (line.encode(sample.at) for line in sample.lines), sample.at, sample.window)
        for sample in blocks
    ]
    for batch in (written[cut:], written[:cut]):  # the later ones first
        assert not shared.load(*batch).failures
    kept = stored(shared.store.url, shared.business).blocks
    with closing(psycopg2.connect(shared.shard.dsn)) as connection, connection.cursor() as cursor:
        for stream, rules in RULES.items():
            aside = quarantined_places(cursor, "raw", source_id, stream)
            folded = fold(shared.store.url, [b for b in kept if b.stream == stream], rules, aside)
            table = f"raw_acme.{stream}_current"
            assert raw_differences(cursor, table, source_id, stream, folded, rules.volatile) == []
        assert ledger_problems(cursor, "raw", source_id, {b.block_id: b.records for b in kept}) == []
