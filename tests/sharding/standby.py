"""A streaming replica of a test's Postgres, made by pg_basebackup as an operator makes one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2

from sharding import instances
from sharding.instances import _free_port
from sharding.model import Address, Instance
from sharding.postgres import Account, PgBinaries, account, binaries
from sharding.replicas import WRITTEN
from sharding.settings import Settings
from tests.conftest import scratch
from tests.waiting import until


@dataclass
class Standby:
    """A replica, and how it is stopped, started and promoted."""

    primary: Instance
    settings: Settings
    data: Path
    port: int
    who: Account
    programs: PgBinaries

    @property
    def slot(self) -> str:
        """By it the primary keeps what this replica has not received yet: without one it could miss for ever what a
        checkpoint removes while it starts."""
        return f"standby_{self.port}"

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    def dsn(self, database: str = "postgres") -> str:
        """As superuser, who stops and goes on with replay."""
        return instances.superuser_dsn(replace(self.primary, port=self.port), database, self.settings)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.dsn(database))) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def control(self, *arguments: str) -> None:
        log = self.data.with_suffix(".log")
        with log.open("ab") as file:
            done = self.who.run(
                [self.programs.tool("pg_ctl"), *arguments, "--wait", "--silent", "--pgdata", str(self.data)],
                stdout=file.fileno(),
            )
        assert done.returncode == 0, self._log()

    def start(self) -> None:
        options = f"-p {self.port} -c max_standby_streaming_delay=0 -c wal_retrieve_retry_interval=100ms"
        self.control("start", "-o", options)

    def stop(self, mode: str = "fast") -> None:
        self.control("stop", "--mode", mode)

    def wait_until_level_with(self, dsn: str) -> None:
        """Until it has replayed what the primary has written by now."""
        with closing(psycopg2.connect(dsn)) as primary, primary.cursor() as cursor:
            cursor.execute(WRITTEN)
            [(position,)] = cursor.fetchall()
        level = f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        until(lambda: self.sql(level) == [(True,)], why=f"the replica stays behind {position}: {self._log()}")

    def _log(self) -> str:
        return self.data.with_suffix(".log").read_text()[-2000:]


@contextmanager
def standby(primary: Instance, settings: Settings) -> Iterator[Standby]:
    """A running replica; gone afterwards."""
    who, programs = account(settings), binaries(settings)
    folder = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    folder.chmod(0o755)
    who.give(folder)
    made = Standby(primary, settings, folder / "data", _free_port(), who, programs)
    try:
        source = instances.superuser_dsn(primary, "postgres", settings)
        slot = ["--create-slot", f"--slot={made.slot}"]
        options = [*slot, "--write-recovery-conf", "--no-sync", "--checkpoint=fast", "--wal-method=stream"]
        done = who.run([programs.tool("pg_basebackup"), *options, f"--pgdata={made.data}", f"--dbname={source}"])
        assert done.returncode == 0, done.stderr
        made.start()
        yield made
    finally:
        if instances.running_pid(made.data):
            made.stop("immediate")
        shutil.rmtree(folder)
