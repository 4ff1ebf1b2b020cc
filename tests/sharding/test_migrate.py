"""Migrations resume, run once under concurrency, and drift is seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from sharding.errors import LarderError
from sharding.migrate import (
    MIGRATIONS,
    Drift,
    Locks,
    StayedLockedError,
    control_drift,
    migrate_control,
    migrate_shard,
    shard_drift,
)
from sharding.model import TRANSFORMER, Shard
from sharding.provision import READER, allow_reader_login, create_database, provision_shard
from tests.conftest import Server

SHIPPED = [path.name[:4] for path in sorted((MIGRATIONS / "shard").glob("*.sql"))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Migrations that a test may add to and edit."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


@pytest.fixture
def empty(server: Server) -> Iterator[Shard]:
    """A shard without any schema."""
    name = f"empty_{next(server.numbers)}"
    create_database(server.dsn("postgres"), name)
    yield server.shard(name, namespace="acme")
    server.drop(name)


def exists(shard: Shard, relation: str) -> bool:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", (relation,))
        return cursor.fetchone() == (True,)


def test_a_new_shard_is_born_at_the_newest_version(empty: Shard) -> None:
    assert migrate_shard(empty) == SHIPPED
    assert migrate_shard(empty) == []
    assert shard_drift(empty) == Drift((), (), ())
    assert exists(empty, "acme_keys.sale") and exists(empty, "acme_raw.head") and not exists(empty, "keys.sale")


def test_a_failed_migration_leaves_those_before_it_and_is_resumed(empty: Shard, folder: Path) -> None:
    bad, last = folder / "shard" / "9001_half.sql", folder / "shard" / "9002_last.sql"
    bad.write_text("create table {keys}.half (n int); select 1 / 0;")
    last.write_text("create table {keys}.last (n int)")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate_shard(empty, folder)
    assert shard_drift(empty, folder) == Drift(("9001", "9002"), (), ())
    assert exists(empty, "acme_keys.sale") and not exists(empty, "acme_keys.half")
    bad.write_text("create table {keys}.half (n int); select format('%s %1$I', 'x')")
    assert migrate_shard(empty, folder) == ["9001", "9002"]
    assert exists(empty, "acme_keys.half") and exists(empty, "acme_keys.last")


def test_drift_names_what_is_missing_unknown_and_edited(shard: Shard, folder: Path) -> None:
    (folder / "shard" / "9001_new.sql").write_text("create table {raw}.new (n int)")
    with (folder / "shard" / "0001_baseline.sql").open("a") as file:
        file.write("-- edited\n")
    assert shard_drift(shard, folder) == Drift(("9001",), (), ("0001",))
    assert migrate_shard(shard, folder) == ["9001"]
    assert shard_drift(shard) == Drift((), ("9001",), ())
    with pytest.raises(LarderError, match="newer than this checkout") as caught:
        migrate_shard(shard)
    assert caught.value.turn == "config"


def test_the_control_database_is_versioned_too(control_dsn: str, folder: Path) -> None:
    assert not control_drift(control_dsn)
    assert migrate_control(control_dsn) == []
    (folder / "control" / "9001_new.sql").write_text("create table control.new (n int)")
    assert migrate_control(control_dsn, folder) == ["9001"]


def test_two_at_once_migrate_once(empty: Shard) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(lambda _: migrate_shard(empty), range(2)))
    assert sorted(applied) == [[], SHIPPED]


def test_readers_do_not_wait_behind_a_migration_that_waits(shard: Shard, folder: Path) -> None:
    (folder / "shard" / "9001_first.sql").write_text("create table {raw}.first (n int)")
    (folder / "shard" / "9002_wider.sql").write_text("alter table {keys}.route add column wider int")
    with closing(psycopg2.connect(shard.dsn)) as build, build.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("select * from keys.route")  # a long build: its lock lasts until its transaction ends
        with pytest.raises(StayedLockedError, match="stays locked by others") as caught:
            migrate_shard(shard, folder, Locks(timeout=0.1, patience=0.5))
        assert caught.value.turn == "us"
        assert shard_drift(shard, folder).missing == ("9002",) and not exists(shard, "keys.wider")
        waiting = pool.submit(migrate_shard, shard, folder, Locks(timeout=0.1, patience=60))
        with closing(psycopg2.connect(shard.dsn)) as reader, reader.cursor() as reads:
            reader.autocommit = True
            reads.execute("set lock_timeout = '20s'")  # a migration that queued would hold the reader for a minute
            for _ in range(20):
                reads.execute("select count(*), pg_sleep(0.02) from keys.route")
        assert not waiting.done()
        build.rollback()
        assert waiting.result(timeout=60) == ["9002"]


def test_an_index_is_made_beside_writers_outside_a_transaction(shard: Shard, folder: Path) -> None:
    text = """-- outside a transaction
drop index concurrently if exists {keys}.names_once;
create unique index concurrently names_once on {keys}.route (name);  -- a comment; with a semicolon
create table if not exists {raw}.also (n int);
"""
    (folder / "shard" / "9001_index.sql").write_text(text)
    (folder / "shard" / "9002_next.sql").write_text("create table {raw}.next (n int)")
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("insert into keys.route (business, name, display_name) values (1, 'x', 'x'), (2, 'x', 'x')")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        migrate_shard(shard, folder)
    assert exists(shard, "keys.names_once") and not exists(shard, "raw.also")  # as a kill would leave it: not valid
    assert shard_drift(shard, folder).missing == ("9001", "9002")
    with closing(psycopg2.connect(shard.dsn)) as writer, writer.cursor() as cursor:
        cursor.execute("update keys.route set name = 'y' where business = 2")
        writer.commit()
        assert migrate_shard(shard, folder) == ["9001", "9002"]
        cursor.execute("select indisvalid from pg_index where indexrelid = 'keys.names_once'::regclass")
        assert cursor.fetchone() == (True,)


def test_a_number_that_comes_too_late_is_refused(shard: Shard, folder: Path) -> None:
    (folder / "shard" / "9002_mine.sql").write_text("create table {raw}.mine (n int)")
    assert migrate_shard(shard, folder) == ["9002"]
    (folder / "shard" / "9001_yours.sql").write_text("create table {raw}.yours (n int)")
    with pytest.raises(LarderError, match="9001 comes before 9002"):
        migrate_shard(shard, folder)


def test_shards_of_one_server_are_provisioned_side_by_side(make_shard: Callable[..., Shard]) -> None:
    shards = [make_shard(f"shard_{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        logins = list(pool.map(lambda shard: (provision_shard(shard), allow_reader_login(shard, "x"))[1], shards * 5))
    assert len(set(logins)) == 4


def test_the_reader_sees_bi_and_nothing_else(shard: Shard) -> None:
    assert provision_shard(shard) == []
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"set local role {TRANSFORMER}")  # who builds
        cursor.execute("create table marts.secret as select 7 as n; create view bi.shown as select n from marts.secret")
    dsn = allow_reader_login(shard, "reader-password")
    assert READER in dsn
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select n from bi.shown")
        assert cursor.fetchone() == (7,)
        for refused in ("select * from marts.secret", "select * from keys.route", "create table bi.mine (n int)"):
            connection.rollback()
            with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ReadOnlySqlTransaction)):
                cursor.execute(refused)
