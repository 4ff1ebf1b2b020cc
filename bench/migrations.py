"""Migrations of many shards: one at a time and side by side, beside plain Alembic; and what readers wait meanwhile."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config

from bench.measure import Cost, measured
from sharding import instances
from sharding.access.roles import arrange
from sharding.catalogue import Catalogue
from sharding.migrate import MIGRATIONS, Locks, migrate_shard
from sharding.migrating import fleet
from sharding.migrating.files import files_of
from sharding.model import Shard
from sharding.provision import create_database, provision_control
from sharding.settings import Settings

SHARDS = 50
OLD = "0003"
"""What the shards have before; the files after it are applied."""
BUILD_SECONDS = 5.0
ENV = """
from alembic import context
from sqlalchemy import NullPool, create_engine

engine = create_engine(context.config.attributes["dsn"], poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
VERSION = """
from alembic import op
revision, down_revision = {revision!r}, {parent!r}

def upgrade():
    op.get_bind().connection.driver_connection.cursor().execute({text!r})
"""


@dataclass(frozen=True)
class Migrations:
    """The cost of each way, and the longest wait of a reader while a migration waits for a build: seconds."""

    shards: int
    files: int
    ways: dict[str, Cost]
    longest_read: dict[str, float]


def measure_migrations(home: Path, count: int = SHARDS) -> Migrations:
    """`count` databases on one server, some files behind, brought up to date in several ways."""
    settings = Settings(home=home, control_dsn=None)
    try:
        world = _World(settings, home, count)
        world.once()  # imports and the disk's first writes are nobody's
        ways = {
            "plain Alembic, one after the other": world.cost(world.plain),
            "the same, then owners and rights": world.cost(world.plain_with_rights),
        }
        for workers in (1, 2, 4):
            ways[f"ours, {workers} at once"] = world.cost(partial(world.ours, workers=workers))
        reads = {"plain Alembic": world.longest_read(world.plain_one), "ours": world.longest_read(world.ours_one)}
        return Migrations(count, len(files_of("shard", MIGRATIONS)) - len(world.old), ways, reads)
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)


class _World:
    def __init__(self, settings: Settings, home: Path, count: int) -> None:
        self.instance = instances.start("fleet", settings, {"max_connections": "120"})
        self.catalogue = Catalogue(provision_control(self.instance, settings), home)
        self.catalogue.add_instance(self.instance)
        self.settings, self.home, self.count, self.number = settings, home, count, 0
        pid = instances.status("fleet", settings).pid
        assert pid is not None
        self.pid = pid
        before = home / "before"
        shutil.copytree(MIGRATIONS, before)
        for path in (before / "shard").glob("*.sql"):
            if path.name[:4] > OLD:
                path.unlink()
        self.old = files_of("shard", before)
        self.template = self._shard("template_of_all")
        create_database(self._dsn("postgres"), self.template.database)
        migrate_shard(self.template, before)
        self.scripts = home / "alembic"
        (self.scripts / "versions").mkdir(parents=True)
        (self.scripts / "env.py").write_text(ENV)
        newest = [f for f in files_of("shard", MIGRATIONS).values() if f.revision not in self.old]
        for file, parent in zip(newest, [None, *newest], strict=False):
            text = VERSION.format(
                revision=file.revision,
                parent=parent.revision if parent else None,
                text=self.template.render(file.text),
            )
            (self.scripts / "versions" / f"{file.path.stem}.py").write_text(text)

    def cost(self, way: Callable[[Sequence[Shard]], None]) -> Cost:
        """What a way costs on databases made for it."""
        with self._shards(self.count) as shards, measured(self.pid) as cost:
            way(shards)
        return cost

    def once(self) -> None:
        """Each way with one database."""
        for way in (partial(self.ours, workers=1), self.plain):
            with self._shards(1) as shards:
                way(shards)

    def plain(self, shards: Sequence[Shard]) -> None:
        for shard in shards:
            self.plain_one(shard)

    def plain_with_rights(self, shards: Sequence[Shard]) -> None:
        """What is done to a shard at all, by the plain way."""
        for shard in shards:
            self.plain_one(shard)
            arrange(shard)

    def plain_one(self, shard: Shard) -> None:
        config = Config()
        config.set_main_option("script_location", str(self.scripts))
        config.attributes["dsn"] = shard.dsn.replace("postgresql://", "postgresql+psycopg2://", 1)
        command.upgrade(config, "head")

    def ours(self, shards: Sequence[Shard], workers: int) -> None:
        outcomes = fleet.migrate(self.catalogue, shards, workers=workers)
        if error := fleet.refused(outcomes):
            raise error

    def ours_one(self, shard: Shard) -> None:
        migrate_shard(shard, locks=Locks(patience=10 * BUILD_SECONDS))

    def longest_read(self, way: Callable[[Shard], None]) -> float:
        """A build reads a table for some seconds, a migration wants to change it, and others go on reading."""
        with self._shards(1) as [shard], closing(psycopg2.connect(shard.dsn)) as build:
            with build.cursor() as cursor:
                cursor.execute("select count(*) from keys.route")
            done, waits = threading.Event(), list[float]()
            reader = threading.Thread(target=self._read, args=(shard, done, waits))
            migration = threading.Thread(target=way, args=(shard,))
            reader.start()
            migration.start()
            time.sleep(BUILD_SECONDS)
            build.rollback()
            migration.join()
            done.set()
            reader.join()
        return max(waits)

    def _read(self, shard: Shard, done: threading.Event, waits: list[float]) -> None:
        with closing(psycopg2.connect(shard.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not done.wait(0.01):
                began = time.monotonic()
                cursor.execute("select count(*) from keys.route")
                waits.append(time.monotonic() - began)

    @contextmanager
    def _shards(self, count: int) -> Iterator[list[Shard]]:
        names = [f"s_{self.number + n}" for n in range(count)]
        self.number += count
        for name in names:
            self._execute(
                f"create database {name} template {self.template.database} strategy file_copy"
                f" owner {self.instance.username}"
            )
            self.catalogue.add_shard(name, "fleet", name)
        self._execute("checkpoint")
        yield [self.catalogue.shard(name) for name in names]
        for name in names:
            self.catalogue.set_shard_state(name, "retired")
            self._execute(f"drop database {name} with (force)")

    def _execute(self, statement: str) -> None:
        with closing(psycopg2.connect(instances.superuser_dsn(self.instance, "postgres", self.settings))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _dsn(self, database: str) -> str:
        return instances.instance_dsn(self.instance, database, self.home)

    def _shard(self, database: str) -> Shard:
        at = self.instance
        password = instances.secret_path("fleet", self.settings).read_text()
        return Shard(database, at.name, database, "", at.host, at.port, at.username, password)


def rows(measured_: Migrations) -> list[dict[str, object]]:
    """As a table."""
    plain = list(measured_.ways.values())[1].wall
    return [
        {
            "way": name,
            "wall s": round(cost.wall, 2),
            "a shard: ms": round(cost.wall / measured_.shards * 1000),
            "client CPU s": round(cost.client, 2),
            "Postgres CPU s": round(cost.postgres, 2),
            "× as fast as plain with rights": round(plain / cost.wall, 2),
        }
        for name, cost in measured_.ways.items()
    ]
