"""The catalogue and the shard agree on businesses and sources, also after a crash between the two."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import business_of
from sharding.model import Shard


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_a_business_stands_in_the_catalogue_and_on_its_shard(catalogue: Catalogue, shard: Shard) -> None:
    business = catalogue.add_business("jaffle_shop", "Jaffle Shop", "shard_1", reporting_currency="EUR")
    assert catalogue.business("jaffle_shop") == catalogue.business(business.id) == business
    assert catalogue.businesses("shard_1") == [business]
    assert catalogue.businesses("shard_2") == []
    assert rows(shard.dsn, "select business, name, state, epoch, reporting_currency from keys.route") == [
        (business.id, "jaffle_shop", "active", 1, "EUR")
    ]
    assert rows(shard.dsn, "select business, next from keys.counter") == [(business.id, 1)]


def test_a_source_bears_its_business_in_its_id(catalogue: Catalogue, shard: Shard) -> None:
    business = catalogue.add_business("jaffle_shop", "Jaffle Shop", "shard_1", business=2**18)
    source = catalogue.add_source("jaffle_shop", "till", "main", {"site": "A"}, "env:TOKEN")
    assert source.id < 0 and business_of(source.id) == business.id
    assert catalogue.source("jaffle_shop/main") == catalogue.source(source.id) == source
    assert source.label == "jaffle_shop/main" and source.config == {"site": "A"}
    assert rows(shard.dsn, "select id, integration, name from keys.source") == [(source.id, "till", "main")]
    assert catalogue.sources(integration="till", shard="shard_1", business="jaffle_shop") == [source]
    assert catalogue.sources(integration="rota") == []
    assert catalogue.set_source_state(source.id, "paused").state == "paused"


def test_a_crash_between_shard_and_catalogue_repeats_with_the_same_id(catalogue: Catalogue, shard: Shard) -> None:
    catalogue.add_business("jaffle_shop", "Jaffle Shop", "shard_1")
    first = catalogue.add_source("jaffle_shop", "till", "main", {})
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("delete from control.sources")
    assert catalogue.add_source("jaffle_shop", "till", "main", {}).id == first.id
    assert rows(shard.dsn, "select count(*) from keys.source") == [(1,)]


def test_names_are_taken_once(catalogue: Catalogue) -> None:
    catalogue.add_business("jaffle_shop", "Jaffle Shop", "shard_1")
    catalogue.add_source("jaffle_shop", "till", "main", {})
    for again in (
        lambda: catalogue.add_business("jaffle_shop", "Other", "shard_1"),
        lambda: catalogue.add_source("jaffle_shop", "till", "main", {}),
        lambda: catalogue.add_shard("shard_1", "test", "elsewhere"),
    ):
        with pytest.raises(LarderError, match="exists already"):
            again()


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (lambda c: c.shard("nowhere"), "no shard 'nowhere'"),
        (lambda c: c.business("nobody"), "no business 'nobody'"),
        (lambda c: c.source("nobody/main"), "no source 'nobody/main'"),
        (lambda c: c.add_business("Bad Name", "x", "shard_1"), "breaks the rule"),
        (lambda c: c.add_business("big", "x", "shard_1", business=2**19), "outside"),
    ],
)
def test_what_is_not_there_is_named(catalogue: Catalogue, look: Callable[[Catalogue], object], said: str) -> None:
    with pytest.raises(LarderError, match=said):
        look(catalogue)


def test_a_refused_business_leaves_no_route(catalogue: Catalogue, shard: Shard) -> None:
    with pytest.raises(LarderError):
        catalogue.add_business("Bad Name", "x", "shard_1")
    assert rows(shard.dsn, "select * from keys.route") == []


def test_credentials_come_by_reference(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.add_business("jaffle_shop", "Jaffle Shop", "shard_1")
    token = catalogue.add_source("jaffle_shop", "till", "main", {}, "env:TILL_TOKEN")
    with pytest.raises(LarderError, match="TILL_TOKEN is not set") as caught:
        catalogue.credentials(token)
    assert caught.value.turn == "credentials"
    monkeypatch.setenv("TILL_TOKEN", "abc")
    assert catalogue.credentials(token) == {"token": "abc"}
    monkeypatch.setenv("TILL_TOKEN", '{"client_id": "a", "client_secret": "b"}')
    assert catalogue.credentials(token) == {"client_id": "a", "client_secret": "b"}


def test_a_shard_is_retired_when_nobody_lives_there(catalogue: Catalogue) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    assert catalogue.set_shard_state("shard_1", "draining").state == "draining"
    with pytest.raises(LarderError, match="shard_1 is draining: it takes no new business"):
        catalogue.add_business("bar", "Bar", "shard_1")
    with pytest.raises(LarderError, match="shard_1 still holds cafe"):
        catalogue.set_shard_state("shard_1", "retired")
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("delete from control.businesses")
    assert catalogue.set_shard_state("shard_1", "retired").state == "retired"
    assert catalogue.shards() == []
    assert catalogue.set_shard_state("shard_1", "active").state == "active"
