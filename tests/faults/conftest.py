"""A server that faults may break, and a shop on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Server, running_server
from tests.faults.world import World, open_world


@pytest.fixture(scope="session")
def fragile() -> Iterator[Server]:
    """A Postgres of these tests' own: it may crash."""
    with running_server("fragile") as made:
        yield made


@pytest.fixture(scope="module")
def world(fragile: Server) -> Iterator[World]:
    """A shop that each test of a module goes on with."""
    with open_world(fragile) as made:
        yield made
