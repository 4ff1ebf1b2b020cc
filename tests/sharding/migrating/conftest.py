"""Four shards of one server and a catalogue that holds them; migrations that a test may add to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sharding.catalogue import Catalogue
from sharding.migrate import MIGRATIONS, Locks
from sharding.migrating import fleet
from sharding.model import Shard


@dataclass(frozen=True)
class Fleet:
    """The shards by name, and the folder of their migrations."""

    catalogue: Catalogue
    folder: Path

    def add(self, name: str, text: str) -> None:
        """Write a migration file."""
        (self.folder / "shard" / f"{name}.sql").write_text(text)

    def migrate(self, **options: Any) -> list[fleet.Outcome]:
        """A run over all shards."""
        given = {"folder": self.folder, "locks": Locks(0.2, 1.0)} | options
        return fleet.migrate(self.catalogue, self.catalogue.shards(), **given)

    def plan(self) -> list[fleet.Standing]:
        """How all shards stand."""
        return fleet.plan(self.catalogue.shards(), self.folder)

    def at(self) -> dict[str, str | None]:
        """Shard → its newest revision."""
        return {one.shard: one.at for one in self.plan()}

    def sql(self, shard: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on a shard."""
        dsn = self.catalogue.shard(shard).dsn
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def recorded(self) -> list[tuple[Any, ...]]:
        """Runs of migrations as the control database has them."""
        with self.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "select canary, canary_good_at is not null, state from control.migration_runs order by run_id"
            )
            return cursor.fetchall()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Migrations that a test may add to and edit."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


@pytest.fixture
def shards(make_shard: Callable[..., Shard], register: Callable[[Shard], Catalogue], folder: Path) -> Fleet:
    """Shards `a` to `d`; all but `c` hold a business."""
    for name in "abcd":
        catalogue = register(make_shard(name))
        if name != "c":
            catalogue.add_business(f"on_{name}", name, name)
    return Fleet(catalogue, folder)
