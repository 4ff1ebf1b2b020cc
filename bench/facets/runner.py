"""The dbt project beside this file, parsed once for each target and run in this process."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from psycopg2.extensions import parse_dsn

from bench.measure import Cost, measured
from orchestration.dbt_call import call_dbt

_HERE = Path(__file__).parent
_MACROS = _HERE.parent.parent / "macros" / "changed_facets"
_PASSWORD = "DBT_ENV_SECRET_BENCH_PASSWORD"  # dbt scrubs variables of this prefix from its logs
TARGETS = ("refresh", "lookback", "facets")  # each has a schema of its name


@dataclass
class Run:
    """One run of dbt: what it cost, and for each model the milliseconds its SQL took and what it said."""

    cost: Cost
    sql_ms: dict[str, float] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)


class Project:
    """A copy of the project with the macros of changed_facets, on one database."""

    def __init__(self, folder: Path, dsn: str, postmaster: int) -> None:
        """Copy and parse. `postmaster` is the pid of the server whose CPU is counted."""
        self._folder, self.postmaster = folder, postmaster
        shutil.copytree(_HERE / "project", folder)
        shutil.copytree(_MACROS, folder / "macros" / "changed_facets")
        at = parse_dsn(dsn)
        os.environ[_PASSWORD] = at["password"]
        base = {
            "type": "postgres", "host": at["host"], "port": int(at["port"]), "user": at["user"],
            "password": f"{{{{ env_var('{_PASSWORD}') }}}}", "dbname": at["dbname"], "threads": 1,
        }  # fmt: skip
        outputs = {target: {**base, "schema": target} for target in TARGETS}
        (folder / "profiles.yml").write_text(yaml.safe_dump({"facets": {"target": "facets", "outputs": outputs}}))
        self._manifests: dict[str, Any] = {}

    def copy_models(self, models: str, into: str, copies: int) -> None:
        """Write the models of a folder again, `copies` times under numbered names, each reading its own copies."""
        source = self._folder / "models" / models
        target = self._folder / "models" / into
        target.mkdir()
        names = [path.stem for path in source.glob("*.sql")]
        described = yaml.safe_load(next(source.glob("*.yml")).read_text())["models"]
        for number in range(2, copies + 2):
            for name in names:
                sql = (source / f"{name}.sql").read_text()
                for other in names:
                    sql = sql.replace(f"ref('{other}')", f"ref('{other}_{number}')")
                (target / f"{name}_{number}.sql").write_text(sql)
            renamed = [{**model, "name": f"{model['name']}_{number}"} for model in described]
            (target / f"_{into}_{number}.yml").write_text(yaml.safe_dump({"models": renamed}))

    def run(self, target: str, *folders: str) -> Run:
        """Run the models of these folders, and measure it. Raises RuntimeError with dbt's words where one failed."""
        if target not in self._manifests:
            self._manifests[target] = self._invoke(target, ["parse"]).result
        done = Run(Cost())

        def listen(event: Any) -> None:
            if event.info.name == "SQLQueryStatus":
                node = event.data.node_info.unique_id
                if node.startswith("model."):
                    name = node.rsplit(".", 1)[-1]
                    done.sql_ms[name] = done.sql_ms.get(name, 0.0) + 1000 * event.data.elapsed

        chosen = [f"path:models/{folder}" for folder in folders]
        with measured(self.postmaster) as done.cost:
            outcome = self._invoke(target, ["run", "--select", *chosen], listen)
        done.messages = {result.node.name: str(result.message) for result in outcome.result.results}
        return done

    def operation(self, target: str, macro: str) -> None:
        """`dbt run-operation`."""
        self._invoke(target, ["run-operation", macro])

    def _invoke(self, target: str, command: Sequence[str], *callbacks: Callable[[Any], None]) -> Any:
        here = Path.cwd()
        said = []

        def listen(event: Any) -> None:
            if event.info.level == "error":
                said.append(str(event.info.msg))

        try:
            outcome = call_dbt(
                ["--quiet", "--no-print", "--log-level", "none", "--log-level-file", "none", "--no-use-colors",
                 "--no-version-check", *command, "--target", target, "--project-dir", str(self._folder),
                 "--profiles-dir", str(self._folder), "--target-path", str(self._folder / "target" / target)],
                self._manifests.get(target),
                [listen, *callbacks],
            )  # fmt: skip
        finally:
            os.chdir(here)  # dbt moves into the project
        if not outcome.success:
            raise RuntimeError("\n".join(said) or f"dbt {' '.join(command)}: {outcome.exception}")
        return outcome
