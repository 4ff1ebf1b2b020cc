"""`up` makes an installation once and finds it again; `down` stops what is its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharding import instances, postgres
from sharding.errors import LarderError
from sharding.settings import Settings, project_root
from sharding.up import control_dsn, down, open_catalogue, up
from tests.conftest import Server, scratch


@pytest.fixture
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    yield home
    settings = Settings(home=home, control_dsn=None)
    for name in instances.known(settings):
        instances.remove(name, settings)
    shutil.rmtree(home)


def test_up_is_repeatable_and_down_stops_only_its_own(home: Path, server: Server) -> None:
    settings = Settings(home=home, control_dsn=None)
    with pytest.raises(LarderError, match="not running") as caught:
        open_catalogue(settings)
    assert caught.value.next_command == "larder up"

    catalogue = up(settings)
    first = catalogue.shards()
    assert [(shard.name, shard.instance, shard.database) for shard in first] == [
        ("shard_1", "pg_1", "larder_shard_1"),
        ("shard_2", "pg_2", "larder_shard_2"),
    ]
    pids = {name: instances.status(name, settings).pid for name in ("control", "pg_1", "pg_2")}
    catalogue.add_business("cafe", "Café", "shard_2")
    source = catalogue.add_source("cafe", "till", "main", {})
    said: list[str] = []
    assert up(settings, said.append).shards() == first
    assert sorted(said) == sorted(
        f"{name}: running on 127.0.0.1:{instances.status(name, settings).port}" for name in pids
    )
    assert {name: instances.status(name, settings).pid for name in pids} == pids
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in settings.secrets_dir.iterdir())

    assert down(settings) == ["pg_1", "pg_2", "control"]
    assert down(settings) == []
    assert instances.status("test", server.settings).state == "running"
    with pytest.raises(LarderError, match="not running"):
        control_dsn(settings)
    assert up(settings).source("cafe/main") == source


def test_with_a_control_database_elsewhere_nothing_is_started(settings: Settings) -> None:
    catalogue = up(settings)
    assert catalogue.shards() == []
    assert instances.known(settings) == []


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LARDER_HOME", raising=False)
    monkeypatch.delenv("LARDER_BLOCK_STORE", raising=False)
    settings = Settings()
    assert settings.home == project_root() / ".larder"
    assert settings.block_store == f"file://{settings.home}/blocks"
    monkeypatch.setenv("LARDER_HOME", str(tmp_path))
    monkeypatch.setenv("LARDER_BLOCK_STORE", "s3://bucket/blocks")
    assert (Settings().home, Settings().block_store) == (tmp_path, "s3://bucket/blocks")
    assert postgres.recorded_runtime_dir(Settings()) is None
