"""One embedded Postgres for the whole test run; every test that asks for a database gets a fresh copy of a template."""

from __future__ import annotations

import copy
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from xdist.scheduler import LoadFileScheduling

from orchestration import workers
from sharding import instances, postgres
from sharding.access.roles import open_database
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from sharding.provision import create_database, provision_control, provision_shard
from sharding.settings import Settings, get_settings
from tests.faults.record import figure, note_rows, pytest_configure, pytest_runtest_call

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

__all__ = ["figure", "pytest_configure", "pytest_runtest_call"]  # what tests of faults report

TESTS = Path(__file__).parent
TOGETHER = {"integration", "access", "reconcile"}
LONG = ("integration", "facets", "conformance", "cli", "orchestration", "sharding")
UNSAFE_BUT_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones come first: with two processes, the one that ends last says how long a run takes."""
    order = {folder: number for number, folder in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.relative_to(TESTS).parts[0], len(order)))
    note_rows(items)


class Together(LoadFileScheduling):
    """A file's tests stay in one process, and so do those of a folder whose files share what takes a minute to make."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return str(Path(file).parent) if Path(file).parent.name in TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    """With `--dist loadfile`, as `make test` does."""
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


@dataclass(frozen=True)
class Server:
    """The test run's Postgres: its instance, home and template databases."""

    instance: Instance
    settings: Settings
    numbers: Iterator[int]

    @property
    def password(self) -> str:
        return instances.secret_path(self.instance.name, self.settings).read_text()

    def dsn(self, database: str) -> str:
        return instances.instance_dsn(self.instance, database, self.settings.home)

    def shard(self, database: str, name: str = "shard_1", namespace: str = "") -> Shard:
        at = self.instance
        return Shard(name, at.name, database, namespace, at.host, at.port, at.username, self.password)

    def superuser_dsn(self, database: str = "postgres") -> str:
        """For what only a superuser can do to a server, such as breaking it; no part of Larder connects so."""
        return instances.superuser_dsn(self.instance, database, self.settings)

    def execute(self, statement: str, database: str = "", as_superuser: bool = False) -> None:
        """Run a statement outside a transaction, on the maintenance database where no other is named."""
        dsn = (self.superuser_dsn if as_superuser else self.dsn)(database or "postgres")
        with closing(psycopg2.connect(dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def copy_of(self, template: str) -> str:
        """A fresh database; returns its name."""
        name = f"{template}_{next(self.numbers)}"
        self.execute(f"create database {name} template {template} strategy file_copy")
        with closing(psycopg2.connect(self.dsn("postgres"))) as connection, connection, connection.cursor() as cursor:
            open_database(cursor, name)  # rights on a database are not copied with it
        return name

    def drop(self, name: str) -> None:
        self.execute(f"drop database if exists {name} with (force)")


def scratch() -> str:
    """A folder in memory where there is room: creating and dropping a database there takes 30 ms instead of 120."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3 else "/var/tmp"


@pytest.fixture(scope="session", autouse=True)
def reachable_programs() -> Iterator[None]:
    """As root in a checkout that only root can enter: one copy of Postgres' programs for the run, not one a home."""
    settings = Settings(home=scratch(), control_dsn=None)
    programs = postgres.installed_bin(settings)
    if postgres.account(settings).reaches(programs / "postgres"):
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="larder-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    shutil.copytree(programs.parent, folder / "install", symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LARDER_POSTGRES_BIN", str(folder / "install" / "bin"))
        get_settings.cache_clear()
        yield
    shutil.rmtree(folder)


@contextmanager
def running_server(name: str) -> Iterator[Server]:
    """Postgres with the templates `shard` and `larder_control`, both at the newest version."""
    # Not pytest's tmp_path: it is closed to other users, and as root Postgres runs as one.
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    settings = Settings(home=home, control_dsn=None)
    try:
        made = Server(instances.start(name, settings, UNSAFE_BUT_QUICK), settings, itertools.count(1))
        provision_control(made.instance, settings)
        provision_shard(made.shard("shard"))
        yield made
    finally:
        instances.remove(name, settings)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The test run's Postgres."""
    with running_server("test") as made:
        yield made


@pytest.fixture
def make_shard(server: Server) -> Iterator[Callable[..., Shard]]:
    """`make_shard(name)`: a shard in a fresh database. Another namespace than "" is migrated from scratch."""
    made: list[str] = []

    def make(name: str = "shard_1", namespace: str = "") -> Shard:
        if not namespace:
            made.append(server.copy_of("shard"))
            return server.shard(made[-1], name)
        database = f"{namespace}_{next(server.numbers)}"
        create_database(server.dsn("postgres"), database)
        made.append(database)
        shard = server.shard(database, name, namespace)
        provision_shard(shard)
        return shard

    yield make
    for database in made:
        server.drop(database)


@pytest.fixture
def shard(make_shard: Callable[..., Shard]) -> Shard:
    """A shard, `shard_1`, in a fresh database."""
    return make_shard()


@pytest.fixture
def control_dsn(server: Server) -> Iterator[str]:
    """A fresh control database."""
    database = server.copy_of("larder_control")
    yield server.dsn(database)
    server.drop(database)


@pytest.fixture
def settings(control_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of this test's own home and control database; `get_settings()` and the CLI see them too."""
    monkeypatch.setenv("LARDER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LARDER_CONTROL_DSN", control_dsn)
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.fixture
def register(server: Server, settings: Settings) -> Callable[[Shard], Catalogue]:
    """`register(shard)`: put a shard into this test's catalogue; returns the catalogue."""
    assert settings.control_dsn is not None
    catalogue = Catalogue(settings.control_dsn.get_secret_value(), settings.home)
    secret = instances.secret_path(server.instance.name, server.settings)
    at = server.instance
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))

    def add(shard: Shard) -> Catalogue:
        catalogue.add_shard(shard.name, shard.instance, shard.database, shard.namespace)
        return catalogue

    return add


@pytest.fixture
def catalogue(register: Callable[[Shard], Catalogue], shard: Shard) -> Catalogue:
    """A catalogue that holds `shard` and nothing else."""
    return register(shard)


@pytest.fixture(scope="session", autouse=True)
def warm_workers() -> Iterator[None]:
    """Workers are forked from a process in which dbt has parsed something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "PRELOAD", [*workers.PRELOAD, "tests.warm"])
        yield


@pytest.fixture(scope="session")
def parsed_models(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The project's own dbt models, parsed once for the whole run (7 CPU-s): its processes share the work_dir."""
    from orchestration.dbt_worker import DbtProject

    of_process = tmp_path_factory.getbasetemp()
    of_run = of_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_process
    project = DbtProject(TESTS.parent, of_run / "parsed")
    project.parse()
    return project


@pytest.fixture(scope="session")
def warehouse(parsed_models: DbtProject, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The project's own dbt models; `build` runs them on any shard."""
    project = copy.copy(parsed_models)
    project.work_dir = tmp_path_factory.mktemp("dbt")  # the run's processes have shards of the same names
    return project


def take_over(parsed: DbtProject, work_dir: Path) -> None:
    """Let who parses the same project in another `work_dir` begin with what is parsed: dbt looks what differs."""
    (work_dir / "parse").mkdir(parents=True)
    shutil.copy(parsed.work_dir / "parse" / "partial_parse.msgpack", work_dir / "parse")
