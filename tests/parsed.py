"""Small dbt projects, parsed once in a process: for each further one dbt takes over what it parsed of the first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from orchestration.mark import code_fingerprint


def write_parsed(write: Callable[[Path], None], project: Path, work_dir: Path) -> None:
    """Write a project, and into `work_dir` what dbt parsed of it. Workers and `load_manifest` begin with that, and look
    themselves whether it still is so."""
    write(project)
    parse = work_dir / "parse"
    parse.mkdir(parents=True, exist_ok=True)
    for name, content in _parsed(write).items():
        (parse / name).write_bytes(content)
    (parse / "manifest.code").write_text(code_fingerprint(project))


@cache
def _parsed(write: Callable[[Path], None]) -> Mapping[str, bytes]:
    from orchestration.dbt_worker import DbtProject  # dbt takes seconds to import

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        project, work_dir = Path(folder) / "project", Path(folder) / "work"
        write(project)
        DbtProject(project, work_dir).parse(write_json=True)
        os.chdir(here)  # dbt goes elsewhere
        return {name: (work_dir / "parse" / name).read_bytes() for name in ("partial_parse.msgpack", "manifest.json")}
