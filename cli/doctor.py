"""larder doctor: is this machine and installation in order? Each finding with its cause and the next command."""

from __future__ import annotations

import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import psycopg2
import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from ingestion.errors import LarderError as IngestionError
from sharding import instances, migrate, postgres
from sharding.errors import LarderError, Turn
from sharding.settings import Settings
from sharding.up import CONTROL, control_dsn, open_catalogue

CLOCK_SECONDS = 5.0
LOW_SPACE = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `next` is empty where it is in order."""

    check: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    next: str = ""
    turn: Turn | None = None


Check = Callable[[Settings], Iterator[Finding]]


def doctor(json: JsonFlag = False) -> None:
    """Check Python, Postgres, ports, schemas, block store and clock. Ends with 0 where nothing fails."""
    settings, findings = get_context().settings, []
    for check in (python, programs, space, servers, schemas, block_store, clock):
        try:
            findings += list(check(settings))
        except (LarderError, IngestionError) as error:
            findings.append(Finding(check.__name__, "fail", error.cause, error.next_command, error.turn))
        except (OSError, psycopg2.Error) as error:
            findings.append(Finding(check.__name__, "fail", str(error).strip(), "larder up", "config"))
    Output(json).table([asdict(finding) for finding in findings], columns=("check", "state", "detail", "next"))
    failed = [finding for finding in findings if finding.state == "fail"]
    if failed:
        raise typer.Exit(EXIT_CODES[failed[0].turn or "us"])


def python(settings: Settings) -> Iterator[Finding]:
    """The interpreter and the packages whose versions matter most."""
    found = ".".join(map(str, sys.version_info[:3]))
    packages = []
    for package in ("dbt-core", "dbt-postgres", "dlt", "dagster", "psycopg2-binary"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("python", "fail", f"{package} is not installed", "make help", "config")
    yield Finding("python", "ok", f"Python {found}, {', '.join(packages)}")


def programs(settings: Settings) -> Iterator[Finding]:
    """Postgres' programs, and the user they run as."""
    found, who = postgres.binaries(settings), postgres.account(settings)
    yield Finding("postgres", "ok", f"Postgres {found.major} in {found.bin}, as {who.name if who.switch else 'you'}")


def space(settings: Settings) -> Iterator[Finding]:
    """Room for databases and blocks."""
    folder = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1024**3:,.1f} GB free at {folder}"
    yield Finding("space", "ok", detail) if free > LOW_SPACE else Finding("space", "warn", detail, f"df -h {folder}")


def servers(settings: Settings) -> Iterator[Finding]:
    """Embedded instances, their ports and who can read their passwords."""
    names = instances.known(settings)
    if not names and settings.control_dsn is None:
        yield Finding("instances", "warn", "none made yet", "larder up")
    for name in names:
        status = instances.status(name, settings)
        secret = instances.secret_path(name, settings)
        if not secret.exists():
            yield Finding(f"instance {name}", "fail", f"its password {secret} is gone", "larder clean", "config")
        elif secret.stat().st_mode & 0o077:
            yield Finding(f"instance {name}", "fail", "others can read its password", f"chmod 600 {secret}", "config")
        elif status.state == "running":
            yield Finding(f"instance {name}", "ok", f"runs on port {status.port}, pid {status.pid}")
        elif status.port is not None and not instances.is_free(status.port):
            detail = f"stopped; another program has its port {status.port}, so it will get a new one"
            yield Finding(f"instance {name}", "warn", detail, "larder up")
        else:
            yield Finding(f"instance {name}", "warn", "stopped", "larder up")


def schemas(settings: Settings) -> Iterator[Finding]:
    """Whether the databases are at this checkout's schema version."""
    if settings.control_dsn is None and instances.status(CONTROL, settings).state != "running":
        yield Finding("schemas", "warn", "unknown while the control database is down", "larder up")
        return
    yield _drift("control", migrate.control_drift(control_dsn(settings)))
    for shard in open_catalogue(settings).shards():
        try:
            yield _drift(shard.name, migrate.shard_drift(shard))
        except psycopg2.OperationalError as error:
            yield Finding(f"schema of {shard.name}", "fail", str(error).strip(), "larder up", "config")


def block_store(settings: Settings) -> Iterator[Finding]:
    """Writing, reading and deleting a small file where blocks go."""
    import fsspec

    name = f"doctor-{uuid.uuid4()}"
    files, root = fsspec.core.url_to_fs(settings.block_store)
    if "file" in files.protocol:
        files.makedirs(root, exist_ok=True)
    try:
        files.pipe_file(f"{root}/{name}", name.encode())
        same = files.cat_file(f"{root}/{name}") == name.encode()
        files.rm_file(f"{root}/{name}")
    except OSError as error:
        detail = f"{settings.block_store} cannot be written: {error}"
        yield Finding("block store", "fail", detail, "LARDER_BLOCK_STORE=… larder doctor", "config")
        return
    if same:
        yield Finding("block store", "ok", f"{settings.block_store} can be written and read")
    else:
        yield Finding("block store", "fail", "what was written reads differently", "larder doctor", "config")


def clock(settings: Settings) -> Iterator[Finding]:
    """Whose clock counts, and whether the control database's agrees with this machine's."""
    now = get_context().clock()
    sandbox = (settings.home / "sandbox" / "clock.json").exists()
    yield Finding("clock", "ok", f"{now.isoformat(timespec='seconds')}, {'the sandbox’s' if sandbox else 'real'} time")
    if settings.control_dsn is None and instances.status(CONTROL, settings).state != "running":
        return
    with closing(psycopg2.connect(control_dsn(settings))) as connection, connection.cursor() as cursor:
        cursor.execute("select extract(epoch from clock_timestamp())::float8")
        [(there,)] = cursor.fetchall()
    apart = abs(there - time.time())
    if apart > CLOCK_SECONDS:
        detail = f"the control database's clock is {apart:.0f} s off this machine's"
        yield Finding("clock", "fail", detail, "timedatectl status", "config")


def _drift(name: str, drift: migrate.Drift) -> Finding:
    check = f"schema of {name}"
    if drift.unknown:
        return Finding(check, "fail", f"newer than this checkout ({', '.join(drift.unknown)})", "git pull", "config")
    if drift.missing:
        return Finding(check, "fail", f"behind: {', '.join(drift.missing)} not applied", "larder up", "config")
    if drift.edited:
        detail = f"migration {', '.join(drift.edited)} was edited after it had been applied"
        return Finding(check, "warn", detail, f"git log {os.path.relpath(migrate.MIGRATIONS)}")
    return Finding(check, "ok", "at the newest version")
