"""Upkeep of a shard on a real server: what is told, what is done, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from sharding.model import Shard
from sharding.upkeep import work
from sharding.upkeep.facts import Facts, look
from sharding.upkeep.finding import Finding
from sharding.upkeep.judge import LAST, Limits, judge
from sharding.upkeep.quiet import STEP, is_due, quiet_time
from tests.conftest import Server

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
SMALL = Limits(bytes=64 << 10, held_seconds=0.0, prepared_seconds=0.0, unused_days=0)


def run(shard: Shard, *statements: str, dsn: str = "") -> list[tuple[Any, ...]]:
    """Statements, each in a transaction of its own, as administrator or whom `dsn` names; the rows of the last."""
    with closing(psycopg2.connect(dsn or shard.dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        for statement in statements:
            cursor.execute(shard.render(statement))
        return cursor.fetchall() if cursor.description else []


def found(shard: Shard, check: str, limits: Limits = SMALL) -> list[Finding]:
    run(shard, "select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    return [finding for finding in judge(shard.name, look(shard), limits) if finding.check.startswith(check)]


@contextmanager
def session(shard: Shard) -> Iterator[Any]:
    with closing(psycopg2.connect(shard.dsn, application_name="somebody")) as conn, conn.cursor() as cursor:
        yield cursor


BLOATED = (
    "create table {raw}.fat (id bigint primary key, filling text) with (autovacuum_enabled = off)",
    "create index fat_filling on {raw}.fat (filling)",
    "insert into {raw}.fat select n, repeat('x', 200) || n from generate_series(1, 5000) as n",
    "delete from {raw}.fat where id % 10 > 0",
    "analyze {raw}.fat",
)


def test_a_shard_in_order_has_one_word_on_each_thing(shard: Shard) -> None:
    findings = list(judge(shard.name, look(shard)))
    assert {finding.state for finding in findings} == {"ok"}
    assert [finding.check.split()[0] for finding in findings] == [
        "transaction", "horizon", "catalog", "bloat", "indexes", "leftovers",
    ]  # fmt: skip


def test_transaction_ids_are_told_early() -> None:
    facts = Facts((), (), (), 100_000_000, 0, 200_000_000, (), None, NOW, {}, {}, (), 0)
    states = [
        next(judge("s", replace(facts, xid_age=age))).state
        for age in (100_000_000, 299_000_000, 301_000_000, 999_000_000, 1_001_000_000)
    ]
    assert states == ["ok", "ok", "warn", "warn", "fail"]
    assert next(judge("s", replace(facts, multixact_age=1_001_000_000))).state == "fail"
    [told] = [finding for finding in judge("s", replace(facts, xid_age=1_001_000_000)) if finding.state == "fail"]
    assert f"{LAST - 1_001_000_000:,} left" in told.detail and told.next == "larder maintain s --freeze"
    assert told.turn == "us"


def test_the_age_is_that_of_the_server(shard: Shard) -> None:
    [(age, table_age)] = run(
        shard,
        "select age(datfrozenxid), (select max(age(relfrozenxid)) from pg_class where relkind in ('r', 'm', 't'))"
        " from pg_database where datname = current_database()",
    )
    facts = look(shard)
    assert 0 <= facts.xid_age - age < 100
    assert 0 <= max(table.age for table in (*facts.tables, *facts.catalog)) - table_age < 100


def test_who_holds_the_horizon_is_named_with_the_remedy(shard: Shard) -> None:
    with session(shard) as sleeper:
        sleeper.execute("set transaction isolation level repeatable read")
        sleeper.execute("select pg_backend_pid()")
        [(pid,)] = sleeper.fetchall()
        [held] = found(shard, "horizon")
        assert held.state == "warn" and f"pid {pid}, somebody" in held.detail
        assert held.next == f"as administrator: select pg_terminate_backend({pid})"
    assert [one.state for one in found(shard, "horizon")] == ["ok"]


def test_a_slot_that_nobody_reads_is_named(shard: Shard, server: Server) -> None:
    superuser = server.superuser_dsn(shard.database)
    run(shard, "select pg_create_logical_replication_slot('forgotten', 'pgoutput')", dsn=superuser)
    try:
        run(shard, *(["create table {raw}.more as select generate_series(1, 20000) as n", "drop table {raw}.more"] * 2))
        told = found(shard, "horizon", replace(SMALL, slot_bytes=1 << 20))
        assert [(one.next, "nobody reads it" in one.detail) for one in told] == [
            ("as superuser: select pg_drop_replication_slot('forgotten')", True)
        ]
    finally:
        run(shard, "select pg_drop_replication_slot('forgotten')", dsn=superuser)


def test_bloat_is_estimated_and_counted_where_that_can_be(shard: Shard, server: Server) -> None:
    superuser = server.superuser_dsn(shard.database)
    run(shard, *BLOATED)
    told = {finding.detail.split(":")[0] for finding in found(shard, "bloat")}
    assert f"{shard.schema('raw')}.fat" in told
    [table] = [table for table in look(shard).tables if table.name == "fat"]
    assert 0.7 < table.bloat / (table.pages * 8192) < 0.95  # nine of ten rows are gone

    assert look(shard).counted == {}
    run(shard, "create extension pgstattuple", dsn=superuser)
    assert look(shard).counted == {}  # the inspector may not
    run(shard, "grant execute on function pgstattuple_approx(regclass) to larder_inspector", dsn=superuser)
    counted = look(shard).counted
    assert abs(counted[table.at] - table.bloat) < 0.15 * table.bloat


def test_an_index_that_nobody_reads_and_one_that_was_cut_off(shard: Shard, server: Server) -> None:
    run(shard, *BLOATED)
    cut_off = "update pg_index set indisvalid = false where indexrelid = '{raw}.fat_pkey'::regclass"
    run(shard, cut_off, dsn=server.superuser_dsn(shard.database))
    told = {(one.state, one.detail.split(";")[0]) for one in found(shard, "indexes")}
    assert ("fail", "raw.fat_pkey is not valid: making it was cut off") in told
    assert any(state == "warn" and said.startswith("nobody read by raw.fat_filling") for state, said in told)
    with session(shard) as reader:
        reader.execute("set enable_seqscan = off")
        reader.execute("select * from raw.fat where filling = 'x'")
        reader.execute("select pg_stat_force_next_flush()")
        reader.connection.commit()
        reader.execute("select 1")
    assert not any("fat_filling" in one.detail for one in found(shard, "indexes"))


def test_what_needs_it_is_vacuumed_and_nothing_else(shard: Shard) -> None:
    run(shard, *BLOATED)
    run(shard, "select pg_stat_force_next_flush()")
    todo = work.tasks(look(shard))
    assert f"{shard.schema('raw')}.fat" in {task.table.at for task in todo}
    assert "raw.head" not in {task.table.at for task in todo}

    done = list(work.run(shard, todo, 60, lambda text: None))

    assert [one.error for one in done] == [""] * len(todo)
    [table] = [table for table in look(shard).tables if table.name == "fat"]
    assert (table.dead, table.live) == (0, 500)
    assert "raw.fat" not in {task.table.at for task in work.tasks(look(shard))}


def test_frozen_on_request_and_the_next_one_in_time(shard: Shard) -> None:
    run(shard, *BLOATED)
    todo = [task for task in work.tasks(look(shard), freeze_all=True) if task.table.name == "fat"]
    with session(shard) as holder:
        holder.execute("lock table raw.fat in access exclusive mode")
        [skipped] = work.run(shard, todo, 60, lambda text: None)
        assert "skipping" in skipped.error
    [late] = work.run(shard, todo, 0, lambda text: None)
    assert late.error == "not done in time"
    [done] = work.run(shard, todo, 60, lambda text: None)
    assert done.error == ""
    [(age,)] = run(shard, "select age(relfrozenxid) from pg_class where oid = '{raw}.fat'::regclass")
    assert age < 10


def test_tables_of_loads_and_feeds_have_their_own_settings(shard: Shard) -> None:
    run(shard, "select {raw}.ensure_stream('acme', 'sales')")
    assert work.arrange_storage(shard) == 1
    assert work.arrange_storage(shard) == 0
    options = dict(run(shard, "select oid::regclass::text, reloptions from pg_class where reloptions is not null"))
    assert "autovacuum_vacuum_scale_factor=0" in options["raw.feed"]
    assert "autovacuum_vacuum_scale_factor=0" in options["keys.feed__route"]
    assert "autovacuum_freeze_min_age=0" in options["raw_acme.sales"]
    assert "autovacuum_freeze_min_age=0" in options["keys.sale"]
    assert set(options["raw.head"]) >= {"fillfactor=80", "autovacuum_vacuum_scale_factor=0.02"}


def test_widths_are_known_also_where_row_security_hides_statistics(shard: Shard) -> None:
    run(shard, "insert into {keys}.route (business, name, display_name) values (1, 'a', 'A')", "analyze {keys}.route")
    [route] = [table for table in look(shard).tables if table.at == "keys.route"]
    assert route.width is not None and route.width > 8


# -- quiet time -------------------------------------------------------------------------------------------------------


def hour(minute: int) -> int:
    return minute // 60


def test_the_quiet_time_is_where_the_fewest_orders_are() -> None:
    sold = dict.fromkeys(range(24), 50) | {7: 3, 8: 1, 9: 60}
    quiet = quiet_time("shard_1", sold, ["America/New_York"], NOW)
    assert hour(quiet.minute) in (7, 8) and quiet.because == "its fewest orders are then"
    assert quiet == quiet_time("shard_1", sold, [], NOW + timedelta(days=1))


@pytest.mark.parametrize(("zone", "ahead"), [("America/New_York", -4), ("Asia/Tokyo", 9)])
def test_before_the_first_order_it_is_the_night_of_its_locations(zone: str, ahead: int) -> None:
    minute = quiet_time("shard_1", {}, [zone], NOW).minute
    assert 2 <= (hour(minute) + ahead) % 24 <= 5


def test_midnight_is_no_edge() -> None:
    sold = dict.fromkeys(range(24), 9) | {23: 0, 0: 0, 1: 0, 2: 0}
    minutes = {quiet_time(f"shard_{n}", sold, [], NOW).minute for n in range(200)}
    assert {hour(minute) for minute in minutes} <= {23, 0, 1, 2}
    assert len(minutes) == 2 * 60 // STEP  # spread over all of it


def test_each_shard_comes_up_once_a_day() -> None:
    for n in range(20):
        minute = quiet_time(f"shard_{n}", {}, [], NOW).minute
        ticks = [NOW + timedelta(minutes=STEP * tick) for tick in range(24 * 60 // STEP)]
        assert sum(is_due(minute, tick) for tick in ticks) == 1
