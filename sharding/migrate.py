"""Schema versions: Alembic drives the SQL files of shard_migrations/, one version table per namespace.

Each migration is one transaction, so a run that dies half-way goes on where it stopped. What was applied is kept with
its hash (`schema_history`), so an edited migration is seen as drift instead of passing as the same. A lock that is not
had in half a second is given up and asked for again later: while it waits, every reader of the table waits behind it.

Alembic's globals belong to its EnvironmentContext, which is not used here: threads may migrate side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as PgConnection

from sharding.access.roles import arrange, ensure_roles
from sharding.errors import LarderError
from sharding.migrating.files import MIGRATIONS, Kind, Migration, files_of
from sharding.model import Shard

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MIGRATIONS", "Drift", "Locks", "StayedLockedError", "migrate_control", "migrate_shard", "shard_drift"]

_LOCK = 19451  # advisory lock class of "this schema is being migrated"


@dataclass(frozen=True)
class Drift:
    """How a database differs from the migrations in this checkout.

    Attributes:
        missing: migrations not applied yet.
        unknown: applied, but not in this checkout: the database is newer than the code.
        edited: applied in another wording than the files now have.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    edited: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.edited)


@dataclass(frozen=True)
class Locks:
    """How a migration asks for locks.

    Attributes:
        timeout: seconds that a statement waits for one, and others behind it; then the migration is rolled back.
        patience: seconds over all tries.
    """

    timeout: float = 0.5
    patience: float = 60.0


class StayedLockedError(LarderError):
    """Others kept what a migration needs for as long as it had patience; nothing of it was applied."""


@dataclass(frozen=True)
class _Applied:
    sha256: str
    contracts: bool


def migrate_shard(shard: Shard, folder: Path = MIGRATIONS, locks: Locks | None = None) -> list[str]:
    """Bring a shard's namespace to the newest version, with the roles it speaks of; returns the revisions applied now.

    Raises:
        LarderError: turn `config`: the shard is newer than this checkout, or a file's number came too late.
        StayedLockedError: turn `us`: see there; those before it are applied.
    """
    if shard_drift(shard, folder).missing:
        ensure_roles(shard)
    applied = _migrate(shard.dsn, "shard", shard.schema("keys"), shard.render, folder, locks or Locks())
    if applied:
        arrange_rights(shard, locks)
    return applied


def arrange_rights(shard: Shard, locks: Locks | None = None) -> None:
    """Owners and rights of everything on a shard, asking for locks as a migration does.

    Raises:
        StayedLockedError: turn `us`: others kept a table for as long as there was patience.
    """
    locks = locks or Locks()
    for _ in _tries(f"schema {shard.schema('keys')}", locks):
        try:
            arrange(shard, locks.timeout)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            continue


def migrate_control(dsn: str, folder: Path = MIGRATIONS, locks: Locks | None = None) -> list[str]:
    """Bring the control database to the newest version; returns the revisions applied now."""
    return _migrate(dsn, "control", "control", str, folder, locks or Locks())


def shard_drift(shard: Shard, folder: Path = MIGRATIONS) -> Drift:
    """What separates a shard's namespace from this checkout."""
    with closing(psycopg2.connect(shard.dsn)) as connection:
        return _drift(_history(connection, shard.schema("keys")), files_of("shard", folder))


def control_drift(dsn: str, folder: Path = MIGRATIONS) -> Drift:
    """What separates the control database from this checkout."""
    with closing(psycopg2.connect(dsn)) as connection:
        return _drift(_history(connection, "control"), files_of("control", folder))


def version_of(shard: Shard) -> str | None:
    """The newest revision that a shard has; None before the first."""
    with closing(psycopg2.connect(shard.dsn)) as connection:
        return max(_history(connection, shard.schema("keys")), default=None)


def unusable(connection: PgConnection, keys_schema: str, folder: Path = MIGRATIONS) -> str:
    """Why this checkout must not load into or build a shard; empty where it may.

    It may where every migration of the checkout is applied, also where later ones are: they add, and what takes away
    is marked as `contract` and stops older code.
    """
    history = _history(connection, keys_schema)
    drift = _drift(history, files_of("shard", folder))
    if drift.missing:
        at = max(history, default="no version")
        return f"the schema is at {at}, this code needs {', '.join(drift.missing)}"
    taken = [revision for revision in drift.unknown if history[revision].contracts]
    return f"migration {taken[-1]} took away what this older code may use" if taken else ""


def require_usable(shard: Shard) -> None:
    """Refuse a shard that is not at this checkout's version.

    Raises:
        LarderError: turn `config`, with the command that helps this shard; `us` where it cannot be reached.
    """
    try:
        with closing(psycopg2.connect(shard.dsn, connect_timeout=5)) as connection:
            reason = unusable(connection, shard.schema("keys"))
    except psycopg2.OperationalError as error:
        raise LarderError(
            f"the shard cannot be reached: {' '.join(str(error).split())}", "us", "larder status"
        ) from error
    if reason:
        raise LarderError(f"{shard.name}: {reason}", "config", f"larder shard migrate --only {shard.name}")


def require_control(dsn: str) -> None:
    """Refuse a control database that lacks migrations of this checkout.

    Raises:
        LarderError: turn `config`.
    """
    missing = control_drift(dsn).missing
    if missing:
        raise LarderError(f"the control database lacks {', '.join(missing)} of its schema", "config", "larder up")


def _history(connection: PgConnection, schema: str) -> dict[str, _Applied]:
    with connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s)", (f"{schema}.schema_history",))
        if (row := cursor.fetchone()) is None or row[0] is None:
            return {}
        # Through jsonb: the column `contracts` came later than the first histories.
        cursor.execute(
            "select revision, sha256, coalesce((to_jsonb(history) ->> 'contracts')::boolean, false)"
            f" from {schema}.schema_history as history order by revision"
        )
        return {revision: _Applied(sha256, contracts) for revision, sha256, contracts in cursor.fetchall()}


def _drift(history: Mapping[str, _Applied], files: Mapping[str, Migration]) -> Drift:
    return Drift(
        missing=tuple(revision for revision in files if revision not in history),
        unknown=tuple(revision for revision in history if revision not in files),
        edited=tuple(r for r, file in files.items() if r in history and history[r].sha256 != file.sha256),
    )


def _refuse(schema: str, history: Mapping[str, _Applied], drift: Drift) -> None:
    if drift.unknown:
        newest = drift.unknown[-1]
        raise LarderError(f"schema {schema} is at {newest}, newer than this checkout", "config", "git pull; larder up")
    late = [revision for revision in drift.missing if history and revision < max(history)]
    if late:
        raise LarderError(
            f"migration {late[0]} comes before {max(history)}, which schema {schema} has: it needs a later number",
            "config",
            f"git log shard_migrations/*/{late[0]}_*",
        )


def _migrate(dsn: str, kind: Kind, schema: str, render: Callable[[str], str], folder: Path, locks: Locks) -> list[str]:
    files = files_of(kind, folder)
    with closing(psycopg2.connect(dsn)) as reader:
        history = _history(reader, schema)
    drift = _drift(history, files)
    _refuse(schema, history, drift)
    if not drift.missing:
        return []  # importing Alembic and SQLAlchemy costs 0.7 s

    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import DBAPIError

    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://", 1), poolclass=NullPool)
    applied: list[str] = []
    with _alone(dsn, schema, locks), engine.connect() as connection:
        for _ in _tries(f"schema {schema}", locks):
            try:
                _prepare(connection, schema, locks)
                _upgrade(connection, schema, render, files, locks, applied)
                break
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                connection.rollback()
            except DBAPIError as error:  # callers know the driver's errors
                raise (error.orig or error) from error
    engine.dispose()
    return applied


def _tries(what: str, locks: Locks) -> Iterator[None]:
    """One try after the other, less and less often, until patience ends."""
    give_up, pause = time.monotonic() + locks.patience, 0.1
    while True:
        yield
        if time.monotonic() + pause > give_up:
            raise StayedLockedError(
                f"{what} stays locked by others: no lock within {locks.timeout:g} s, tried for {locks.patience:g} s",
                "us",
                "larder shard migrate",
            )
        time.sleep(pause)  # lets those through that waited behind this try; a lock's end is not announced
        pause = min(pause * 2, 5.0)


@contextmanager
def _alone(dsn: str, schema: str, locks: Locks) -> Iterator[None]:
    """Nobody else migrates the schema meanwhile. On a connection of its own, that neither a rollback nor `create index
    concurrently` meets: that waits for every older snapshot, so nobody may wait for it within a statement."""
    with closing(psycopg2.connect(dsn, application_name="larder migrate")) as guard:
        guard.autocommit = True
        for _ in _tries(f"schema {schema}", locks):
            with guard.cursor() as cursor:
                cursor.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK, schema))
                if cursor.fetchone() == (True,):
                    break
        yield


def _prepare(connection: Connection, schema: str, locks: Locks) -> None:
    """The schema with its history, also one that was begun by an earlier version."""
    _execute(connection, f"set local lock_timeout = {_milliseconds(locks.timeout)}")
    _execute(
        connection,
        f"create schema if not exists {schema};"
        f"create table if not exists {schema}.schema_history (revision text primary key, sha256 text not null,"
        " applied_at timestamptz not null default clock_timestamp());"
        f"alter table {schema}.schema_history add column if not exists contracts boolean not null default false",
    )
    connection.commit()


def _upgrade(
    connection: Connection,
    schema: str,
    render: Callable[[str], str],
    files: Mapping[str, Migration],
    locks: Locks,
    applied: list[str],
) -> None:
    """Run what the version table does not name yet, noting it in `applied`. The revisions are made from the files, in
    the order of their names; no module stands beside an SQL file."""
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script.base import Script
    from alembic.script.revision import RevisionMap
    from sqlalchemy import text

    def run(migration: Migration) -> None:
        if migration.outside:
            with context.autocommit_block():
                # It lets readers and writers through while it waits, so it may wait long.
                _execute(connection, f"set lock_timeout = {_milliseconds(locks.patience)}")
                for statement in migration.statements():
                    _execute(connection, render(statement))
        else:
            _execute(connection, f"set local lock_timeout = {_milliseconds(locks.timeout)}")
            _execute(connection, render(migration.text))
        connection.execute(
            text(f"insert into {schema}.schema_history (revision, sha256, contracts) values (:r, :sha256, :contracts)"),
            {"r": migration.revision, "sha256": migration.sha256, "contracts": migration.contracts},
        )
        applied.append(migration.revision)

    def script(migration: Migration, parent: str | None) -> Script:
        module = ModuleType(migration.path.stem)
        vars(module).update(revision=migration.revision, down_revision=parent, upgrade=lambda: run(migration))
        return Script(module, migration.revision, str(migration.path))

    scripts = [script(migration, parent) for migration, parent in zip(files.values(), [None, *files], strict=False)]
    order = RevisionMap(lambda: iter(scripts))

    def steps(heads: tuple[str, ...], context: object) -> list[MigrationStep]:
        ahead = list(order.iterate_revisions("heads", heads, implicit_base=True))
        return [MigrationStep.upgrade_from_script(order, s) for s in reversed(ahead) if isinstance(s, Script)]

    options = {"version_table": "schema_version", "version_table_schema": schema, "transaction_per_migration": True}
    context = MigrationContext.configure(connection, opts={**options, "fn": steps})
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


def _execute(connection: Connection, statements: str) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor:  # SQLAlchemy would read the DDL's % signs as parameters
        cursor.execute(statements)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
