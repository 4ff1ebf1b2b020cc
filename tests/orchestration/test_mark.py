"""The probe of a shard: which models are behind which feeds, without asking dbt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from orchestration.mark import Look, look, set_day, set_mark, tell_read_through, tick
from sharding.ids import make_id
from sharding.model import Shard

NOW = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
TILL = make_id(1, 1)
TABLES = """
create schema if not exists {meta};
create table {meta}.mark (
    model text primary key, seen pg_snapshot not null default pg_current_snapshot(), reads jsonb not null default '{}'
);
create table {meta}.feed (
    feed text primary key, relation text not null, epoch uuid not null default gen_random_uuid(),
    pruned_to xid8 not null default '0'
);
insert into {meta}.feed values
    ('raw', '{raw}.feed'), ('keys.clock', '{keys}.feed__clock'), ('keys.source', '{keys}.feed__source');
insert into {keys}.route (business, name, display_name) values (1, 'cafe', 'Café');
insert into {keys}.source (id, integration, name) values ({keys}.make_id(1, 1), 'acme', 'till');
"""
READS = "jsonb_build_object('epoch', (select epoch from {meta}.feed where feed = '%s'), 'filter', '%s')"


@pytest.fixture(params=["", "north"])
def shard(make_shard: Callable[..., Shard], request: pytest.FixtureRequest) -> Shard:
    """A shard with and without a namespace: three models bear marks, and one reads nothing."""
    made = make_shard("shard_1", request.param)
    run(made, TABLES)
    for model, feeds in {
        "orders": {"raw": "stream = ''orders''", "keys.source": "true"},
        "shifts": {"raw": "stream = ''shifts''", "keys.clock": "true"},
        "sites": {"keys.source": "true"},
        "dates": {},
    }.items():
        reads = ", ".join(f"'{feed}', {READS % (feed, filter_)}" for feed, filter_ in feeds.items())
        run(made, f"insert into {{meta}}.mark (model, reads) values ('{model}', jsonb_build_object({reads}))")
    return made


@pytest.fixture
def conn(shard: Shard) -> Iterator[Connection]:
    """A connection, after the project was handed over whole and its Python models ran today."""
    with closing(psycopg2.connect(shard.dsn)) as made:
        set_mark(made, schema_of(shard), look(made, schema_of(shard), "code", NOW), "code")
        set_day(made, schema_of(shard), NOW)
        yield made


def run(shard: Shard, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(shard.dsn)) as made, made, made.cursor() as cur:
        cur.execute(shard.render(sql), values or None)
        return list(cur.fetchall()) if cur.description else []


def schema_of(shard: Shard) -> Callable[[str], str]:
    return lambda bare: shard.schemas.get(bare, shard.schema(bare))


def seen(conn: Connection, shard: Shard, code: str = "code", now: datetime = NOW) -> Look:
    return look(conn, schema_of(shard), code, now)


PUBLISHED = (
    "insert into {raw}.feed (integration, stream, source_id, natural_key, operation, version_id)"
    " values ('acme', '%s', 1, 'k', 'I', 1)"
)


def test_nothing_new(conn: Connection, shard: Shard) -> None:
    found = seen(conn, shard)
    assert (found.reason, found.whole, dict(found.stale), found.new_day) == (None, None, {}, False)
    assert found.integrations == ("acme",)


def test_stale_are_the_models_that_read_what_is_new(conn: Connection, shard: Shard) -> None:
    run(shard, PUBLISHED % "orders")
    assert seen(conn, shard).stale == {"orders": ("raw",)}
    run(shard, PUBLISHED % "menus")
    assert seen(conn, shard).stale == {"orders": ("raw",)}, "no model reads menus"
    run(shard, "update {keys}.source set name = 'bar'")
    found = seen(conn, shard)
    assert {model: set(feeds) for model, feeds in found.stale.items()} == {
        "orders": {"raw", "keys.source"}, "sites": {"keys.source"}
    }  # fmt: skip
    assert found.reason == "new in keys.source, raw"


def test_an_entry_that_became_visible_late_is_new(conn: Connection, shard: Shard) -> None:
    with closing(psycopg2.connect(shard.dsn)) as slow, slow.cursor() as cur:
        cur.execute(shard.render(PUBLISHED % "orders"))
        run(shard, PUBLISHED % "orders")
        run(shard, "update {meta}.mark set seen = pg_current_snapshot()")
        assert seen(conn, shard).reason is None
        slow.commit()
    assert seen(conn, shard).stale == {"orders": ("raw",)}
    run(shard, "update {meta}.mark set seen = pg_current_snapshot()")
    assert seen(conn, shard).reason is None


@pytest.mark.parametrize(
    "loss",
    [
        "update {meta}.feed set epoch = gen_random_uuid() where feed = 'keys.source'",
        "update {meta}.feed set pruned_to = pg_current_xact_id() where feed = 'keys.source'",
        "delete from {meta}.feed where feed = 'keys.source'",
        "update {meta}.feed set relation = '{keys}.no_such_feed' where feed = 'keys.source'",
    ],
)
def test_a_feed_that_cannot_tell_makes_its_readers_stale(conn: Connection, shard: Shard, loss: str) -> None:
    run(shard, loss)
    assert seen(conn, shard).stale == {"orders": ("keys.source",), "sites": ("keys.source",)}


def test_a_model_that_lost_its_mark_is_stale(conn: Connection, shard: Shard) -> None:
    run(shard, "delete from {meta}.mark where model = 'dates'")
    assert seen(conn, shard).stale == {"dates": ("no mark",)}
    run(shard, "drop table {meta}.mark")
    assert set(seen(conn, shard).stale) == {"dates", "orders", "shifts", "sites"}


def test_a_model_that_failed_when_all_was_handed_over_is_stale(conn: Connection, shard: Shard) -> None:
    set_mark(conn, schema_of(shard), seen(conn, shard), "code", ["broken"])
    assert seen(conn, shard).stale == {"broken": ("no mark",)}


def test_a_project_without_marks(make_shard: Callable[..., Shard]) -> None:
    shard = make_shard()
    with closing(psycopg2.connect(shard.dsn)) as conn:
        assert seen(conn, shard).reason == "never built"
        set_mark(conn, schema_of(shard), seen(conn, shard), "code")
        set_day(conn, schema_of(shard), NOW)
        assert seen(conn, shard).reason is None


def test_what_makes_everything_due(conn: Connection, shard: Shard) -> None:
    assert seen(conn, shard, "other code").whole == "models changed"
    run(shard, "insert into {keys}.source (id, integration, name) values ({keys}.make_id(1, 2), 'rota', 'rota')")
    assert seen(conn, shard).whole == "integrations of this shard changed: rota"
    run(shard, "update {raw}.build_mark set system_identifier = 1")
    assert seen(conn, shard).whole == "restored on another cluster"
    run(shard, "delete from {raw}.build_mark")
    assert seen(conn, shard).whole == "never built"


def test_a_new_day_is_the_vendors(conn: Connection, shard: Shard) -> None:
    assert seen(conn, shard, now=NOW.replace(hour=23)).reason is None
    tomorrow = seen(conn, shard, now=NOW + timedelta(days=1))
    assert (tomorrow.whole, tomorrow.new_day, tomorrow.reason) == (None, True, "a new day")
    set_day(conn, schema_of(shard), NOW + timedelta(days=1))
    assert seen(conn, shard, now=NOW + timedelta(days=1)).reason is None


def test_time_goes_on_by_full_hours(conn: Connection, shard: Shard) -> None:
    def told(at: datetime, *, each_hour: bool) -> str | None:
        tick(conn, schema_of(shard), at, each_hour=each_hour)
        return seen(conn, shard).reason

    assert told(NOW, each_hour=True) == "time went on"
    assert seen(conn, shard).stale == {"shifts": ("keys.clock",)}
    run(shard, "update {meta}.mark set seen = pg_current_snapshot()")
    assert told(NOW + timedelta(minutes=49), each_hour=True) is None
    assert told(NOW + timedelta(minutes=50), each_hour=True) == "time went on"
    run(shard, "update {meta}.mark set seen = pg_current_snapshot()")
    assert told(NOW + timedelta(minutes=51), each_hour=False) == "time went on", "a build is told the minute"
    run(shard, "update {meta}.mark set seen = pg_current_snapshot()")
    assert told(NOW + timedelta(minutes=51), each_hour=False) is None, "the same time is no news"
    run(shard, PUBLISHED % "orders")
    assert told(NOW + timedelta(hours=3), each_hour=True) == "new in raw"


def test_read_through_is_told_by_the_hour_and_never_goes_back(conn: Connection, shard: Shard) -> None:
    def told(at: datetime, source: int = TILL) -> list[tuple[Any, ...]]:
        tell_read_through(conn, schema_of(shard), {(source, "orders"): at})
        return run(shard, "select source_id, stream, observed_at from {raw}.read_through")

    assert told(NOW) == [(TILL, "orders", NOW)]
    assert told(NOW + timedelta(minutes=20)) == [(TILL, "orders", NOW)]
    assert told(NOW + timedelta(hours=1)) == [(TILL, "orders", NOW + timedelta(hours=1))]
    assert told(NOW - timedelta(hours=5)) == [(TILL, "orders", NOW + timedelta(hours=1))]
    assert told(NOW, make_id(1, 9)) == [(TILL, "orders", NOW + timedelta(hours=1))], "a source that does not live here"
    assert run(shard, "select count(*) from {raw}.feed__read_through where source_id = %s", TILL) >= [(2,)]


def test_a_reason_is_for_people() -> None:
    found = Look(1, (), None, {"a": ("keys.clock",), "b": ("raw", "keys.clock")})
    assert found.reason == "new in raw"
    assert dataclasses.replace(found, whole="asked for").reason == "asked for"
