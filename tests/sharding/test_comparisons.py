"""What a business compares a day or week with is decided once for each, and told to the next build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.comparisons import Comparison, list_comparisons, remove_comparison, set_comparison
from sharding.errors import LarderError
from sharding.model import Shard

EASTER = Comparison("day", date(2024, 3, 31), date(2023, 4, 9), "Easter", "ann")
WEEK_53 = Comparison("week", date(2024, 12, 30), date(2023, 12, 25), "53 weeks", "ann")  # Mondays


@pytest.fixture
def connection(shard: Shard, catalogue: Catalogue) -> Iterator[Connection]:
    for number, name in enumerate(("cafe", "bar"), start=1):
        catalogue.add_business(name, name, "shard_1", business=number)
    with closing(psycopg2.connect(shard.dsn)) as connection:
        yield connection


def test_decisions_are_a_businesss_own_and_the_later_one_holds(connection: Connection, shard: Shard) -> None:
    set_comparison(connection, shard, 1, EASTER)
    set_comparison(connection, shard, 1, WEEK_53)
    later = Comparison("day", EASTER.begins_on, date(2023, 4, 2), "not Easter", "bob")
    set_comparison(connection, shard, 1, later)
    assert list_comparisons(connection, shard, 1) == [WEEK_53, later]
    assert list_comparisons(connection, shard, 2) == []
    remove_comparison(connection, shard, 1, "day", EASTER.begins_on)
    assert list_comparisons(connection, shard, 1) == [WEEK_53]


def test_what_was_and_what_is_decided_is_told(connection: Connection, shard: Shard) -> None:
    set_comparison(connection, shard, 1, EASTER)
    set_comparison(connection, shard, 1, EASTER)  # nothing new: nothing is told
    remove_comparison(connection, shard, 1, "day", EASTER.begins_on)
    with connection.cursor() as cursor:
        cursor.execute("select period, begins_on, compared_with from keys.feed__comparison")
        assert cursor.fetchall() == [("day", EASTER.begins_on, EASTER.compared_with)] * 2


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (
            Comparison("day", date(2024, 3, 31), date(2024, 3, 31), "", "ann"),
            "can only be compared with an earlier day",
        ),
        (Comparison("week", date(2024, 12, 31), date(2023, 12, 25), "", "ann"), "2024-12-31 is a Tuesday"),
        (Comparison("week", date(2024, 12, 30), date(2023, 12, 24), "", "ann"), "2023-12-24 is a Sunday"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    connection: Connection, shard: Shard, decision: Comparison, said: str
) -> None:
    with pytest.raises(LarderError, match=said):
        set_comparison(connection, shard, 1, decision)


def test_what_was_never_decided_cannot_be_taken_back(connection: Connection, shard: Shard) -> None:
    with pytest.raises(LarderError, match="nothing was decided"):
        remove_comparison(connection, shard, 1, "day", EASTER.begins_on)
