"""larder doctor: is this machine and installation in order? Each finding with its cause and the next command.

What one shard's server cannot tell in time is a finding of that shard, and keeps nothing else from being looked at.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.pool import ThreadPool
from typing import Annotated

import psycopg2
import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from ingestion.errors import LarderError as IngestionError
from sharding import instances, migrate, postgres
from sharding.bootstrap import superuser_secret
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.settings import Settings
from sharding.up import CONTROL, control_dsn, open_catalogue
from sharding.upkeep.facts import look
from sharding.upkeep.finding import Finding
from sharding.upkeep.judge import judge

CLOCK_SECONDS = 5.0
LOW_SPACE = 2 * 1024**3
ANSWER_SECONDS, MINUTE = 5.0, 60.0
_AT_ONCE = 8

Check = Callable[[Settings], Iterator[Finding]]


def doctor(
    json: JsonFlag = False,
    all_: Annotated[bool, typer.Option("--all", help="Also what is in order, shard by shard.")] = False,
) -> None:
    """Check machine, databases, schemas, block store, clock, upkeep and backups. Ends with 0 where nothing fails."""
    from orchestration.health import upkeep

    settings, findings = get_context().settings, []
    for check in (python, programs, space, servers, schemas, block_store, clock, health, upkeep):
        findings += _found(check, settings)
    shown = findings if json or all_ else [one for one in findings if one.state != "ok" or " of " not in one.check]
    Output(json).table([asdict(finding) for finding in shown], columns=("check", "state", "detail", "turn", "next"))
    failed = [finding for finding in findings if finding.state == "fail"]
    if failed:
        raise typer.Exit(EXIT_CODES[failed[0].turn or "us"])


def _found(check: Check, settings: Settings) -> list[Finding]:
    """A check's findings, and as one more what it ended with."""
    findings: list[Finding] = []
    try:
        for finding in check(settings):
            findings.append(finding)
    except (LarderError, IngestionError) as error:
        findings.append(Finding(check.__name__, "fail", error.cause, error.next_command, error.turn))
    except (OSError, psycopg2.Error) as error:
        findings.append(Finding(check.__name__, "fail", str(error).strip(), "larder up", "config"))
    return findings


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
    missing = [name for name in ("pg_dump", "pg_restore") if not found.tool(name).exists()]
    if missing:
        detail = f"{found.bin} has no {', '.join(missing)}: no backups"
        yield Finding("postgres", "fail", detail, "LARDER_POSTGRES_BIN=… larder doctor", "config")


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
        secrets = [path for path in (secret, superuser_secret(name, settings.home)) if path.exists()]
        if not secret.exists():
            yield Finding(f"instance {name}", "fail", f"its password {secret} is gone", "larder clean", "config")
        elif open_ones := [str(path) for path in secrets if path.stat().st_mode & 0o077]:
            repair = f"chmod 600 {' '.join(open_ones)}"
            yield Finding(f"instance {name}", "fail", "others can read its password", repair, "config")
        elif status.state == "running":
            yield Finding(f"instance {name}", "ok", f"runs on port {status.port}, pid {status.pid}")
        elif status.port is not None and not instances.is_free(status.port):
            detail = f"stopped; another program has its port {status.port}, so it will get a new one"
            yield Finding(f"instance {name}", "warn", detail, "larder up")
        else:
            yield Finding(f"instance {name}", "warn", "stopped", "larder up")


def schemas(settings: Settings) -> Iterator[Finding]:
    """Whether the control database is at this checkout's schema version; shards tell theirs with their health."""
    if _is_down(settings):
        yield Finding("schemas", "warn", "unknown while the control database is down", "larder up")
    else:
        yield _drift("control", migrate.control_drift(control_dsn(settings)))


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
    if _is_down(settings):
        return
    with closing(psycopg2.connect(control_dsn(settings))) as connection, connection.cursor() as cursor:
        cursor.execute("select extract(epoch from clock_timestamp())::float8")
        [(there,)] = cursor.fetchall()
    apart = abs(there - time.time())
    if apart > CLOCK_SECONDS:
        detail = f"the control database's clock is {apart:.0f} s off this machine's"
        yield Finding("clock", "fail", detail, "timedatectl status", "config")


def health(settings: Settings) -> Iterator[Finding]:
    """Schema, transaction ids, who holds dead rows back, bloat, indexes and leftovers of every shard. Some shards at
    once, all within a minute: one that has not told by then is a finding, and nobody waits for it."""
    if _is_down(settings):
        yield Finding("shards", "warn", "unknown while the control database is down", "larder up")
        return
    told: queue.SimpleQueue[tuple[str, list[Finding]]] = queue.SimpleQueue()
    shards = {shard.name: shard for shard in open_catalogue(settings).shards()}
    left, give_up = set(shards), time.monotonic() + MINUTE
    with ThreadPool(_AT_ONCE) as pool:  # its threads are daemons: none is waited for
        pool.map_async(lambda shard: told.put((shard.name, _looked_at(shard))), shards.values())
        while left:
            try:
                name, findings = told.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                break
            left.discard(name)
            yield from findings
    for name in sorted(left):
        yield Finding(f"health of {name}", "fail", f"nothing was told in {MINUTE:g} s", "larder status", "us")


def _looked_at(shard: Shard) -> list[Finding]:
    try:
        drift = migrate.shard_drift(shard)
    except psycopg2.OperationalError as error:
        return [Finding(f"schema of {shard.name}", "fail", str(error).strip(), "larder up", "config")]
    try:
        return [_drift(shard.name, drift), *judge(shard.name, look(shard, ANSWER_SECONDS))]
    except LarderError as error:
        failed = Finding(f"health of {shard.name}", "fail", error.cause, error.next_command, error.turn)
        return [_drift(shard.name, drift), failed]


def _is_down(settings: Settings) -> bool:
    return settings.control_dsn is None and instances.status(CONTROL, settings).state != "running"


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
