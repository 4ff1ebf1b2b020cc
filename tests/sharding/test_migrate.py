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
from sharding.migrate import MIGRATIONS, Drift, control_drift, migrate_control, migrate_shard, shard_drift
from sharding.model import Shard
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


def test_shards_of_one_server_are_provisioned_side_by_side(make_shard: Callable[..., Shard]) -> None:
    shards = [make_shard(f"shard_{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        logins = list(pool.map(lambda shard: (provision_shard(shard), allow_reader_login(shard, "x"))[1], shards * 5))
    assert len(set(logins)) == 4


def test_the_reader_sees_bi_and_nothing_else(shard: Shard) -> None:
    assert provision_shard(shard) == []
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
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
