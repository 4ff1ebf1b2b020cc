"""All vendors of the sandbox put through the same, once; then everything is loaded at once. The tests look at it.

The table integration × check is printed at the end of a run; docs/conformance.md has it with what each check means
(`python -m tests.conformance.page`).
"""

from __future__ import annotations

import gc
import io
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import urllib3

from ingestion import http
from ingestion.blocks import BlockStore
from ingestion.outcome import LoadResult
from ingestion.pending import load_pending
from ingestion.registry import BUILT_IN, discover
from ingestion.sandbox.data import load
from ingestion.sandbox.server import open_vendor
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.model import Instance, Shard
from tests.aside import was_killed
from tests.conformance import scenario, vendors
from tests.conformance.checks import CHECKS
from tests.conftest import Server, scratch

TIMEOUT = 0.5  # seconds of silence; a vendor that sleeps longer is asked again


@dataclass(frozen=True, repr=False)
class Suite:
    """What came of all vendors, and where it is."""

    played: dict[str, scenario.Played]
    shard: Shard
    catalogue: Catalogue
    folder: Path
    loaded: LoadResult
    log: str

    def rows(self, query: str, *values: Any, control: bool = False) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.catalogue.dsn if control else self.shard.dsn)) as conn, conn.cursor() as cur:
            cur.execute(query, values or None)
            return cur.fetchall()

    def raw(self, vendor: str, part: str) -> scenario.State:
        """What raw has of one part's source: stream → natural key → hash."""
        source_id = self.played[vendor].sources[part].source_id
        state: scenario.State = {}
        for stream in self.played[vendor].stage.spec.streams:
            if self.rows("select to_regclass(%s)", f"raw_{vendor}.{stream.name}_current") != [(None,)]:
                found = self.rows(
                    f"select natural_key, hash::text from raw_{vendor}.{stream.name}_current where source_id = %s",
                    source_id,
                )
                state[stream.name] = {key: text.replace("-", "") for key, text in found}
        return state


def chosen(request: pytest.FixtureRequest) -> list[str]:
    """The vendors that the chosen tests are about."""
    named = (getattr(item, "callspec", None) for item in request.session.items)
    return sorted({spec.params["vendor"] for spec in named if spec and "vendor" in spec.params} & set(vendors.names()))


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest, server: Server) -> Iterator[Suite]:
    """Every vendor's parts played, and all their blocks loaded into one shard."""
    folder = Path(
        tempfile.mkdtemp(prefix="larder-conformance-", dir=scratch())
    )  # blocks are synced: in memory it is quick
    control, database = server.copy_of("larder_control"), server.copy_of("shard")
    catalogue, store = Catalogue(server.dsn(control), folder), BlockStore(f"file://{folder / 'blocks'}")
    at, secret = server.instance, instances.secret_path(server.instance.name, server.settings)
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))
    catalogue.add_shard("shard_1", at.name, database)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    patch = pytest.MonkeyPatch()
    patch.setitem(http._pool.connection_pool_kw, "timeout", urllib3.Timeout(connect=5, read=TIMEOUT))
    patch.setattr(http, "_BACKOFF", 0.01)
    gc.disable()
    trade = load()
    names = [name for name in chosen(request) if vendors.source_file(name).exists()]
    stages = [vendors.open_stage(name, open_vendor(name, trade), scenario.FIRST) for name in names]
    gc.freeze()
    gc.enable()
    try:
        plays = [scenario.Play(stage, catalogue, store, 1001 + n) for n, stage in enumerate(stages)]
        for step, occurrence in scenario.KILLS:
            begun = [(play, play.start_killed(step, occurrence)) for play in plays]
            for play, extract in begun:
                play.done.kills += was_killed(extract.ended())
        with ThreadPoolExecutor(max_workers=4) as pool:
            played = {done.stage.name: done for done in pool.map(scenario.Play.play, plays)}
        shard = server.shard(database)
        sources = [source.source_id for one in played.values() for source in one.sources.values()]
        loaded = load_pending(catalogue.dsn, shard.dsn, shard.schemas, sources, store, discover((BUILT_IN,)))
        yield Suite(played, shard, catalogue, folder, loaded, said.getvalue())
    finally:
        patch.undo()
        logging.getLogger().removeHandler(handler)
        for stage in stages:
            stage.server.shutdown()
            stage.server.server_close()
        server.drop(database)
        server.drop(control)
        shutil.rmtree(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of what was found."""
    marks = {"passed": "✓", "failed": "✗", "error": "✗", "skipped": "–"}
    found: dict[tuple[str, str], str] = {}
    for outcome, mark in marks.items():
        for report in terminalreporter.stats.get(outcome, []):
            name = re.search(r"test_conformance\.py::test_(\w+)\[(\w+)\]$", report.nodeid)
            if name:
                found[name[2], name[1]] = mark
    if not found:
        return
    names = [check.name for check in CHECKS if any((vendor, check.name) in found for vendor, _ in found)]
    terminalreporter.section("conformance")
    width = max(len(vendor) for vendor, _ in found)
    terminalreporter.line(" " * width + "  " + "  ".join(names))
    for vendor in sorted({vendor for vendor, _ in found}):
        cells = [found.get((vendor, name), " ").center(len(name)) for name in names]
        terminalreporter.line(vendor.ljust(width) + "  " + "  ".join(cells))
