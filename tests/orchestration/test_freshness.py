"""How fresh data are: by what was really read, loaded and built, and by each stream's own time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from ingestion import objectives
from ingestion.manifest import REIMPORT
from ingestion.registry import discover
from ingestion.spec import AllowedHours
from orchestration.cycle import run_cycle
from orchestration.freshness import Freshness, Report, evaluate, late_sources, open_span
from sharding.catalogue import Catalogue
from tests.orchestration.shop import Shop

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def conn(catalogue: Catalogue) -> Iterator[Connection]:
    """The control database of a catalogue with two businesses: `cafe` with a till and a rota, `diner` with a till."""
    for business in ("cafe", "diner"):
        catalogue.add_business(business, business.title(), "shard_1")
        catalogue.add_source(business, "square", "till", {})
    catalogue.add_source("cafe", "sevenshifts", "rota", {})
    with closing(psycopg2.connect(catalogue.dsn)) as made:
        execute(made, "update control.sources set created_at = %s", NOW - 100 * DAY)
        yield made


def execute(conn: Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with conn, conn.cursor() as cur:
        cur.execute(statement, values or None)
        return cur.fetchall() if cur.description else []


def read(conn: Connection, catalogue: Catalogue, source: str, ago: timedelta, *only: str) -> None:
    """Say that streams of a source were last read so long ago; all of them where none is named."""
    found = catalogue.source(source)
    for stream in only or [stream.name for stream in discover()[found.integration].streams]:
        execute(
            conn,
            "insert into control.cursors (source_id, stream, cursor, read_at, due_at) values (%s, %s, '{}', %s, %s)"
            " on conflict (source_id, stream) do update set read_at = excluded.read_at",
            *(found.id, stream, NOW - ago, NOW),
        )


def of(report: Report, source: str) -> Freshness:
    [one] = [one for one in report.worst if one.source == source]
    return one


def state(conn: Connection, source: str) -> str:
    return of(evaluate(conn, NOW), source).state


@pytest.fixture
def fresh(conn: Connection, catalogue: Catalogue) -> Connection:
    """All of it was read five minutes ago."""
    for source in ("cafe/till", "cafe/rota", "diner/till"):
        read(conn, catalogue, source, 5 * MINUTE)
    return conn


def test_what_was_just_read_is_fresh(fresh: Connection) -> None:
    report = evaluate(fresh, NOW)
    assert {one.state for one in report.worst} == {"fresh"} and len(report.worst) == 3
    assert (report.late_businesses, report.businesses, report.sources("fresh")) == (0, 2, 3)
    assert of(report, "cafe/till").objective == 15 * MINUTE and of(report, "cafe/rota").objective == HOUR


def test_a_source_is_as_late_as_its_latest_stream(fresh: Connection, catalogue: Catalogue) -> None:
    read(fresh, catalogue, "cafe/till", 16 * MINUTE, "orders")
    report = evaluate(fresh, NOW)
    late = of(report, "cafe/till")
    assert (late.state, late.stream, late.age) == ("late", "orders", 16 * MINUTE)
    assert late.through == NOW - 16 * MINUTE
    assert report.worst[0] == late and late_sources(fresh, NOW) == [late]
    assert (report.late_businesses, report.sources("late"), report.sources()) == (1, 1, 3)
    read(fresh, catalogue, "cafe/till", 46 * MINUTE, "orders")
    assert state(fresh, "cafe/till") == "very_late"


def test_a_stream_of_every_hour_is_not_late_after_a_quarter(fresh: Connection, catalogue: Catalogue) -> None:
    hourly = next(s.name for s in discover()["square"].streams if s.cadence == HOUR)
    read(fresh, catalogue, "cafe/till", 80 * MINUTE, hourly)  # its hour, a tenth of grace, and the quarter
    assert state(fresh, "cafe/till") == "fresh"
    read(fresh, catalogue, "cafe/till", 82 * MINUTE, hourly)
    assert state(fresh, "cafe/till") == "late"
    read(fresh, catalogue, "cafe/rota", 80 * MINUTE, "users")  # its objective is an hour, and so is its cadence
    assert state(fresh, "cafe/rota") == "fresh"
    read(fresh, catalogue, "cafe/rota", 82 * MINUTE, "users")
    assert state(fresh, "cafe/rota") == "late"


def test_a_paused_source_is_paused(fresh: Connection, catalogue: Catalogue) -> None:
    read(fresh, catalogue, "cafe/till", DAY)
    catalogue.set_source_state("cafe/till", "paused", "me", "why not")
    assert state(fresh, "cafe/till") == "paused"
    assert late_sources(fresh, NOW) == []


def test_a_block_that_is_not_loaded_keeps_data_old(fresh: Connection, catalogue: Catalogue) -> None:
    source = catalogue.source("cafe/till").id

    def block(created_by: str) -> None:
        execute(
            fresh,
            "insert into control.blocks (block_id, source_id, stream, path, manifest, observed_at, records, bytes)"
            " values (gen_random_uuid(), %s, 'orders', 'p', jsonb_build_object('created_by', %s::text), %s, 1, 1)",
            *(source, created_by, NOW - 8 * MINUTE),
        )

    block(REIMPORT)  # read again by request: what was there before is no older for it
    assert state(fresh, "cafe/till") == "fresh"
    block("extract")  # the stream is read every ten minutes, so before that it was read 18 minutes ago
    late = of(evaluate(fresh, NOW), "cafe/till")
    assert (late.state, late.age) == ("late", 18 * MINUTE)
    execute(fresh, "update control.blocks set loaded_at = now()")
    assert state(fresh, "cafe/till") == "fresh"


def test_a_new_source_has_a_day(conn: Connection, catalogue: Catalogue) -> None:
    execute(conn, "update control.sources set created_at = %s", NOW - DAY)
    assert state(conn, "cafe/till") == "new"
    execute(conn, "update control.sources set created_at = %s", NOW - DAY - 16 * MINUTE)
    late = of(evaluate(conn, NOW), "cafe/till")
    assert (late.state, late.through, late.age) == ("late", None, None)


def test_the_most_special_objective_counts(fresh: Connection, catalogue: Catalogue) -> None:
    cafe, till = catalogue.business("cafe").id, catalogue.source("cafe/till").id

    def wanted() -> timedelta:
        return of(evaluate(fresh, NOW), "cafe/till").objective

    steps: list[tuple[dict[str, Any], timedelta]] = [
        ({}, 5 * HOUR), ({"kind": "pos"}, 4 * HOUR), ({"business": cafe}, 3 * HOUR),
        ({"kind": "pos", "business": cafe}, 2 * HOUR), ({"source_id": till}, HOUR),
    ]  # fmt: skip
    for scope, within in steps:
        objectives.declare(fresh, within, "me", **scope)
        assert wanted() == within
    assert of(evaluate(fresh, NOW), "diner/till").objective == 4 * HOUR
    assert of(evaluate(fresh, NOW), "cafe/rota").objective == 3 * HOUR
    objectives.declare(fresh, 30 * MINUTE, "you", source_id=till)
    assert wanted() == 30 * MINUTE
    assert [one.within for one in objectives.declared(fresh)][-1] == 30 * MINUTE
    for scope, _ in reversed(steps):
        assert objectives.withdraw(fresh, **scope)
    assert not objectives.withdraw(fresh, source_id=till)
    assert wanted() == 15 * MINUTE


def test_only_one_business_and_the_worst_few(fresh: Connection, catalogue: Catalogue) -> None:
    report = evaluate(fresh, NOW, catalogue.business("diner").id)
    assert [one.source for one in report.worst] == ["diner/till"] and report.sources() == 1
    assert len(evaluate(fresh, NOW, worst=1).worst) == 1


HOURS = AllowedHours.model_validate({"from": time(2), "to": time(6)})
NIGHT = AllowedHours.model_validate({"from": time(22), "to": time(4)})


@pytest.mark.parametrize(
    ("hours", "now", "opened", "until"),
    [
        (HOURS, NOW.replace(hour=3), NOW.replace(hour=2), NOW.replace(hour=3)),
        (HOURS, NOW, NOW.replace(hour=2), NOW.replace(hour=6)),
        (HOURS, NOW.replace(hour=1), NOW.replace(hour=2) - DAY, NOW.replace(hour=6) - DAY),
        (NIGHT, NOW.replace(hour=1), NOW.replace(hour=22) - DAY, NOW.replace(hour=1)),
        (NIGHT, NOW, NOW.replace(hour=22) - DAY, NOW.replace(hour=4)),
        (NIGHT, NOW.replace(hour=23), NOW.replace(hour=22), NOW.replace(hour=23)),
        (None, NOW, None, NOW),
    ],
)
def test_when_a_vendor_could_last_be_asked(
    hours: AllowedHours | None, now: datetime, opened: datetime | None, until: datetime
) -> None:
    assert open_span(hours, now) == (opened, until)


def test_hours_in_which_nobody_may_ask_do_not_count(
    fresh: Connection, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = dict(discover())
    read(fresh, catalogue, "cafe/till", 6 * HOUR + 5 * MINUTE)  # shortly before it closed, at 6

    def with_hours(start: time, end: time) -> None:
        hours = AllowedHours.model_validate({"from": start, "to": end})
        closed = {**specs, "square": specs["square"].model_copy(update={"allowed_hours": hours})}
        monkeypatch.setattr("orchestration.freshness.discover", lambda: closed)

    with_hours(time(2), time(6))
    assert state(fresh, "cafe/till") == "fresh"
    with_hours(time(12), time(18))  # it has just opened
    assert state(fresh, "cafe/till") == "fresh"
    with_hours(time(2), time(6, 30))  # it was open for half an hour more, and nobody read it
    assert state(fresh, "cafe/till") == "late"


def test_a_cycle_makes_fresh_and_a_broken_model_keeps_old(shop: Shop) -> None:
    """Through real cycles: what a shard failed to build is as old as its last good build, whatever was read since."""

    def states() -> dict[str, str]:
        with closing(psycopg2.connect(shop.installation.catalogue.dsn)) as conn:
            return {one.source: one.state for one in evaluate(conn, shop.now).worst}

    shop.sell("cafe", "a", "3.10")
    assert not run_cycle(shop.installation).failures
    assert states() == {"cafe/till": "fresh", "diner/till": "fresh"}
    shop.now += 20 * MINUTE  # nothing runs
    assert states() == {"cafe/till": "late", "diner/till": "late"}
    shop.sell("cafe", "b", "3.10", day="someday")  # no date: the model fails
    assert run_cycle(shop.installation).failures
    shop.now += 16 * MINUTE
    with closing(psycopg2.connect(shop.installation.catalogue.dsn)) as conn:
        execute(conn, "update control.cursors set read_at = %s", shop.now)  # vendors go on to be read
        found = execute(conn, "select state, behind_since from control.shard_cycles where shard = 'shard_1'")
    assert found == [("failed", shop.now - 16 * MINUTE)]
    assert states() == {"cafe/till": "late", "diner/till": "fresh"}
    shop.sales["cafe"].pop()
    shop.sell("cafe", "b", "3.10")
    run_cycle(shop.installation)
    assert states() == {"cafe/till": "fresh", "diner/till": "fresh"}
