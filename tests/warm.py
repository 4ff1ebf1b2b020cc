"""Imported by the server that the tests' workers are forked from: dbt parses a little project there.

What dbt makes of its own classes when it first parses takes a worker 0.6 CPU-seconds, and a run of the tests starts
hundreds of workers; a cycle starts one or two.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from orchestration.dbt_worker import DbtProject

FILES = {
    # dbt's static parser is a library with threads of its own, which a fork has not: workers would wait for them.
    "dbt_project.yml": "name: little\nprofile: larder\nflags: {static_parser: false}\n",
    "models/one.sql": "select id from {{ source('keys', 'source') }}",
    "models/one.yml": """
sources: [{name: keys, tables: [{name: source}]}]
models: [{name: one, columns: [{name: id, data_tests: [not_null]}]}]
""",
}


def warm_up() -> None:
    """Parse twice: the second time dbt takes over what it parsed, as workers do."""
    here, environment = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            path = Path(folder) / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for _ in range(2):
            DbtProject(Path(folder) / "project", Path(folder) / "work").parse()
    os.chdir(here)
    os.environ.clear()
    os.environ.update(environment)


warm_up()
