"""A copy of the test project in a folder of its own, run by dbt in this process with a manifest parsed once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import yaml

from orchestration.dbt_call import call_dbt

HERE = Path(__file__).parent
MACROS = HERE.parents[1] / "macros" / "changed_facets"
DATABASE = SCHEMA = PROJECT = "facets"
QUIET = ("--quiet", "--no-print", "--log-level", "none", "--log-level-file", "none", "--no-use-colors",
         "--no-send-anonymous-usage-stats", "--no-version-check", "--no-write-json")  # fmt: skip


class DbtFailed(AssertionError):
    """dbt did not do what it was asked; says what it said."""


@dataclass
class Project:
    """The test project in `folder`, on the server of the DSN; the macros may be changed before the first command."""

    folder: Path
    server_dsn: str
    _manifest: Any = field(default=None, repr=False)

    @classmethod
    def copied(cls, folder: Path, server_dsn: str) -> Project:
        """Copy the project and the one folder of macros it needs, and write a profile."""
        shutil.copytree(HERE / "project", folder, dirs_exist_ok=True)
        shutil.copytree(MACROS, folder / "macros" / MACROS.name)
        at = urlsplit(server_dsn)
        output = {
            "type": "postgres", "host": at.hostname, "port": at.port, "user": at.username, "password": at.password,
            "dbname": DATABASE, "schema": SCHEMA, "threads": 1,
        }  # fmt: skip
        profile = {"facets": {"target": "production", "outputs": {"production": output}}}
        (folder / "profiles.yml").write_text(yaml.safe_dump(profile))
        return cls(folder, server_dsn)

    @property
    def dsn(self) -> str:
        """DSN of the project's database."""
        return urlsplit(self.server_dsn)._replace(path=f"/{DATABASE}").geturl()

    def fresh_database(self) -> None:
        """Drop the project's database, if there is one, and create it empty; the parsed project stays valid."""
        with closing(psycopg2.connect(self.server_dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"drop database if exists {DATABASE} with (force)")
                cursor.execute(f"create database {DATABASE} strategy file_copy")

    def replace_in_macros(self, file: str, old: str, new: str, times: int = 1) -> None:
        """Change the copied macros. Raises AssertionError unless `old` is there exactly `times` times."""
        assert self._manifest is None, "the macros are parsed already"
        path = self.folder / "macros" / MACROS.name / file
        text = path.read_text()
        assert text.count(old) == times, f"{text.count(old)} times in {file}, not {times}: {old!r}"
        path.write_text(text.replace(old, new))

    def dbt(self, *arguments: str) -> list[Any]:
        """Run a command of dbt; returns the results of its nodes. Raises DbtFailed."""
        if self._manifest is None and arguments[0] != "parse":
            self._manifest = self._invoke("parse").result
        return list(getattr(self._invoke(*arguments).result, "results", ()))

    def compiled(self) -> dict[str, str]:
        """Each facet model's plain SELECT, from target/compiled, where no materialization has a hand in it."""
        folder = self.folder / "target" / "compiled" / PROJECT
        nodes = _facet_models(self.dbt("compile"))
        return {node.name: (folder / node.original_file_path).read_text() for node, _ in nodes}

    def run(self, *arguments: str) -> dict[str, str]:
        """`dbt run`; returns the message of each facet model."""
        return {node.name: message for node, message in _facet_models(self.dbt("run", *arguments))}

    def _invoke(self, *arguments: str) -> Any:
        places = ("--project-dir", str(self.folder), "--profiles-dir", str(self.folder), "--log-path", str(self.folder))
        errors: list[str] = []
        with _same_folder():
            tell = [lambda event: _keep_error(event, errors)]
            outcome = call_dbt([*QUIET, *arguments, *places], self._manifest, tell)
        if not outcome.success:
            raise DbtFailed("\n".join([" ".join(arguments), *errors, str(outcome.exception or "")]))
        return outcome


def _facet_models(results: list[Any]) -> list[tuple[Any, str]]:
    """Nodes and messages without those of views and hooks."""
    nodes = [(result.node, str(result.message)) for result in results]
    return [(n, said) for n, said in nodes if n.resource_type == "model" and n.config.materialized != "view"]


def _keep_error(event: Any, errors: list[str]) -> None:
    if event.info.level == "error":
        errors.append(event.info.msg)


@contextmanager
def _same_folder() -> Iterator[None]:
    """dbt changes into the project's folder and stays there."""
    here = Path.cwd()
    try:
        yield
    finally:
        os.chdir(here)
