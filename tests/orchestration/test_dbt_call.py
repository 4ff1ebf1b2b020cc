"""dbt called again and again by one process."""

from __future__ import annotations

from pathlib import Path

import yaml
from dbt.adapters.base import impl

from orchestration.dbt_call import call_dbt


def test_the_hundredth_call_costs_what_the_first_one_did(tmp_path: Path) -> None:
    output = {
        "type": "postgres",
        "host": "127.0.0.1",
        "port": 1,
        "user": "",
        "password": "",
        "dbname": "",
        "schema": "",
    }
    profile = {"nobody": {"target": "none", "outputs": {"none": output}}}
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump(profile))
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump({"name": "nothing", "profile": "nobody"}))
    places = ["--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path), "--log-path", str(tmp_path)]
    known = []
    for _ in range(4):
        assert call_dbt(["parse", "--quiet", "--no-send-anonymous-usage-stats", *places]).success
        known.append(len(impl.DEFAULT_BASE_BEHAVIOR_FLAGS))
    assert known[1] == known[2] == known[3], "dbt looks through the call stack once for each"
