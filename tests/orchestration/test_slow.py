"""Samples of shards, and what they tell of requests that take longer than expected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from orchestration import samples
from orchestration.slow import findings, readers
from sharding import statements
from sharding.access.tenants import grant_access, open_session, revoke_access
from sharding.catalogue import Catalogue
from sharding.model import INSPECTOR, Shard

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def conn(catalogue: Catalogue) -> Iterator[Connection]:
    with closing(psycopg2.connect(catalogue.dsn)) as made:
        yield made


def rows(conn: Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with conn, conn.cursor() as cur:
        cur.execute(statement, values or None)
        return cur.fetchall() if cur.description else []


def asked(conn: Connection, reader: str, *means: float, calls: int = 10) -> None:
    """A reader's samples, ten minutes apart up to now: in each `calls` more requests of that many seconds."""
    ms, number = 0.0, 0
    for step in range(len(means) + 1):
        at = NOW - timedelta(minutes=10) * (len(means) - step)
        rows(conn, "insert into control.reader_samples (shard, reader, sampled_at, calls, total_ms, max_ms)"
             " values ('shard_1', %s, %s, %s, %s, 9000)", reader, at, number, ms)  # fmt: skip
        if step < len(means):
            number, ms = number + calls, ms + calls * means[step] * 1000


def test_over_the_limit_is_slow(conn: Connection) -> None:
    asked(conn, "t_a", 0.2, 6.0)
    asked(conn, "t_b", 0.2, 4.9)
    [found] = findings(conn, 5.0, NOW)
    assert (found.reader, found.because, found.calls, found.usual) == ("t_a", "slow", 10, None)
    assert found.mean == pytest.approx(6.0) and found.longest == 9.0
    assert [one.reader for one in readers(conn, 5.0, NOW)] == ["t_a", "t_b"]


def test_a_load_or_build_is_no_reader_that_waits(conn: Connection) -> None:
    asked(conn, "larder_transformer", 0.2, 60.0)
    asked(conn, "larder_reader", 0.2, 6.0)
    assert [one.reader for one in findings(conn, 5.0, NOW)] == ["larder_reader"]
    assert len(readers(conn, 5.0, NOW)) == 2


def test_three_times_its_usual_is_slower(conn: Connection) -> None:
    asked(conn, "t_same", *[0.2] * 12, 0.55)
    asked(conn, "t_slower", *[0.2] * 12, 0.65)
    asked(conn, "t_new", *[0.2] * 11, 0.65)  # no history yet to speak of
    asked(conn, "t_quick", *[0.001] * 12, 0.09)  # nobody notices
    [found] = findings(conn, 5.0, NOW)
    assert (found.reader, found.because) == ("t_slower", "slower") and found.usual == pytest.approx(0.2)
    assert found.said == "t_slower on shard_1: 10 requests of 0.65 s, usually 0.20 s"


def test_statistics_that_began_anew_are_no_alarm(conn: Connection) -> None:
    asked(conn, "t_a", 6.0, 6.0)
    rows(conn, "update control.reader_samples set calls = 1, total_ms = 1 where sampled_at = %s", NOW)
    assert [one.at for one in readers(conn, 5.0, NOW)] == [NOW - timedelta(minutes=10)]


def test_what_is_long_over_is_no_alarm(conn: Connection) -> None:
    asked(conn, "t_a", 6.0)
    assert findings(conn, 5.0, NOW) and not findings(conn, 5.0, NOW + timedelta(hours=1))


def test_a_sample_of_a_shard(catalogue: Catalogue, shard: Shard, conn: Connection) -> None:
    catalogue.add_business("cafe", "Cafe", "shard_1")
    till = catalogue.add_source("cafe", "square", "till", {})
    with closing(psycopg2.connect(shard.dsn)) as there, there, there.cursor() as cur:
        cur.execute(
            "insert into raw.quarantine (quarantine_id, block_id, generation, ordinal, source_id, stream, observed_at,"
            " reason, detail, state) select n, gen_random_uuid(), 1, n, %s, 'orders', now(), 'r', 'd',"
            " case when n = 3 then 'resolved' else 'open' end from generate_series(1, 3) as n",
            (till.id,),
        )
    role = grant_access(catalogue, "cafe").role
    try:
        with closing(open_session(catalogue, "cafe")) as session, session.cursor() as cur:
            cur.execute("select pg_sleep(0.02)")
        [sample] = samples.take(catalogue)
        assert (sample.error, dict(sample.quarantined), sample.statements) == (None, {"square": 2}, None)
        assert sample.milliseconds is not None and sample.milliseconds > 0
        found = rows(conn, "select business, calls >= 1, max_ms >= 20, shard from control.reader_samples"
                     " where reader = %s", role)  # fmt: skip
        assert found == [(catalogue.business("cafe").id, True, True, "shard_1")]
        assert rows(conn, "select count(*) from control.reader_samples where reader = %s", INSPECTOR) == [(1,)]
        samples.take(catalogue)  # the inspector asked again, but ten minutes are not over
        assert rows(conn, "select count(*) from control.reader_samples where reader = %s", INSPECTOR) == [(1,)]
        rows(conn, "update control.reader_samples set sampled_at = sampled_at - interval '11 minutes'")
        samples.take(catalogue)
        assert rows(
            conn,
            "select reader, count(*) from control.reader_samples where reader in (%s, %s) group by 1 order by 1",
            INSPECTOR,
            role,
        ) == [(INSPECTOR, 2), (role, 1)]  # who asked nothing adds nothing
    finally:
        revoke_access(catalogue, "cafe")


def test_a_shard_that_is_away_is_told_and_keeps_what_was_known(
    catalogue: Catalogue, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples.take(catalogue)
    rows(conn, "update control.shard_samples set quarantined = '{\"square\": 2}'")
    rows(conn, "update control.shards set database = 'nowhere'")
    [sample] = samples.take(catalogue)
    assert sample.error is not None and "nowhere" in sample.error
    assert rows(conn, "select error is not null, quarantined from control.shard_samples") == [(True, {"square": 2})]


def test_a_server_without_statistics_is_told(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_is_loaded", lambda cursor: False)
    [sample] = samples.take(catalogue)
    assert sample.error is None and sample.statements is not None and "shared_preload_libraries" in sample.statements
