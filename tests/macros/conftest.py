"""A small dbt project around the repository's macros, run in this process against a fresh shard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from orchestration.dbt_call import call_dbt
from sharding.model import Shard
from tests.conftest import Server
from tests.macros.lines import DAY, LINE

ROOT = Path(__file__).parents[2]

PROJECT = {
    "name": "larder",
    "version": "1.0.0",
    "config-version": 2,
    "profile": "larder",
    "on-run-start": ["{{ prepare_changed_facets() }}"],
    "on-run-end": ["{{ note_tests(results) }}", "{{ prune_feeds() }}"],
    "flags": {
        "send_anonymous_usage_stats": False,
        "warn_error_options": {"silence": ["UnsupportedConstraintMaterialization"]},
    },
    "models": {"larder": {"+schema": "marts", "keys": {"+schema": "keys", "+materialized": "key_table"}}},
}

DATABASE = "macros"
"""Of each test's shard: dbt parses everything again where the name of a profile's database is another."""
PARSED = "partial_parse.msgpack"


@dataclass(frozen=True)
class DbtProject:
    """The project's folder and the shard it builds on."""

    folder: Path
    shard: Shard

    def model(self, name: str, sql: str, folder: str = ".", **yaml_of_model: Any) -> None:
        """Write or replace a model, with what its YAML says besides the name."""
        path = self.folder / "models" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.sql").write_text(sql)
        (path / f"{name}.yml").write_text(yaml.safe_dump({"models": [{"name": name, **yaml_of_model}]}))

    def source(self, name: str, *tables: str) -> None:
        """Declare tables of the schema `public` as sources that publish their changes; `watch` makes them do it."""
        watched = [{"name": table, "config": {"meta": {"feed": True}}} for table in tables]
        declared = {"sources": [{"name": name, "schema": "public", "tables": watched}]}
        (self.folder / "models" / f"{name}.yml").write_text(yaml.safe_dump(declared))

    def watch(self) -> None:
        """Let the sources publish what the models need."""
        self.dbt("run-operation", "watch_sources")

    def macro(self, name: str, sql: str) -> None:
        """Write or replace a macro without arguments."""
        (self.folder / "macros" / f"{name}.sql").write_text(f"{{% macro {name}() %}}{sql}{{% endmacro %}}")

    def dbt(self, *arguments: str, target: str = "production") -> Any:
        """Run dbt; returns its result. Raises AssertionError with dbt's words where something failed."""
        outcome = call_dbt(
            [*arguments, "--no-write-json", "--quiet", "--log-level-file", "none", "--no-version-check",
             "--target", target, "--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
        )  # fmt: skip
        failures = [str(r.message) for r in getattr(outcome.result, "results", ()) if r.status in ("error", "fail")]
        assert outcome.success, "\n".join(failures) or str(outcome.exception)
        return outcome.result

    def build(self, *arguments: str, target: str = "production") -> dict[str, str]:
        """`dbt run`; returns the message of each model."""
        results = self.dbt("run", *arguments, target=target).results
        return {r.node.name: r.message for r in results if r.node.resource_type == "model"}

    def test(self, *arguments: str) -> None:
        """`dbt test`; raises AssertionError where one fails."""
        self.dbt("test", *arguments)

    def failure(self, *arguments: str) -> str:
        """`dbt run`, which has to fail; returns what it said."""
        with pytest.raises(AssertionError) as failed:
            self.build(*arguments)
        return str(failed.value)

    def connect(self) -> Any:
        """A connection that commits each statement."""
        connection = psycopg2.connect(self.shard.dsn)
        connection.autocommit = True
        return closing(connection)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL with the shard's `{keys}` … filled in; returns the rows, if any."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(self.shard.render(statement), values or None)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dbt parsed for the test before, of the module. It looks itself what differs; the macros are the same for all
    tests, and most of what it parses."""
    return tmp_path_factory.mktemp("parsed") / PARSED


@pytest.fixture
def make_project(
    make_shard: Callable[..., Shard], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsed: Path
) -> Iterator[Callable[..., DbtProject]]:
    """`make_project(namespace)`: a project on a fresh shard."""
    made: list[Shard] = []

    def make(namespace: str = "") -> DbtProject:
        made.append(make_shard(namespace=namespace))
        server.execute(f"alter database {made[0].database} rename to {DATABASE}")
        shard = replace(made[0], database=DATABASE)
        if parsed.exists():
            (tmp_path / "target").mkdir()
            shutil.copy(parsed, tmp_path / "target")
        monkeypatch.setenv("LARDER_SCHEMA_PREFIX", f"{namespace}_" if namespace else "")
        (tmp_path / "models").mkdir()
        shutil.copytree(ROOT / "macros", tmp_path / "macros", ignore=shutil.ignore_patterns("generated"))
        (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(PROJECT))
        base = {
            "type": "postgres", "host": shard.host, "port": shard.port, "user": shard.username,
            "password": shard.password, "dbname": shard.database, "threads": 2,
        }  # fmt: skip
        outputs = {"production": {**base, "schema": shard.schema("marts")}, "dev": {**base, "schema": "dev_ada"}}
        profiles = {"larder": {"target": "production", "outputs": outputs}}
        (tmp_path / "profiles.yml").write_text(yaml.safe_dump(profiles))
        sources = ROOT / "dbt_project/models/staging/shard/_shard__sources.yml"
        shutil.copy(sources, tmp_path / "models")
        return DbtProject(tmp_path, shard)

    here = Path.cwd()
    yield make
    os.chdir(here)
    if made:
        shutil.copy(tmp_path / "target" / PARSED, parsed)
        server.execute(f"alter database {DATABASE} rename to {made[0].database}")


@pytest.fixture
def project(make_project: Callable[..., DbtProject]) -> DbtProject:
    """A project on a shard without a namespace."""
    return make_project()


@pytest.fixture
def till(project: DbtProject) -> DbtProject:
    """Lines of a till and their sums by site and day, built: two sites, four days, three lines each."""
    project.sql("create table public.line (id int, site int, day date, net numeric)")
    project.sql("create table public.site (site int, region text)")
    project.sql("""
        insert into public.line
        select row_number() over (), site, date '2025-03-01' + day, 10
        from generate_series(1, 2) as site, generate_series(0, 3) as day, generate_series(1, 3);
        insert into public.site values (1, 'north'), (2, 'south');
    """)
    project.source("till", "line", "site")
    project.model("fct_line", LINE)
    project.model("sum_day", DAY)
    project.watch()
    said = project.build()
    assert said["fct_line"] == "24 inserted, 0 deleted, 0 unchanged; first build"
    assert said["sum_day"] == "8 inserted, 0 deleted, 0 unchanged; first build"
    return project
