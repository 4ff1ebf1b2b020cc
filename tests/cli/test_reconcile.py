"""`larder reconcile` where there is nothing to compare, or bytes that cannot be trusted: told, not thrown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from ingestion.blocks import BlockStore
from reconcile.compare import FACTS, SUMMARIES
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.settings import Settings
from tests.cli.conftest import Ran
from tests.cli.test_load import ORDER, block

Larder = Callable[..., Ran]


def cafe(catalogue: Catalogue) -> Catalogue:
    catalogue.add_business("cafe", "Cafe", "shard_1")
    catalogue.add_source("cafe", "square", "till", {})
    return catalogue


def test_before_the_first_build(larder: Larder, settings: Settings, catalogue: Catalogue) -> None:
    block(settings, cafe(catalogue), "cafe/till", ORDER)
    ran = larder("reconcile")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no marts.fct_sale to compare with the receipts yet" in ran.err
    assert "next: larder build" in ran.err


@pytest.mark.fault(24)
def test_a_flipped_byte(larder: Larder, settings: Settings, catalogue: Catalogue, shard: Shard) -> None:
    """The facts are empty stand-ins: a damaged source is told before any of its facts is read."""
    store = BlockStore(settings.block_store)
    manifest = block(settings, cafe(catalogue), "cafe/till", *({**ORDER, "id": str(n)} for n in range(50)))
    assert larder("load").code == 0
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        for query in (*FACTS, *SUMMARIES):
            cursor.execute(f"create table marts.{query.table} (location_id bigint, business_date date)")
    data = Path(store.path(manifest.data_path))
    whole = data.read_bytes()
    data.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])

    ran = larder("reconcile")
    assert ran.code == 5
    assert "not readable" in ran.out
    assert f"cafe/till: block {manifest.block_id} is damaged" in " ".join(ran.out.split())
    assert f"larder blocks show {manifest.block_id}" in " ".join(ran.out.split())
    assert "Traceback" not in ran.out + ran.err

    told = larder("reconcile", "--json")
    assert (told.code, told.json[0]["equal"]) == (5, False)
    assert f"block {manifest.block_id} is damaged" in told.json[0]["differences"][0]


@pytest.mark.fault(24)
def test_a_damaged_manifest(larder: Larder, settings: Settings, catalogue: Catalogue, shard: Shard) -> None:
    manifest = block(settings, cafe(catalogue), "cafe/till", ORDER)
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        for query in (*FACTS, *SUMMARIES):
            cursor.execute(f"create table marts.{query.table} (location_id bigint, business_date date)")
    Path(BlockStore(settings.block_store).path(manifest.path)).write_text("{")
    ran = larder("reconcile")
    assert ran.code == 5
    assert "is damaged" in ran.err
    assert "next: larder blocks list" in ran.err
