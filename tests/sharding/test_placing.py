"""Where a business is to live: chosen before it has data, or a shard of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.migrate import shard_drift
from sharding.model import Shard
from sharding.moving.mover import Mover
from sharding.placing import PLACED_POINTS, own_shard, place
from sharding.router import Router
from sharding.settings import Settings
from tests.conftest import Server
from tests.sharding.moving.conftest import SALE


def rows(shard: Shard, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(shard.render(query))
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def two(make_shard: Callable[..., Shard], register: Callable[[Shard], Catalogue]) -> Catalogue:
    """A business with a source on shard `here`; shard `there` is empty."""
    register(make_shard("there", "north"))
    catalogue = register(make_shard("here"))
    catalogue.add_business("cafe", "Café", "here", business=300_001)
    catalogue.add_source("cafe", "till", "till", {"site": "A"})
    return catalogue


def sell(catalogue: Catalogue) -> None:
    """One sale of the business."""
    shard, [source] = Router(catalogue).shard_of("cafe"), catalogue.sources("cafe")
    rows(shard, "select {raw}.ensure_stream('till', 'orders', array['$.payment'])")
    rows(shard, SALE.format(business=300_001, source=source.id, key="a"))


def settled(catalogue: Catalogue) -> None:
    """The business is on `there`, whole, and nothing of it is on `here`."""
    here, there = catalogue.shard("here"), catalogue.shard("there")
    assert (catalogue.business("cafe").shard, catalogue.business("cafe").epoch) == ("there", 2)
    assert rows(there, "select state, epoch, display_name from {keys}.route") == [("active", 2, "Café")]
    [source] = catalogue.sources("cafe")
    assert rows(there, "select id, name, config from {keys}.source") == [(source.id, "till", {"site": "A"})]
    for table in ("route", "source", "counter"):
        assert rows(here, f"select * from {{keys}}.{table}") == []
    [(drawn,)] = rows(there, "select {keys}.reserve(300001, 1)")
    assert drawn == source.id + 1


def test_a_business_without_data_is_placed_elsewhere(two: Catalogue) -> None:
    assert place(two, "cafe", "there").shard == "there"
    settled(two)
    assert place(two, "cafe", "there").epoch == 2


@pytest.mark.parametrize("point", PLACED_POINTS)
def test_a_placing_that_was_cut_off_is_repeated(two: Catalogue, point: str) -> None:
    def die(where: str) -> None:
        if where == point:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place(two, "cafe", "there", die)
    states = [
        state for name in ("here", "there") for (state,) in rows(two.shard(name), "select state from {keys}.route")
    ]
    assert states.count("active") <= 1
    place(two, "cafe", "there")
    settled(two)


def test_one_with_data_is_moved_instead(two: Catalogue) -> None:
    sell(two)
    with pytest.raises(LarderError, match="cafe has data on here") as caught:
        place(two, "cafe", "there")
    assert caught.value.next_command == "larder business move cafe --to SHARD"
    assert rows(two.shard("here"), "select state from {keys}.route") == [("active",)]
    two.set_shard_state("there", "draining")
    with pytest.raises(LarderError, match="there is draining"):
        place(two, "cafe", "there")


@pytest.mark.parametrize("kind", ["schema", "database"])
def test_a_shard_of_its_own_is_a_schema_or_a_database(
    two: Catalogue, settings: Settings, server: Server, kind: Any
) -> None:
    sell(two)
    here = two.shard("here")
    own = own_shard(two, settings, "cafe", kind, None, lambda line: None)
    assert (
        own.name == "own_cafe"
        and not shard_drift(own)
        and own == own_shard(two, settings, "cafe", kind, None, lambda line: None)
    )
    if kind == "schema":
        assert (own.database, own.namespace) == (here.database, "b300001")
        with pytest.raises(LarderError, match="own_cafe is elsewhere"):
            own_shard(two, settings, "cafe", "database", None, lambda line: None)
    else:
        assert (own.instance, own.database, own.namespace) == (here.instance, "larder_b300001", "")
    try:
        assert Mover(two, "cafe", lambda shard: None).move(own.name).state == "flipped"
        assert rows(own, "select count(*) from {raw}.head") == [(1,)]
        assert rows(own, "select state from {keys}.route") == [("active",)]
        assert rows(here, "select state from {keys}.route") == [("out",)]
        with pytest.raises(LarderError, match="here still holds cafe"):  # its old copy is kept there
            two.set_shard_state("here", "retired")
        Mover(two, "cafe", lambda shard: None).finish()
        assert rows(here, "select count(*) from {raw}.head") == [(0,)]
        assert two.set_shard_state("here", "retired").state == "retired"
        with pytest.raises(LarderError, match="cafe has a shard of its own"):
            own_shard(two, settings, "cafe", kind, None, lambda line: None)
    finally:
        if kind == "database":
            server.drop("larder_b300001")
