"""The inside of a transform worker: one process, one parsed dbt project, one shard at a time.

dbt keeps its flags, adapters and invocation context in module globals, so it cannot run twice at once in a process;
several shards at a time are several workers. Only workers import this module: it costs 3 CPU-seconds.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from orchestration.dbt_call import call_dbt
from orchestration.python_model import PYTHON_SOURCE, PythonModel, python_models, run_model
from orchestration.results import BuildResult, Job, NodeResult, Target, rows_changed
from orchestration.retarget import parsed_names, retarget

PASSWORD = "DBT_ENV_SECRET_LARDER_PASSWORD"  # dbt scrubs variables of this prefix from its logs
# Parsed for no shard in particular; a fixed profile keeps dbt's partial parse valid, whatever shards there are.
PARSE_TARGET = Target("parse", "127.0.0.1", 1, "parse", "", "larder")

UNSTALE = "config.materialized:shard_view"  # views follow by themselves
# `changed`: data tests look at the facets that changed since they passed (macros/changed_facets/tests.sql)
TESTED = "CHANGED_FACETS_TESTS"

# A worker that is killed at its deadline leaves no query behind that runs for hours and holds the model's lock.
ORPHANS_END = "-c client_connection_check_interval=5s"

Progress = Callable[[str, str, str], None]  # shard, node, status


class DbtProject:
    """A dbt project parsed once; `build` runs it on any shard."""

    def __init__(self, project_dir: Path, work_dir: Path, threads: int = 1) -> None:
        self.project_dir, self.work_dir, self.threads = project_dir, work_dir, threads
        self.profile = str(yaml.safe_load((project_dir / "dbt_project.yml").read_text())["profile"])
        self.parse_seconds = 0.0
        self._manifest: Any = None

    def parse(self, write_json: bool = False) -> None:
        """Parse, or take over what another process parsed (dbt's partial parse: 0.1 s). Raises what dbt raised.

        `write_json`: dbt's manifest.json too, which takes longer than the rest and is for Dagster alone.
        """
        started = time.process_time()
        target_path = self.work_dir / "parse"
        target_path.mkdir(parents=True, exist_ok=True)
        with (target_path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            written = "--write-json" if write_json else "--no-write-json"
            outcome = self._invoke(PARSE_TARGET, ["parse", written, "--target-path", str(target_path)])
        if outcome.exception is not None:
            raise outcome.exception
        self._manifest = outcome.result
        self._names = parsed_names(self._manifest)
        self.parse_seconds = time.process_time() - started

    @property
    def manifest(self) -> Any:
        """dbt's own manifest, named for the shard built last; None before the parse."""
        return self._manifest

    def build(self, job: Job, progress: Progress | None = None) -> BuildResult:
        """Run the job on its shard. Never raises for what the shard or a model does wrong: the result says it."""
        shard, wall, cpu = job.target.name, time.monotonic(), time.process_time()
        parse_seconds = 0.0
        if self._manifest is None:
            self.parse()
            parse_seconds = self.parse_seconds
        retarget(self._manifest, self._names, job.target.database, job.target.schema)
        nodes: list[NodeResult] = []
        error = None
        for phase in self._phases(job, nodes):
            if isinstance(phase, PythonModel):
                nodes.append(run_model(phase, job.target, self._manifest, nodes))
            else:
                more, error = self._dbt(job.target, phase, progress)
                nodes += more
            if error is not None:
                break
        spent = time.monotonic() - wall, time.process_time() - cpu
        return BuildResult(shard, tuple(nodes), error, *spent, round(parse_seconds, 3))

    def _phases(self, job: Job, done: Sequence[NodeResult]) -> Iterator[PythonModel | list[str]]:
        """What to run, one after the other; `done` grows meanwhile."""
        models = python_models()
        if job.select or job.exclude or job.python:
            yield from (models[name] for name in job.python)
            if job.select or job.exclude:
                yield _choice("build", job, job.select, job.exclude)
            return
        declared = sorted(s.name for s in self._manifest.sources.values() if s.source_name == PYTHON_SOURCE)
        downstream = f"source:{PYTHON_SOURCE}+"
        if job.stale is None:
            yield _choice("run", job, (), (downstream,) if declared else ())
        elif job.stale:
            yield _choice(
                "run", job, [f"{model}+" for model in job.stale], (UNSTALE, *([downstream] if declared else []))
            )
        if declared and job.new_day:
            yield from (models[name] for name in declared)
            yield _choice("run", job, (downstream,), ())
        if job.tests:
            yield from self._tests(job, done)

    def _tests(self, job: Job, done: Sequence[NodeResult]) -> Iterator[list[str]]:
        """Data tests run after all models and stop none of them: one tenant's bad record must not keep the others'
        numbers back. In a cycle those of models that changed, on the facets that changed."""
        if job.stale is None or job.whole_tests:
            yield _choice("test", job, (), ())
            return
        changed = [*{*job.untested, *(n.name for n in done if n.kind == "model" and n.changed)}]
        if changed:
            os.environ[TESTED] = "changed"
            try:
                yield _choice("test", job, changed, ())
            finally:
                del os.environ[TESTED]

    def compiled(self, target: Target, select: str) -> tuple[dict[str, tuple[str, str]], str | None]:
        """Model → (relation, its plain SELECT) on a shard, of models that dbt's selector names; or what went wrong."""
        if self._manifest is None:
            self.parse()
        retarget(self._manifest, self._names, target.database, target.schema)
        place = str(self.work_dir / "compiled" / target.name)
        outcome = self._invoke(target, ["compile", "--select", select, "--target-path", place, "--no-write-json"])
        if outcome.exception is not None:
            return {}, str(outcome.exception).strip()
        models = [r.node for r in outcome.result.results if r.node.resource_type == "model"]
        return {n.name: (n.relation_name, n.compiled_code) for n in models}, None

    def _dbt(self, target: Target, choice: list[str], progress: Progress | None) -> tuple[list[NodeResult], str | None]:
        command = [*choice, "--target-path", str(self.work_dir / "shards" / target.name), "--no-write-json"]
        outcome = self._invoke(target, command, progress)
        error = str(outcome.exception).strip() if outcome.exception is not None else None
        return [_node(r) for r in getattr(outcome.result, "results", None) or ()], error

    def _invoke(self, target: Target, command: Sequence[str], progress: Progress | None = None) -> Any:
        os.environ[PASSWORD] = target.password
        os.environ["LARDER_SCHEMA_PREFIX"] = target.schema(
            ""
        )  # names that macros make at run time (macros/schemas.sql)
        os.environ["PGOPTIONS"] = ORPHANS_END
        callbacks = [_listener(target.name, progress)] if progress else []
        common = ["--quiet", "--no-print", "--log-level", "none", "--log-level-file", "none", "--no-use-colors",
                  "--no-send-anonymous-usage-stats", "--no-version-check"]  # fmt: skip
        places = ["--project-dir", str(self.project_dir), "--profiles-dir", str(self._profiles(target)),
                  "--target", target.name, "--log-path", str(self.work_dir / "logs")]  # fmt: skip
        return call_dbt([*common, *command, *places], self._manifest, callbacks)

    def _profiles(self, target: Target) -> Path:
        """A folder with a profile of this one target; the password stays in the environment."""
        folder = self.work_dir / "profiles" / target.name
        folder.mkdir(parents=True, exist_ok=True)
        output = {
            "type": "postgres", "host": target.host, "port": target.port, "user": target.username,
            "password": f"{{{{ env_var('{PASSWORD}') }}}}", "dbname": target.database,
            "schema": target.schema("marts"), "threads": self.threads, "connect_timeout": 10,
        }  # fmt: skip
        text = yaml.safe_dump({self.profile: {"target": target.name, "outputs": {target.name: output}}})
        path = folder / "profiles.yml"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return folder


def _choice(command: str, job: Job, select: Sequence[str], exclude: Sequence[str]) -> list[str]:
    chosen = [*(["--select", *select] if select else []), *(["--exclude", *exclude] if exclude else [])]
    if command == "test":
        return ["test", *chosen, "--exclude-resource-type", "unit_test"]
    unwanted = (
        [*([] if job.tests else ["test"]), *([] if job.unit_tests else ["unit_test"])] if command == "build" else []
    )
    without = [word for kind in unwanted for word in ("--exclude-resource-type", kind)]
    return [command, *chosen, *without, *(["--full-refresh"] if job.full_refresh else [])]


def _node(result: Any) -> NodeResult:
    status, message = str(result.status), result.message
    good = status == "success"
    inserted, deleted = rows_changed(result.adapter_response or {}, message) if good else (None, None)
    return NodeResult(
        unique_id=result.node.unique_id,
        kind=str(result.node.resource_type),
        status=status,
        seconds=round(result.execution_time, 4),
        inserted=inserted,
        deleted=deleted,
        failures=result.failures,
        message=message,
        materialized=getattr(result.node.config, "materialized", None),
    )


def _listener(shard: str, progress: Progress) -> Callable[[Any], None]:
    def listen(event: Any) -> None:
        if event.info.name == "NodeFinished":
            info = event.data.node_info
            progress(shard, info.unique_id, info.node_status)

    return listen


if __name__ == "__main__":
    DbtProject(Path(sys.argv[1]), Path(sys.argv[2])).parse(write_json=True)
