"""One small world for the whole run: `larder demo` over a few days of trade, on two shards and the sandbox's vendors.

It is the demo's own definition with a later start, so what is tested is what a new user sees, in seconds.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import yaml

import cli.demo
from cli.context import get_context
from cli.main import main
from ingestion.registry import _discover
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.http import Faults
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from sharding.settings import get_settings
from tests.cli.conftest import Ran
from tests.conftest import Server, scratch, take_over

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

SINCE = "2024-03-30"
NOW = datetime(2024, 4, 2, 9, tzinfo=UTC)
"""The sandbox tells a late refund, an edit, a void, … every day from 1 April on: one day later each has happened."""


BUSINESSES = {"jaffle_shop": 1001, "pizza_place": 300001}
"""One of the demo's on each shard, by name: the ids of the second one's rows are negative."""
DEMO = BUSINESSES | {"kavarnia": 1002}
"""All of the demo's; the third one is on the first one's shard."""


@dataclass
class World:
    """An installation of its own: home, catalogue and shards, and the vendors' clock and faults."""

    home: Path
    environment: dict[str, str]
    shards: tuple[Shard, ...]
    said: list[Ran] = field(default_factory=list)

    @property
    def clock(self) -> SandboxClock:
        return SandboxClock(self.home)

    @property
    def faults(self) -> Faults:
        return Faults(self.home / "sandbox" / "faults.json")

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.environment["LARDER_CONTROL_DSN"], self.home)

    def shard_of(self, business: str) -> Shard:
        wanted = self.catalogue.business(business).shard
        return next(shard for shard in self.shards if shard.name == wanted)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process's settings are this installation's."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        _forget()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            _forget()

    def larder(self, *arguments: str) -> Ran:
        """Run `larder …` in this process."""
        out, err = io.StringIO(), io.StringIO()
        with self.entered(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr("sys.argv", ["larder", *arguments])
            with pytest.raises(SystemExit) as stop:
                main()
        code = stop.value.code
        self.said.append(Ran(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue()))
        return self.said[-1]

    def rows(self, business: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query on the shard of a business; `{marts}` and the like are its schemas."""
        shard = self.shard_of(business)
        with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(shard.render(query), values or None)
            return cur.fetchall() if cur.description else []

    def one(self, business: str, query: str, *values: Any) -> Any:
        """The only value of a query."""
        ((value,),) = self.rows(business, query, *values)
        return value

    def control(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL on the control database."""
        with self.catalogue.connect() as conn, conn.cursor() as cur:
            cur.execute(statement, values or None)
            return cur.fetchall() if cur.description else []

    def checksums(self, *schemas: str) -> dict[str, str]:
        """Shard and table → a digest of its rows and their columns, whatever their order. A view counts by its rows."""
        found = {}
        for shard in self.shards:
            with closing(psycopg2.connect(shard.dsn)) as conn, conn.cursor() as cur:
                cur.execute(
                    "select format('%%I.%%I', table_schema, table_name) from information_schema.tables"
                    " where table_schema = any(%s)",
                    ([shard.schemas.get(schema, schema) for schema in schemas],),
                )
                for (table,) in cur.fetchall():
                    cur.execute(f"select md5(string_agg(md5(t::text), '' order by md5(t::text))) from {table} as t")
                    found[f"{shard.name} {table}"] = cur.fetchone()[0]
        return found


def _forget() -> None:
    get_settings.cache_clear()
    get_context.cache_clear()
    _discover.cache_clear()


@contextmanager
def new_world(server: Server, *shards: str) -> Iterator[World]:
    """An installation with shards and nothing on them."""
    home = Path(tempfile.mkdtemp(prefix="larder-world-", dir=scratch()))
    databases = [server.copy_of("larder_control"), *(server.copy_of("shard") for _ in shards)]
    try:
        dsn = server.dsn(databases[0])
        at, catalogue = server.instance, Catalogue(dsn, home)
        secret = instances.secret_path(at.name, server.settings)
        catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))
        for name, database in zip(shards, databases[1:], strict=True):
            catalogue.add_shard(name, at.name, database)
        made = tuple(server.shard(database, name) for name, database in zip(shards, databases[1:], strict=True))
        yield World(home, {"LARDER_HOME": str(home), "LARDER_CONTROL_DSN": dsn}, made)
    finally:
        process.down(home)
        for database in databases:
            server.drop(database)
        shutil.rmtree(home)


def definition(since: str = SINCE) -> dict[str, Any]:
    """The demo's businesses and sources, with less history."""
    demo: dict[str, Any] = yaml.safe_load(cli.demo.DEMO.read_text())
    for business in demo["businesses"]:
        for source in business["sources"]:
            source["config"]["since"] = since
    return demo


@pytest.fixture(scope="session")
def world(server: Server, parsed_models: DbtProject) -> Iterator[World]:
    """After the first `larder demo`; tests that move it on say so in their names."""
    with new_world(server, "shard_1", "shard_2") as made, pytest.MonkeyPatch.context() as patch:
        small = made.home / "demo.yml"
        small.write_text(yaml.safe_dump(definition()))
        patch.setattr(cli.demo, "DEMO", small)
        made.clock.set(NOW)
        take_over(parsed_models, made.home / "dbt")
        made.larder("demo")
        yield made
