"""profiles.yml: the targets of the shards, written only for the project whose state it is."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml

from sharding.dbt_profiles import FIRST_LINE, profiles, remove_profiles, write_profiles
from sharding.model import TRANSFORMER, Shard

SHARDS = [
    Shard("shard_1", "pg_1", "larder_shard_1", "", "127.0.0.1", 5401, "larder", "p:w'1"),
    Shard("big", "pg_2", "big", "acme", "127.0.0.1", 5402, "larder", "two"),
]


def test_a_target_for_each_shard_and_a_development_schema() -> None:
    made = profiles(SHARDS, "Ada.Lovelace@HOME")["larder"]
    assert made["target"] == "dev"
    assert {name: output["schema"] for name, output in made["outputs"].items()} == {
        "shard_1": "marts", "big": "acme_marts", "dev": "dev_ada_lovelace_home",
    }  # fmt: skip
    assert made["outputs"]["dev"]["dbname"] == "larder_shard_1"


def test_written_for_the_owner_only_and_readable_by_yaml(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").touch()
    path = write_profiles(SHARDS, tmp_path / ".larder")
    assert path == tmp_path / "profiles.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (
        yaml.safe_load(path.read_text())["larder"]["outputs"]["shard_1"]["password"]
        == SHARDS[0].as_role(TRANSFORMER).password
    )


def test_a_home_outside_a_project_has_it_inside(tmp_path: Path) -> None:
    assert write_profiles(SHARDS, tmp_path) == tmp_path / "profiles.yml"


def test_a_persons_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").touch()
    assert write_profiles([], tmp_path / ".larder") is None
    (tmp_path / "profiles.yml").write_text("larder: {}\n")
    assert write_profiles(SHARDS, tmp_path / ".larder") is None
    (tmp_path / "profiles.yml").write_text(FIRST_LINE)
    assert write_profiles(SHARDS, tmp_path / ".larder") is not None


def test_only_what_was_generated_is_removed(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").touch()
    path = write_profiles(SHARDS, tmp_path / ".larder")
    assert path is not None and remove_profiles(tmp_path / ".larder") and not path.exists()
    path.write_text("larder: {}\n")
    assert not remove_profiles(tmp_path / ".larder") and path.exists()
