"""What holds a table is waited for only shortly; an autovacuum, which may hold a large one for hours, is sent away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving import capture
from sharding.moving.capture import retried, start_capture, stop_capture, sweep
from sharding.moving.copying import connect
from tests.conftest import Server
from tests.sharding.moving.conftest import BUSINESS, Town
from tests.waiting import until

AT_WORK = "select count(*) from pg_stat_progress_vacuum where relid = 'raw.head'::regclass"
HEADS = """
insert into raw.head (source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id, ordinal,
    generation, last_seen_at)
select 1, 'orders', n, n, gen_random_uuid(), now(), now(), gen_random_uuid(), 1, 1, now()
from generate_series(1, 50000) as n
"""
SLOWLY = """
alter table raw.head set (
    autovacuum_vacuum_insert_threshold = 0, autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1
)
"""


def as_admin(shard: Shard) -> Connection:
    """As migrations connect."""
    return psycopg2.connect(shard.dsn)


@pytest.fixture
def being_vacuumed(town: Town, other_server: Server) -> Iterator[Town]:
    """An autovacuum has begun on a table of the new shard, and would take minutes."""
    town.sql(town.new, HEADS)
    town.sql(town.new, SLOWLY)
    other_server.execute("alter system set autovacuum_naptime = '1s'", as_superuser=True)
    other_server.execute("select pg_reload_conf()", as_superuser=True)
    try:
        until(lambda: town.sql(town.new, AT_WORK) != [(0,)], 60, why="no autovacuum began")
        yield town
    finally:
        other_server.execute("alter system reset autovacuum_naptime", as_superuser=True)
        other_server.execute("select pg_reload_conf()", as_superuser=True)


@pytest.mark.parametrize("open_", [connect, as_admin])
def test_an_autovacuum_is_sent_away(being_vacuumed: Town, open_: Callable[[Shard], Connection]) -> None:
    town = being_vacuumed
    with closing(open_(town.new)) as conn:
        retried(conn, "raw.head", lambda cursor: cursor.execute("lock table raw.head in share row exclusive mode"), 2)


def test_somebody_else_is_waited_for_and_named(town: Town) -> None:
    with closing(connect(town.new)) as conn, closing(connect(town.new)) as other, other.cursor() as holds:
        holds.execute("lock table raw.head in row exclusive mode")
        with pytest.raises(LarderError, match=r"raw\.head stays locked by others"):
            retried(conn, "raw.head", lambda c: c.execute("lock table raw.head in share row exclusive mode"), 0.3)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads does so to the end of the test: there is nothing to wait the full two seconds for, each time."""
    monkeypatch.setattr(capture, "sweep", partial(sweep, patience=0.2))


@pytest.mark.usefixtures("hasty")
def test_a_build_that_reads_for_long_is_not_waited_for(town: Town) -> None:
    with closing(as_admin(town.old)) as build, build.cursor() as reads:
        reads.execute("select count(*) from raw_till.orders")
        assert town.mover().move("new").state == "flipped"
        assert town.mover().roll_back().state == "rolled_back"
        assert town.traces(town.old) == {"route": 1, "counter": 1, "triggers": 4}, "of the table that is read"
        with closing(connect(town.old)) as conn:
            assert sweep(conn, town.old, 0.1) == 1
    with closing(connect(town.old)) as conn:
        assert sweep(conn, town.old) == 0
    assert town.traces(town.old) == {"route": 1, "counter": 1} and town.traces(town.new) == {}


@pytest.mark.usefixtures("hasty")
def test_what_is_switched_off_notes_nothing_and_is_switched_on_again(town: Town) -> None:
    def noted() -> int:
        [(count,)] = town.sql(town.old, "select count(*) from keys.move_change where relation = 'raw_till.orders'")
        return int(count)

    with closing(as_admin(town.old)) as build, build.cursor() as reads, closing(connect(town.old)) as conn:
        reads.execute("select count(*) from raw_till.orders")
        start_capture(conn, town.old, BUSINESS)
        town.sell("first")
        assert noted() == 1
        stop_capture(conn, town.old, BUSINESS)
        town.sell("second")
        assert noted() == 0
        start_capture(conn, town.old, BUSINESS)
        assert sweep(conn, town.old, 0.1) == 0, "what is on stays on"
        town.sell("third")
        assert noted() == 1
