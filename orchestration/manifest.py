"""dbt's manifest for Dagster's definitions: parsed when the project's files changed, without any database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.mark import code_fingerprint


def load_manifest(project_dir: Path, work_dir: Path) -> Mapping[str, Any]:
    """The manifest of the project as it is on disk.

    Raises:
        subprocess.CalledProcessError: dbt cannot parse the project; its message is on standard error.
    """
    path, mark = work_dir / "parse" / "manifest.json", work_dir / "parse" / "manifest.code"
    code = code_fingerprint(project_dir)
    if not (path.exists() and mark.exists() and mark.read_text() == code):
        # a process of its own: dbt is imported there and not in Dagster's code server
        command = [sys.executable, "-m", "orchestration.dbt_worker", str(project_dir), str(work_dir)]
        subprocess.run(command, check=True, cwd=Path(__file__).resolve().parent.parent)
        mark.write_text(code)
    manifest: Mapping[str, Any] = json.loads(path.read_text())
    return manifest
