"""Models of the new shard learn of every row that has come: row by row, or all at once where nobody else lives."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest

from sharding.moving import telling
from tests.sharding.moving.conftest import NEIGHBOUR, Town

TOLD = "select count(*) from raw.feed where source_id = %s"
EPOCHS = "select epoch from meta.feed order by feed"


def with_models(town: Town) -> list[tuple[Any, ...]]:
    """The new shard's list of feeds, as builds make it."""
    town.sql(town.new, """
        create schema if not exists meta;
        create table meta.feed (feed text primary key, relation text, epoch uuid not null default gen_random_uuid());
        insert into meta.feed values ('raw', 'raw.feed'), ('keys.source', 'keys.feed__source');
        grant usage on schema meta to larder_mover;
        grant all on meta.feed to larder_mover""")  # fmt: skip
    return town.sql(town.new, EPOCHS)


def test_beside_others_each_row_is_told(town: Town) -> None:
    before = with_models(town)
    town.sql(town.new, "insert into keys.route (business, name, display_name) values (%s, 'bar', 'Bar')", NEIGHBOUR)
    town.mover().move("new")
    assert town.sql(town.new, TOLD, town.source) == [(60,)]
    assert town.sql(town.new, EPOCHS) == before


def test_alone_all_models_begin_anew_and_changes_since_are_told(town: Town) -> None:
    before = with_models(town)

    def sell(point: str) -> None:
        if point == "models told":
            town.sell("late")

    town.mover(reached=sell).move("new")
    assert not set(town.sql(town.new, EPOCHS)) & set(before)
    assert town.sql(town.new, TOLD, town.source) == [(1,)]


def test_a_model_that_is_built_for_the_first_time_meanwhile_is_told_row_by_row(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it puts on the list nobody else sees yet: with a new epoch it would miss what came after its snapshot."""
    monkeypatch.setattr(telling, "_GIVE_WAY", "50ms")
    before = with_models(town)
    with closing(psycopg2.connect(town.new.dsn)) as model, model.cursor() as cursor:
        cursor.execute("insert into meta.feed values ('raw.link', 'raw.feed__link')")
        town.mover().move("new")
    assert town.sql(town.new, TOLD, town.source) == [(60,)]
    assert town.sql(town.new, EPOCHS) == before
