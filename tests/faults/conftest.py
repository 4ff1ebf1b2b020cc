"""A server that faults may break, and a shop on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg2
import pytest

from tests.conftest import Server, running_server
from tests.faults.world import World, inside, open_world


@pytest.fixture(scope="session")
def fragile() -> Iterator[Server]:
    """A Postgres of these tests' own: it may crash."""
    with running_server("fragile") as made:
        yield made


class Worlds:
    """One shop that all tests go on with, and a new one after a test that left its books wrong."""

    def __init__(self, server: Server) -> None:
        self._server, self._stack = server, ExitStack()
        self._world: World | None = None

    @contextmanager
    def good(self) -> Iterator[World]:
        """The shop, with its books right, inside its settings."""
        if self._world is not None and not self._is_right(self._world):
            self.close()
        if self._world is None:
            self._world = self._stack.enter_context(open_world(self._server))
        with inside(self._world.folder, self._world.catalogue.dsn):
            yield self._world

    def close(self) -> None:
        """Give up the shop that is open."""
        self._world = None
        self._stack.close()

    @staticmethod
    def _is_right(world: World) -> bool:
        try:
            with inside(world.folder, world.catalogue.dsn):
                for business in world.prices:
                    world.check(business)
        except (AssertionError, psycopg2.Error):
            return False
        return True


@pytest.fixture(scope="session")
def worlds(fragile: Server) -> Iterator[Worlds]:
    """Holds the shop between tests."""
    made = Worlds(fragile)
    yield made
    made.close()


@pytest.fixture
def world(worlds: Worlds) -> Iterator[World]:
    """A shop that tests go on with, one after the other."""
    with worlds.good() as made:
        yield made
