"""Backups, restores and upkeep from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from sharding.access.tenants import grant_access, revoke_access
from sharding.bootstrap import superuser_secret
from sharding.catalogue import Catalogue
from sharding.credentials import read_secret
from sharding.model import Shard
from sharding.settings import Settings, get_settings
from tests.cli.conftest import Ran
from tests.conftest import Server
from tests.object_store import opened

pytestmark = pytest.mark.usefixtures("catalogue")


def test_backups_are_made_listed_and_dropped(larder: Callable[..., Ran]) -> None:
    assert larder("backup", "list").out == "none; next: larder backup make\n"
    made = larder("backup", "make", "--json")
    assert made.code == 0, made.err
    assert [row["backup"].split("/")[0] for row in made.json] == ["shard_1", "control"]
    names = [row["backup"] for row in larder("backup", "list", "--json").json]
    assert sorted(names) == sorted(row["backup"] for row in made.json)
    shown = larder("backup", "show", "shard_1").json
    assert shown["content"]["known"]["ledger"]["blocks"] == 0 and shown["content"]["tables"]["keys.route"] == 0
    assert larder("backup", "keep", "--dry-run", "--json").json == []
    [name] = [name for name in names if name.startswith("shard_1")]
    assert "would delete" in larder("backup", "drop", name).out
    assert larder("backup", "drop", name, "--yes").code == 0
    missing = larder("backup", "show", "shard_1")
    assert missing.code == 2 and "there is no backup" in missing.err


def test_one_shard_s_failure_is_told_and_the_others_are_backed_up(
    larder: Callable[..., Ran], catalogue: Catalogue
) -> None:
    [there] = catalogue.shards()
    catalogue.add_shard("lost", there.instance, "no_such_database")
    ran = larder("backup", "make", "--json")
    assert ran.code == 1
    assert ["error" in row for row in ran.json] == [True, False, False]


def test_a_restore_beside_and_what_is_said_first(
    larder: Callable[..., Ran], catalogue: Catalogue, server: Server
) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    assert larder("backup", "make", "shard_1").code == 0
    neither = larder("restore", "shard_1")
    assert neither.code == 2 and "--as NAME | --in-place" in neither.err
    plan = larder("restore", "shard_1", "--in-place")
    assert plan.code == 0 and "would restore" in plan.out and "--yes" in plan.out
    try:
        done = larder("restore", "shard_1", "--as", "then", "--json")
        assert done.code == 0, done.err
        assert (done.json["shard"], done.json["database"]) == ("then", "larder_then")
        with closing(psycopg2.connect(catalogue.shard("then").dsn)) as conn, conn.cursor() as cursor:
            cursor.execute("select name, state from keys.route")
            assert cursor.fetchall() == [("cafe", "paused")]
    finally:
        server.drop("larder_then")


def test_backups_in_an_object_store(
    larder: Callable[..., Ran], catalogue: Catalogue, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, restored from, refused when a file of one was changed there, and deleted, over S3's own API."""
    catalogue.add_business("cafe", "Café", "shard_1")
    with opened(tmp_path, monkeypatch) as bucket:
        monkeypatch.setattr(get_settings(), "backups", f"{bucket.url}/backups")
        made = larder("backup", "make", "shard_1", "--json")
        assert made.code == 0, made.err
        [name] = [row["backup"] for row in made.json]
        files = [key for key in sorted(bucket.keys()) if key.startswith(f"larder/backups/{name}/")]
        assert len(files) > 2 and not (get_settings().home / "backups").exists()
        try:
            assert larder("restore", "shard_1", "--as", "then").code == 0
            with closing(psycopg2.connect(catalogue.shard("then").dsn)) as conn, conn.cursor() as cursor:
                cursor.execute("select name from keys.route")
                assert cursor.fetchall() == [("cafe",)]
        finally:
            server.drop("larder_then")
        spoilt = [key for key in files if not key.endswith(".json")][-1]
        bucket.client.put_object(Bucket=bucket.name, Key=spoilt, Body=b"spoilt")
        refused = larder("restore", "shard_1", "--as", "again")
        assert refused.code != 0 and spoilt.rsplit("/", 1)[1] in refused.err
        assert larder("backup", "drop", name, "--yes").code == 0
        assert bucket.keys() == []


def test_a_shard_among_others_of_its_database_is_taken_out_alone(
    larder: Callable[..., Ran], register: Callable[[Shard], Catalogue], make_shard: Callable[..., Shard], server: Server
) -> None:
    north = make_shard("north", "north")
    with closing(psycopg2.connect(north.dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("create schema raw; create table raw.of_another_shard ()")
    catalogue = register(north)
    catalogue.add_business("cafe", "Café", "north")
    assert larder("backup", "make", "north").code == 0
    try:
        assert larder("restore", "north", "--as", "then").code == 0
        with closing(psycopg2.connect(catalogue.shard("then").dsn)) as conn, conn.cursor() as cursor:
            cursor.execute("select name, to_regclass('raw.of_another_shard') from north_keys.route")
            assert cursor.fetchall() == [("cafe", None)]
    finally:
        server.drop("larder_then")


def test_an_enterprise_s_workspace_comes_with_its_shard(
    larder: Callable[..., Ran], catalogue: Catalogue, server: Server
) -> None:
    secrets = [superuser_secret(server.instance.name, home) for home in (server.settings.home, catalogue.home)]
    secrets[1].parent.mkdir(parents=True)
    shutil.copy(*secrets)  # the server is one of this home's own
    catalogue.add_business("cafe", "Café", "shard_1")
    access = grant_access(catalogue, "cafe", workspace_bytes=1 << 20)
    password = read_secret(access.secret_ref, catalogue.home)
    own = catalogue.shard("shard_1")
    with closing(psycopg2.connect(access.url, password=password)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("create table workspace.notes as select 'mine' as note")
    assert larder("backup", "make", "shard_1").code == 0
    try:
        assert larder("restore", "shard_1", "--as", "then").code == 0
        query = (
            "select tableowner, (select count(*) from workspace.notes), (select count(*) from pg_event_trigger),"
            " (select quota_bytes from keys.workspace) from pg_tables where tablename = 'notes'"
        )
        for shard in (own, catalogue.shard("then")):
            with closing(psycopg2.connect(shard.dsn)) as conn, conn.cursor() as cursor:
                cursor.execute(query)
                assert cursor.fetchall() == [(access.role, 1, 1, 1 << 20)]
    finally:
        server.drop("larder_then")
        revoke_access(catalogue, "cafe")


def test_rows_that_are_not_what_the_backup_counted_are_refused(
    larder: Callable[..., Ran], settings: Settings, server: Server
) -> None:
    assert larder("backup", "make", "shard_1").code == 0
    [manifest] = (settings.home / "backups" / "shard_1").glob("*/manifest.json")
    told = json.loads(manifest.read_text())
    told["content"]["tables"]["keys.route"] += 1
    manifest.write_text(json.dumps(told))
    try:
        refused = larder("restore", "shard_1", "--as", "then")
        assert refused.code == 1 and "keys.route has 0 rows instead of 1" in refused.err
    finally:
        server.drop("larder_then")


def test_upkeep_is_done_and_the_doctor_knows(larder: Callable[..., Ran]) -> None:
    assert larder("maintain", "--plan").code == 0
    before = {row["check"]: row for row in larder("doctor", "--json").json}
    assert before["upkeep of shard_1"]["next"] == "larder maintain shard_1"
    ran = larder("maintain", "--json")
    assert ran.code == 0, ran.err
    assert [row["shard"] for row in ran.json] == ["shard_1", "control"]
    after = {row["check"]: row for row in larder("doctor", "--json").json}
    assert after["upkeep of shard_1"]["state"] == after["upkeep of control"]["state"] == "ok"


def test_how_long_blocks_are_kept(larder: Callable[..., Ran], catalogue: Catalogue) -> None:
    catalogue.add_business("cafe", "Café", "shard_1")
    assert larder("blocks", "retention", "list", "--json").json == []
    refused = larder("blocks", "retention", "run", "--business", "cafe")
    assert refused.code == 2 and "keeps all of its blocks" in refused.err
    assert larder("blocks", "retention", "set", "cafe", "400").code == 0
    [row] = larder("blocks", "retention", "list", "--json").json
    assert (row["business"], row["keep_days"]) == ("cafe", 400)
    assert larder("blocks", "retention", "run", "--json").json == []
    assert larder("blocks", "retention", "set", "cafe", "0").code == 0
    assert larder("blocks", "retention", "list", "--json").json == []
