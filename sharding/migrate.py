"""Schema versions: Alembic drives the SQL files of shard_migrations/, one version table per namespace.

Each migration is one transaction, so a run that dies half-way goes on where it stopped. What was applied is kept with
its hash (`schema_history`), so an edited migration is seen as drift instead of passing as the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg2

from sharding.model import Shard

if TYPE_CHECKING:
    from alembic.config import Config

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
    files = {path.name[:4]: _hash(path) for path in sorted((folder / kind).glob("[0-9]*.sql"))}
    return Drift(
        missing=tuple(revision for revision in files if revision not in applied),
        unknown=tuple(sorted(revision for revision in applied if revision not in files)),
        edited=tuple(revision for revision in files if applied.get(revision, files[revision]) != files[revision]),
    )


def _migrate(dsn: str, kind: Kind, schema: str, render: Callable[[str], str], folder: Path) -> list[str]:
    drift = _drift(dsn, kind, schema, folder)
    if not drift.missing and not drift.unknown:
        return []  # importing Alembic and SQLAlchemy costs 0.7 s

    from alembic import command
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://", 1), poolclass=NullPool)
    applied: list[str] = []
    # The lock has a connection of its own: Alembic's commits after each migration would not release it, but a failed
    # migration's rollback must not either.
    with engine.connect() as guard, engine.connect() as connection:
        guard.execute(text("select pg_advisory_lock(:lock, hashtext(:schema))"), {"lock": _LOCK, "schema": schema})
        connection.execute(text(f"create schema if not exists {schema}"))
        connection.execute(
            text(
                f"create table if not exists {schema}.schema_history (revision text primary key, sha256 text not null, "
                "applied_at timestamptz not null default clock_timestamp())"
            )
        )
        connection.commit()
        config = _config(kind, folder)

        def note(step: object, heads: object, **_: object) -> None:
            revision = str(step.up_revision_id)  # type: ignore[attr-defined]
            [path] = (folder / kind).glob(f"{revision}_*.sql")
            connection.execute(
                text(f"insert into {schema}.schema_history (revision, sha256) values (:revision, :sha256)"),
                {"revision": revision, "sha256": _hash(path)},
            )
            applied.append(revision)

        config.attributes.update(
            connection=connection,
            version_schema=schema,
            render=render,
            on_version_apply=lambda ctx, step, heads, run_args: note(step, heads),
        )
        with _ALEMBIC:
            command.upgrade(config, "head")
        connection.commit()
        guard.commit()
    engine.dispose()
    return applied


def _config(kind: Kind, folder: Path) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder / kind))
    config.set_main_option("path_separator", "newline")
    return config


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
