"""The test project on the test run's Postgres."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.facets.driver import Project


@pytest.fixture(scope="module")
def facets_project(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The test project as it is, parsed once for a file of tests."""
    return Project.copied(tmp_path_factory.mktemp("facets"), server.dsn("postgres"))


@pytest.fixture
def mutant(server: Any, tmp_path: Path) -> Callable[..., Project]:
    """`mutant((file, old, new), …)`: the test project with texts of its copy of the macros replaced."""

    def make(*replacements: tuple[str, str, str]) -> Project:
        project = Project.copied(tmp_path, server.dsn("postgres"))
        for file, old, new in replacements:
            project.replace_in_macros(file, old, new)
        return project

    return make
