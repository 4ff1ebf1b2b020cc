"""Embedded Postgres instances: made, started and stopped by this installation, and by nobody else's pid.

Each has a record `<home>/instances/<name>.json` (port, data folder, user), a password in `<home>/secrets` and a log in
`<home>/logs`. They listen on 127.0.0.1 only, with a password, on a port that was free when they were made.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import psycopg2

from sharding import bootstrap
from sharding.bootstrap import ADMINISTRATOR, SUPERUSER, superuser_secret
from sharding.credentials import password_of, read_secret, write_secret
from sharding.errors import LarderError
from sharding.model import Instance, postgres_url
from sharding.postgres import Account, PgBinaries, account, binaries, runtime_dir
from sharding.settings import Settings

HOST = "127.0.0.1"
STOP_SECONDS = 60
ORPHAN_SECONDS = 15
_LOG_LIMIT = 20_000_000


@dataclass(frozen=True)
class Record:
    """What is kept of an embedded instance between runs. `prepared`: by which edition of sharding/bootstrap.py."""

    name: str
    port: int
    data: str
    username: str = ADMINISTRATOR
    prepared: str = ""


@dataclass(frozen=True)
class Status:
    """How an embedded instance is: `absent` was never made, `stopped` has data but no server."""

    name: str
    state: Literal["running", "stopped", "absent"]
    port: int | None
    pid: int | None
    data: str | None


def known(settings: Settings) -> list[str]:
    """Names of the embedded instances of this home."""
    return sorted(path.stem for path in (settings.home / "instances").glob("*.json"))


def secret_path(name: str, settings: Settings) -> Path:
    """Where the password of an embedded instance's administrator is kept."""
    return settings.secrets_dir / f"{name}.password"


def as_instance(record: Record) -> Instance:
    """An embedded instance as the catalogue stores it."""
    secret_ref = f"file:secrets/{record.name}.password"
    return Instance(record.name, "embedded", HOST, record.port, record.username, secret_ref)


def instance_dsn(instance: Instance, database: str, home: Path) -> str:
    """`postgresql://…` of a database on an instance as its administrator, password included."""
    password = read_secret(instance.secret_ref, home)
    return postgres_url(instance.username, password, instance.host, instance.port, database)


def superuser_dsn(instance: Instance, database: str, settings: Settings) -> str:
    """`instance_dsn` of an embedded instance's superuser: for measurements and faults, not for any part of Larder."""
    return bootstrap.Server(instance.name, instance.host, instance.port, settings.home).dsn(database)


def record_of(name: str, settings: Settings) -> Record:
    """What is kept of an embedded instance.

    Raises:
        LarderError: turn `you`: it was never made.
    """
    record = _read(name, settings)
    if record is None:
        raise LarderError(f"there is no embedded instance {name!r}", "you", "larder up")
    return record


def status(name: str, settings: Settings) -> Status:
    """Whether an embedded instance runs, and where."""
    record = _read(name, settings)
    if record is None:
        return Status(name, "absent", None, None, None)
    pid = running_pid(Path(record.data))
    return Status(name, "running" if pid else "stopped", record.port, pid, record.data)


def running_pid(data: Path) -> int | None:
    """The pid of the server of a data folder, or None. A stale pid file (crash, reboot, reused pid) is not believed."""
    pid = _recorded_pid(data)
    if pid is None:
        return None
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid if Path(arguments[0]).name == "postgres" and str(data) in arguments else None


def start(name: str, settings: Settings, options: Mapping[str, str] | None = None) -> Instance:
    """Start an embedded instance, making it first where it does not exist. Starting a running one does nothing.

    Args:
        options: server settings over the defaults, such as `{"fsync": "off"}` in tests.

    Raises:
        LarderError: turn `config` or `us`, with the last lines of the server's log.
    """
    who, programs = account(settings), binaries(settings)
    with _lock(name, settings):
        record = _read(name, settings) or _create(name, settings, who, programs, options or {})
        data = Path(record.data)
        if not data.exists():  # a disk that is not mounted, or lost; an empty server in its place would hide it
            raise LarderError(
                f"the data of instance {name} are gone from {data}",
                "us",
                f"mount its disk; or larder restore {'control' if name == 'control' else 'SHARD --in-place'}",
            )
        if running_pid(data) is None:
            if not is_free(record.port):
                record = _write(replace(record, port=_free_port()), settings)
            _configure(record, who, programs, options or {})
            _forget_reused_pid(data)
            _launch(record, settings, who, programs)
        record = _prepare(record, settings, programs)
        _greet(record, settings)
        return as_instance(record)


def stop(name: str, settings: Settings) -> bool:
    """Stop an embedded instance (open transactions are rolled back); False if it did not run."""
    record = _read(name, settings)
    if record is None:
        return False
    with _lock(name, settings):
        pid = running_pid(Path(record.data))
        if pid is None:
            return False
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGINT)  # "fast" shutdown
            gone, _, _ = select.select([handle], [], [], STOP_SECONDS)
        finally:
            os.close(handle)
        if not gone:
            raise LarderError(f"instance {name} (pid {pid}) still runs after {STOP_SECONDS} s", "us", "larder down")
        return True


def forget_lost(name: str, settings: Settings) -> bool:
    """Let `start` make an instance anew whose data are gone, with the password that it had; False if they are there."""
    record = _read(name, settings)
    if record is None or Path(record.data).exists():
        return False
    _record_path(name, settings).unlink()
    return True


def remove(name: str, settings: Settings) -> None:
    """Stop an embedded instance and delete its data, record and passwords."""
    record = _read(name, settings)
    if record is None:
        return
    stop(name, settings)
    shutil.rmtree(record.data, ignore_errors=False)
    for secret in (secret_path(name, settings), superuser_secret(name, settings.home)):
        secret.unlink(missing_ok=True)
    _record_path(name, settings).unlink()


def clone(name: str, origin: Settings, settings: Settings) -> None:
    """Give `settings` an embedded instance with the data and passwords of `origin`'s stopped one of that name, which
    `start` then starts on a port of its own. Copying takes a tenth of what making and migrating does.

    Raises:
        LarderError: turn `us`: it runs, or cannot be copied.
    """
    record, who = record_of(name, origin), account(settings)
    if running_pid(Path(record.data)) is not None:
        raise LarderError(f"instance {name} of {origin.home} runs: it cannot be copied", "us", "larder down")
    base = _base(name, settings, who)
    partial = base / "data.partial"
    partial.mkdir(mode=0o700)
    who.give(partial)
    copied = who.run(["cp", "-a", "--reflink=auto", f"{record.data}/.", partial])
    if copied.returncode:
        raise LarderError(f"instance {name} cannot be copied: {copied.stderr.strip()[-400:]}", "us", "larder doctor")
    partial.rename(base / "data")
    write_secret(secret_path(name, settings), secret_path(name, origin).read_text())
    write_secret(superuser_secret(name, settings.home), superuser_secret(name, origin.home).read_text())
    _write(replace(record, port=_free_port(), data=str(base / "data")), settings)


def _base(name: str, settings: Settings, who: Account) -> Path:
    """The folder of an instance: below `home`, or where the user that runs it cannot come there, in the runtime's."""
    home = settings.home / "instances" / name
    home.mkdir(parents=True, exist_ok=True)
    base = home if who.reaches(home) else runtime_dir(settings) / name
    base.mkdir(exist_ok=True)
    return base


def _create(name: str, settings: Settings, who: Account, programs: PgBinaries, options: Mapping[str, str]) -> Record:
    """initdb beside, then rename: a kill half-way leaves nothing that looks whole."""
    base = _base(name, settings, who)
    data, partial, password_file = base / "data", base / "data.partial", base / "initdb.password"
    if not data.exists():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        who.give(partial)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(password_of(superuser_secret(name, settings.home)))
        who.give(password_file)
        names = ["--pgdata", str(partial), "--username", SUPERUSER, "--pwfile", str(password_file)]
        kinds = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        if options.get("fsync") == "off":
            kinds.append("--no-sync")
        made = who.run([programs.tool("initdb"), *names, *kinds])
        password_file.unlink()
        if made.returncode:
            raise LarderError(f"initdb of {name} failed: {made.stderr.strip()[-400:]}", "us", "larder doctor")
        with (partial / "postgresql.conf").open("a") as file:
            file.write("\ninclude 'larder.conf'\n")
        partial.rename(data)
    return _write(Record(name, _free_port(), str(data)), settings)


def _configure(record: Record, who: Account, programs: PgBinaries, options: Mapping[str, str]) -> None:
    defaults = (Path(__file__).parent / "postgresql.conf").read_text().splitlines()
    ours = {"listen_addresses": HOST, "port": str(record.port), **options}
    path = Path(record.data, "larder.conf")
    absent = {"lz4": not programs.has_lz4(), "pg_stat_statements": not programs.has_library("pg_stat_statements")}
    lines = [line for line in defaults if not any(missing and name in line for name, missing in absent.items())]
    lines += [f"{key} = '{value}'" for key, value in ours.items()]
    path.write_text("\n".join(["# written at every start", *lines, ""]))
    who.give(path)


def _forget_reused_pid(data: Path) -> None:
    """Remove a pid file whose pid now belongs to a program that is not this server: postgres would believe it.

    One whose pid is gone is left to postgres, which then makes sure that no orphan of a crashed server still writes.
    """
    file = data / "postmaster.pid"
    if (pid := _recorded_pid(data)) is not None and Path(f"/proc/{pid}").exists():
        file.unlink()


def _launch(record: Record, settings: Settings, who: Account, programs: PgBinaries) -> None:
    log = settings.logs_dir / f"{record.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    give_up = time.monotonic() + ORPHAN_SECONDS
    while True:
        with log.open("ab") as file:
            began = file.tell()
            started = who.run(
                [programs.tool("pg_ctl"), "start", "--silent", "--wait", "--timeout=300", "--pgdata", record.data],
                stdout=file.fileno(),
            )
        if started.returncode == 0:
            return
        with log.open("rb") as file:
            file.seek(began)
            said = file.read().decode(errors="replace")
        if "pre-existing shared memory block" not in said or time.monotonic() > give_up:
            break
        time.sleep(0.2)  # backends of a crashed server are about to notice and leave; nothing announces it
    reasons = re.findall(r"(?:LOG|FATAL|PANIC|HINT):\s+(.+)", said)[-2:] or said.strip().splitlines()[-1:]
    cause = f"instance {record.name} does not start: {'; '.join(reasons)}"
    raise LarderError(cause, "us", f"tail -n 50 {log}")


def _prepare(record: Record, settings: Settings, programs: PgBinaries) -> Record:
    """Make the administering role, where that has not been done, or not by what it is to be able to now."""
    edition = bootstrap.edition(programs.has_library("pg_stat_statements"))
    if record.prepared == edition:
        return record
    server = bootstrap.Server(record.name, HOST, record.port, settings.home)
    bootstrap.prepare(server, password_of(secret_path(record.name, settings)))
    return _write(replace(record, username=ADMINISTRATOR, prepared=edition), settings)


def _greet(record: Record, settings: Settings) -> None:
    """Log in and make sure that it is our server, and that it knows the world's time zones."""
    dsn = instance_dsn(as_instance(record), "postgres", settings.home)
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('data_directory')")
        if (row := cursor.fetchone()) is None or row[0] != record.data:
            raise LarderError(
                f"port {record.port} answers for {row}, not for {record.data}", "us", "larder down; larder up"
            )
        cursor.execute("select count(*) from pg_timezone_names where name = 'America/New_York'")
        if (row := cursor.fetchone()) is None or row[0] == 0:
            raise LarderError("Postgres finds no time zones on this machine", "config", "sudo apt install tzdata")


def _recorded_pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _record_path(name: str, settings: Settings) -> Path:
    return settings.home / "instances" / f"{name}.json"


def _read(name: str, settings: Settings) -> Record | None:
    path = _record_path(name, settings)
    return Record(**json.loads(path.read_text())) if path.is_file() else None


def _write(record: Record, settings: Settings) -> Record:
    path = _record_path(record.name, settings)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record), indent=2) + "\n")
    partial.replace(path)
    return record


@contextmanager
def _lock(name: str, settings: Settings) -> Iterator[None]:
    """One process at a time starts or stops an instance; the lock dies with its process."""
    folder = settings.home / "instances"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
