"""What `larder reproduce --as-test` writes here: records that once failed, masked, and whether they still do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestration import reproduce_test
from sharding.model import Shard


@pytest.fixture
def replay(shard: Shard, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """`replay(page, models=[…])`: load a page's records, build the models with all that they read; what failed."""

    def run(page: Path, models: Sequence[str] = ()) -> list[str]:
        project = request.getfixturevalue("warehouse") if models else None
        return reproduce_test.replay(page, shard, tmp_path / "case", project, models)

    return run
