"""Schema versions: Alembic drives the SQL files of shard_migrations/, one version table per namespace.

Each migration is one transaction, so a run that dies half-way goes on where it stopped. What was applied is kept with
its hash (`schema_history`), so an edited migration is seen as drift instead of passing as the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import psycopg2

from sharding.errors import LarderError
from sharding.model import Shard

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).resolve().parent.parent / "shard_migrations"
Kind = Literal["shard", "control"]
_LOCK = 19451
_ALEMBIC = threading.Lock()
"""Alembic keeps its context in module globals: one upgrade at a time in a process."""


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


def migrate_shard(shard: Shard, folder: Path = MIGRATIONS) -> list[str]:
    """Bring a shard's namespace to the newest version; returns the revisions applied now."""
    return _migrate(shard.dsn, "shard", shard.schema("keys"), shard.render, folder)


def migrate_control(dsn: str, folder: Path = MIGRATIONS) -> list[str]:
    """Bring the control database to the newest version; returns the revisions applied now."""
    return _migrate(dsn, "control", "control", str, folder)


def shard_drift(shard: Shard, folder: Path = MIGRATIONS) -> Drift:
    """What separates a shard's namespace from this checkout."""
    return _drift(shard.dsn, "shard", shard.schema("keys"), folder)


def control_drift(dsn: str, folder: Path = MIGRATIONS) -> Drift:
    """What separates the control database from this checkout."""
    return _drift(dsn, "control", "control", folder)


def _drift(dsn: str, kind: Kind, schema: str, folder: Path) -> Drift:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s)", (f"{schema}.schema_history",))
        applied: dict[str, str] = {}
        if (row := cursor.fetchone()) and row[0]:
            cursor.execute(f"select revision, sha256 from {schema}.schema_history")
            applied = dict(cursor.fetchall())
    files = {revision: _hash(path) for revision, path in _files(kind, folder).items()}
    return Drift(
        missing=tuple(revision for revision in files if revision not in applied),
        unknown=tuple(sorted(revision for revision in applied if revision not in files)),
        edited=tuple(revision for revision in files if applied.get(revision, files[revision]) != files[revision]),
    )


def _migrate(dsn: str, kind: Kind, schema: str, render: Callable[[str], str], folder: Path) -> list[str]:
    drift = _drift(dsn, kind, schema, folder)
    if drift.unknown:
        newest = drift.unknown[-1]
        raise LarderError(f"schema {schema} is at {newest}, newer than this checkout", "config", "git pull; larder up")
    if not drift.missing:
        return []  # importing Alembic and SQLAlchemy costs 0.7 s

    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://", 1), poolclass=NullPool)
    # The lock has a connection of its own: each migration commits, and one that fails is rolled back.
    with engine.connect() as guard, engine.connect() as connection:
        guard.execute(text("select pg_advisory_lock(:lock, hashtext(:schema))"), {"lock": _LOCK, "schema": schema})
        connection.execute(text(f"create schema if not exists {schema}"))
        connection.execute(
            text(
                f"create table if not exists {schema}.schema_history (revision text primary key, sha256 text not null,"
                " applied_at timestamptz not null default clock_timestamp())"
            )
        )
        connection.commit()
        with _ALEMBIC:
            applied = _upgrade(connection, schema, render, _files(kind, folder))
        connection.commit()
    engine.dispose()
    return applied


def _upgrade(connection: Connection, schema: str, render: Callable[[str], str], files: Mapping[str, Path]) -> list[str]:
    """Run what the version table does not name yet. The revisions are made from the files, in the order of their names;
    no module stands beside an SQL file."""
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script.base import Script
    from alembic.script.revision import RevisionMap
    from sqlalchemy import text

    applied: list[str] = []

    def run(revision: str) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor:  # SQLAlchemy would read the DDL's % signs as parameters
            cursor.execute(render(files[revision].read_text()))
        connection.execute(
            text(f"insert into {schema}.schema_history (revision, sha256) values (:revision, :sha256)"),
            {"revision": revision, "sha256": _hash(files[revision])},
        )
        applied.append(revision)

    def script(revision: str, parent: str | None) -> Script:
        module = ModuleType(files[revision].stem)
        vars(module).update(revision=revision, down_revision=parent, upgrade=lambda: run(revision))
        return Script(module, revision, str(files[revision]))

    scripts = [script(*pair) for pair in zip(files, [None, *files], strict=False)]
    order = RevisionMap(lambda: iter(scripts))

    def steps(heads: tuple[str, ...], context: object) -> list[MigrationStep]:
        ahead = list(order.iterate_revisions("heads", heads, implicit_base=True))
        return [MigrationStep.upgrade_from_script(order, s) for s in reversed(ahead) if isinstance(s, Script)]

    options = {"version_table": "schema_version", "version_table_schema": schema, "transaction_per_migration": True}
    context = MigrationContext.configure(connection, opts={**options, "fn": steps})
    with context.begin_transaction():
        context.run_migrations()
    return applied


def _files(kind: Kind, folder: Path) -> dict[str, Path]:
    """The migrations by revision, the first four characters of a file's name, in order."""
    return {path.name[:4]: path for path in sorted((folder / kind).glob("[0-9][0-9][0-9][0-9]_*.sql"))}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
