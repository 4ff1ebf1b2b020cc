"""Embedded Postgres: whoever runs it, wherever it is, and after whatever happened to it."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sharding import instances, postgres
from sharding.errors import LarderError
from sharding.model import Instance
from sharding.settings import Settings
from tests.conftest import scratch

QUICK = {"fsync": "off", "shared_buffers": "16MB"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who has to give Postgres to another user")


def make_settings(home: Path, **values: Any) -> Settings:
    return Settings(home=home, control_dsn=None, **values)


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home that every user can enter."""
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


@pytest.fixture
def settings(open_home: Path) -> Iterator[Settings]:
    settings = make_settings(open_home)
    yield settings
    for name in instances.known(settings):
        instances.remove(name, settings)


def value(instance: Instance, settings: Settings, query: str) -> Any:
    dsn = instances.superuser_dsn(instance, "postgres", settings)
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_it_starts_stops_and_keeps_its_data(settings: Settings) -> None:
    assert instances.status("one", settings).state == "absent"
    first = instances.start("one", settings, QUICK)
    value(first, settings, "create table kept as select 1 as n")
    assert instances.start("one", settings, QUICK) == first
    assert instances.status("one", settings).state == "running"
    assert instances.stop("one", settings) is True
    assert instances.stop("one", settings) is False
    assert instances.status("one", settings).state == "stopped"
    again = instances.start("one", settings, QUICK)
    assert (again, value(again, settings, "select n from kept")) == (first, 1)


def test_it_is_what_the_project_needs_and_closed_to_others(settings: Settings) -> None:
    instance = instances.start("one", settings, QUICK)
    wanted = {
        "default_toast_compression": "lz4",
        "wal_level": "logical",
        "TimeZone": "UTC",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track_utility": "off",
    }
    assert {name: value(instance, settings, f"show {name}") for name in wanted} == wanted
    assert value(instance, settings, "show listen_addresses") == "127.0.0.1"
    secret = instances.secret_path("one", settings)
    assert (secret.stat().st_mode & 0o777, secret.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(
            host=instance.host, port=instance.port, user=instance.username, password="x", dbname="postgres"
        )


def test_after_kill_nine_and_a_reused_pid_it_starts_again(settings: Settings) -> None:
    instance = instances.start("one", settings, QUICK)
    value(instance, settings, "create table kept as select 1 as n")
    status = instances.status("one", settings)
    assert status.pid is not None and status.data is not None
    handle = os.pidfd_open(status.pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    again = instances.start("one", settings, QUICK)
    assert value(again, settings, "select n from kept") == 1

    instances.stop("one", settings)
    pid_file = Path(status.data, "postmaster.pid")
    pid_file.write_text(f"{os.getpid()}\n{status.data}\n")
    assert instances.status("one", settings).state == "stopped"
    assert instances.stop("one", settings) is False  # this very process would be the one to die
    assert value(instances.start("one", settings, QUICK), settings, "select n from kept") == 1


def test_a_port_taken_meanwhile_is_replaced(settings: Settings) -> None:
    first = instances.start("one", settings, QUICK)
    instances.stop("one", settings)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind((first.host, first.port))
        thief.listen()
        second = instances.start("one", settings, QUICK)
    assert second.port != first.port
    assert value(second, settings, "select 1") == 1


def test_an_initdb_that_died_half_way_is_done_again(settings: Settings) -> None:
    partial = settings.home / "instances" / "one" / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("17")
    assert value(instances.start("one", settings, QUICK), settings, "select 1") == 1


def test_a_server_that_cannot_start_says_why(settings: Settings) -> None:
    with pytest.raises(LarderError, match=r"one does not start: .*no_such_setting") as caught:
        instances.start("one", settings, {"no_such_setting": "1"})
    assert caught.value.next_command.startswith("tail -n 50")


@as_root
def test_root_hands_it_to_a_user_that_cannot_enter_the_checkout(tmp_path: Path) -> None:
    """As with a checkout below /root: neither the programs nor the home can be reached by the user."""
    tmp_path.chmod(0o700)
    installed = tmp_path / "install"
    shutil.copytree(postgres.installed_bin(make_settings(tmp_path)).parent, installed, symlinks=True)
    settings = make_settings(tmp_path / "home", postgres_bin=installed / "bin")
    try:
        with ThreadPoolExecutor(3) as pool:  # as `larder up` does: the programs are copied by whoever comes first
            assert len({found.bin for found in pool.map(postgres.binaries, [settings] * 3)}) == 1
        instance = instances.start("one", settings, QUICK)
        assert not list(postgres.runtime_dir(settings).glob("*.partial"))
        runtime = postgres.recorded_runtime_dir(settings)
        assert runtime is not None and str(instances.status("one", settings).data).startswith(str(runtime))
        assert value(instance, settings, "show data_directory") == instances.status("one", settings).data
        assert Path(f"/proc/{instances.status('one', settings).pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert postgres.binaries(settings) == postgres.binaries(settings)
    finally:
        instances.remove("one", settings)
        if (runtime := postgres.recorded_runtime_dir(settings)) is not None:
            shutil.rmtree(runtime)


@as_root
def test_a_runtime_folder_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    folder = postgres.runtime_dir(settings)
    try:
        os.chown(folder, 65534, 65534)
        with pytest.raises(LarderError, match="made by somebody else"):
            postgres.runtime_dir(settings)
    finally:
        folder.rmdir()


@as_root
def test_another_user_needs_no_root(open_home: Path) -> None:
    """The same as an ordinary user; a forked child gives root up for good."""
    nobody = pwd.getpwnam("nobody")
    if not postgres.account(make_settings(open_home)).reaches(Path(postgres.__file__).parent):
        pytest.skip("only root can enter this checkout: no other user can run Larder from it")
    os.chown(open_home, nobody.pw_uid, nobody.pw_gid)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_start_and_stop_as, args=(nobody.pw_uid, nobody.pw_gid, open_home))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def _start_and_stop_as(uid: int, gid: int, home: Path) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    os.chdir("/")
    settings = make_settings(home)
    instance = instances.start("one", settings, QUICK)
    try:
        assert value(instance, settings, "select 1") == 1
        assert instances.status("one", settings).state == "running"
    finally:
        instances.remove("one", settings)


@pytest.mark.parametrize("folder", ["/nowhere/bin", "/bin"])
def test_a_wrong_postgres_bin_is_named(tmp_path: Path, folder: str) -> None:
    with pytest.raises(LarderError, match="has no postgres") as caught:
        postgres.binaries(make_settings(tmp_path, postgres_bin=folder))
    assert caught.value.turn == "config"


def test_too_old_a_postgres_is_refused(open_home: Path) -> None:
    for name in ("postgres", "initdb", "pg_ctl"):
        program = open_home / name
        program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.4'\n")
        program.chmod(0o755)
    with pytest.raises(LarderError, match="is Postgres 13; 15 is the lowest"):
        postgres.binaries(make_settings(open_home, postgres_bin=open_home))


def test_lost_data_are_not_hidden_by_an_empty_server(settings: Settings) -> None:
    instances.start("a", settings, QUICK)
    assert not instances.forget_lost("a", settings)
    instances.stop("a", settings)
    shutil.rmtree(instances.record_of("a", settings).data)
    with pytest.raises(LarderError, match="the data of instance a are gone"):
        instances.start("a", settings, QUICK)
    assert instances.forget_lost("a", settings)
    anew = instances.start("a", settings, QUICK)  # a restore does so; its password is the one that others know
    assert value(anew, settings, "select 1") == 1
