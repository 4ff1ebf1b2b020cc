"""The made-up vendor and its two businesses, set up once for all tests of a module."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from cli.context import get_context
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from sharding.settings import get_settings
from tests.conftest import Server, scratch
from tests.orchestration.shop import Shop, open_shop, write_project


@contextmanager
def shop_world(server: Server, httpserver: HTTPServer, folder: Path) -> Iterator[Shop]:
    """A shop whose installation is this process's: `get_settings()` and the command line see it."""
    # The server is the session's: what an earlier module left would answer here.
    httpserver.clear()  # type: ignore[no-untyped-call]
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)  # a template of Postgres is made in it, which may run as another user
    databases = [server.copy_of("larder_control")]
    write_project(folder)

    def make_shard(name: str) -> Shard:
        databases.append(server.copy_of("shard"))
        return server.shard(databases[-1], name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LARDER_HOME", str(home))
        patch.setenv("LARDER_CONTROL_DSN", server.dsn(databases[0]))
        patch.setenv("LARDER_INTEGRATIONS_PATH", str(folder / "integrations"))
        patch.setattr("sharding.settings.project_root", lambda: folder / "project")
        # the vendor's models are in the project already: none are to be brought or generated
        patch.setattr("orchestration.project.project_dir", lambda checkout, home: checkout)
        get_settings.cache_clear()
        get_context.cache_clear()
        catalogue = Catalogue(server.dsn(databases[0]), home)
        secret, at = instances.secret_path(server.instance.name, server.settings), server.instance
        catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))

        def register(shard: Shard) -> Catalogue:
            catalogue.add_shard(shard.name, shard.instance, shard.database, shard.namespace)
            return catalogue

        shop = open_shop(folder, folder, httpserver, get_settings(), make_shard, register)
        transform = replace(shop.installation.transform, deadline=480.0)  # that of an installation
        shop.installation = replace(shop.installation, transform=transform)
        yield shop
    get_settings.cache_clear()
    get_context.cache_clear()
    httpserver.clear()
    for database in databases:
        server.drop(database)
    shutil.rmtree(home)
