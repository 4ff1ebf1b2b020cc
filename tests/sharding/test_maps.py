"""Dated rows never overlap or lose a day that was not meant; an edit is noted for the next build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from itertools import pairwise

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection

from sharding import maps
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.periods import BEGINNING, END, Period, amend, at, to_date, to_text

DAYS = [date(2020, 1, 1) + timedelta(days=n) for n in range(8)]
EDGES = [BEGINNING, *DAYS, END]
spans = st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)).filter(lambda span: span[0] < span[1])


@given(st.lists(st.tuples(spans, st.sampled_from("abc")), max_size=6))
def test_each_day_has_what_was_said_of_it_last(edits: list[tuple[tuple[date, date], str]]) -> None:
    periods: list[Period[str]] = []
    expected: dict[date, str] = {}
    for (start, end), value in edits:
        periods = amend(periods, start, end, lambda _, value=value: value)
        expected |= {day: value for day in [BEGINNING, *DAYS] if start <= day < end}
    assert {day: at(periods, day) for day in [BEGINNING, *DAYS] if at(periods, day)} == expected
    for left, right in pairwise(periods):
        assert left.end < right.start or (left.end == right.start and left.value != right.value)


@given(st.sampled_from(EDGES))
def test_dates_survive_the_way_to_postgres(day: date) -> None:
    assert to_date(to_text(day)) == day


def test_reversed_dates_are_refused() -> None:
    with pytest.raises(ValueError, match="not after"):
        amend([], DAYS[1], DAYS[1], lambda _: "a")


@pytest.fixture
def connection(shard: Shard, catalogue: Catalogue) -> Iterator[Connection]:
    """Business 1 with two tills, each with one site that maps to itself."""
    catalogue.add_business("cafe", "Café", "shard_1", business=1)
    sources = [catalogue.add_source("cafe", kind, kind, {}).id for kind in ("till", "rota")]
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        for source in sources:
            cursor.execute(
                """
                with thing as (
                    insert into keys.source_location (parent_id, source_id, natural_key) values (%(s)s, %(s)s, 'main')
                    returning id
                ), own as (
                    insert into keys.location (parent_id, name)
                    select keys.make_id(1, 0), name from keys.source where id = %(s)s returning id
                )
                insert into keys.location_map (source_location_id, location_id, rule, decided_by)
                select thing.id, own.id, 'itself', 'build' from thing, own
                """,
                {"s": source},
            )
        yield connection


def test_a_site_is_remapped_from_a_date_on_and_the_build_hears_of_it(connection: Connection, shard: Shard) -> None:
    before = {row.source: row for row in maps.list_map(connection, shard, "location", 1)}
    with connection.cursor() as cursor:
        thing = maps.find_thing(cursor, shard, "location", 1, "rota:main")
        target = maps.find_target(cursor, shard, "location", 1, "till")
        assert thing == before["rota"].thing_id and target == before["till"].target_id
        maps.set_map(connection, shard, "location", thing, target, "ann", DAYS[0])
        after = [row for row in maps.list_map(connection, shard, "location", 1) if row.source == "rota"]
        assert sorted((row.valid_from, row.valid_to, row.target_name, row.rule, row.decided_by) for row in after) == [
            ("-infinity", "2020-01-01", "rota", "itself", "build"),
            ("2020-01-01", "infinity", "till", "approved", "ann"),
        ]
        cursor.execute("select distinct location_id from keys.feed__location_map")
        assert {row[0] for row in cursor.fetchall()} >= {before["till"].target_id, before["rota"].target_id}


def test_a_setting_keeps_what_is_not_changed(connection: Connection, shard: Shard) -> None:
    with connection.cursor() as cursor:
        location = maps.find_target(cursor, shard, "location", 1, "till")
    maps.set_setting(connection, shard, location, "vendor", {"timezone": "America/New_York"})
    maps.set_setting(connection, shard, location, "ann", {"day_start": "05:00"}, DAYS[0], DAYS[3])
    rows = [row for row in maps.list_settings(connection, shard, 1) if row["location"] == "till"]
    assert [(row["valid_from"], row["timezone"], row["day_start"], row["decided_by"]) for row in rows] == [
        ("-infinity", "America/New_York", "04:00:00", "vendor"),
        ("2020-01-01", "America/New_York", "05:00:00", "ann"),
        ("2020-01-04", "America/New_York", "04:00:00", "vendor"),
    ]


def test_what_cannot_be_is_refused(connection: Connection, shard: Shard) -> None:
    with connection.cursor() as cursor:
        location = maps.find_target(cursor, shard, "location", 1, "till")
        with pytest.raises(LarderError, match="no time zone 'Mars/Base'"):
            maps.set_setting(connection, shard, location, "ann", {"timezone": "Mars/Base"})
        with pytest.raises(LarderError, match="two businesses"):
            maps.set_map(connection, shard, "location", location, 5, "ann")
        with pytest.raises(LarderError, match="no location 'x:y'"):
            maps.find_thing(cursor, shard, "location", 1, "x:y")
        cursor.execute("update keys.route set state = 'paused'")
        with pytest.raises(psycopg2.Error, match="takes no writes"):
            maps.set_setting(connection, shard, location, "ann", {"day_start": "05:00"})
