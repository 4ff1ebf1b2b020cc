"""From a kept block to the built summaries of a small business: alone, beside a tenant's backlog, beside the dead."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.orders import INTEGRATION, records, write_block
from ingestion import index
from ingestion.registry import get
from ingestion.source import secrets_of
from orchestration.cycle import Installation, Scope, cycle_events
from orchestration.events import StepCost, StepName
from orchestration.transform import ShardBuild
from sharding import instances
from sharding.model import Instance
from sharding.settings import Settings
from sharding.up import down, up

SMALL = 10  # orders of the block that is waited for
BACKLOG_BLOCKS, BACKLOG_ORDERS = 60, 700  # 1.9 MB each: the fresh lane, two passes of it
DEAD = 20  # sources of the vendor that never answers
STEPS: tuple[StepName, ...] = ("load", "build")


@dataclass(frozen=True)
class Case:
    """Seconds on the wall until the small business's summaries stood, and what the whole cycle took; CPU seconds of
    this machine's clients in it. What a wall time exceeds the quiet one by, with CPU to spare, is waiting."""

    name: str
    fresh: float
    cycle: float
    cpu: float


def measure_fairness(home: Path) -> list[Case]:
    """A small business on shard_1; another tenant with a backlog on the same shard, then on shard_2 (an instance of
    its own where there are two); a dead vendor; a dead shard. Raises RuntimeError when the small one's build fails."""
    settings = Settings(home=home)
    try:
        catalogue = up(settings)
        secret = home / "secrets" / "bench.json"
        secret.write_text(json.dumps(dict.fromkeys(secrets_of(get(INTEGRATION)), "token")))
        secret.chmod(0o600)
        ids = {}
        for business, shard in (("small", "shard_1"), ("near", "shard_1"), ("far", "shard_2"), ("dead", "shard_1")):
            catalogue.add_business(business, business.title(), shard)
            source = catalogue.add_source(business, INTEGRATION, "till", {"base_url": "http://127.0.0.1:9"},
                                          "file:secrets/bench.json")  # fmt: skip
            catalogue.set_source_state(source.id, "paused", "bench", "its blocks are written here")
            ids[business] = source.id
        at = Installation.of(settings, catalogue)
        seed = iter(range(1, 1000))

        def keep(business: str, blocks: int, orders: int) -> None:
            with closing(index.connect(catalogue.dsn)) as conn:
                for _ in range(blocks):
                    manifest = write_block(at.store, ids[business], list(records(orders, seed=next(seed))))
                    with conn, conn.cursor() as cur:
                        index.index_block(cur, manifest)

        def case(name: str, scope: Scope | None = None) -> Case:
            keep("small", 1, SMALL)
            return _run(at, name, scope or Scope(steps=STEPS))

        for business in ("small", "far"):
            keep(business, 1, SMALL)
        _run(at, "first", Scope(steps=STEPS))
        quiet = [case("quiet") for _ in range(3)]
        cases = [sorted(quiet, key=lambda one: one.fresh)[1]]
        keep("near", BACKLOG_BLOCKS, BACKLOG_ORDERS)
        cases.append(case(f"another tenant of its shard has {BACKLOG_BLOCKS * BACKLOG_ORDERS:,} orders waiting"))
        keep("far", BACKLOG_BLOCKS, BACKLOG_ORDERS)
        cases.append(case("the same on another shard"))
        with _silent() as port:
            for number in range(DEAD):
                catalogue.add_source("dead", INTEGRATION, f"till_{number}", {"base_url": f"http://127.0.0.1:{port}"},
                                     "file:secrets/bench.json")  # fmt: skip
            at_once = Scope(patience=5.0, within=60.0)
            cases.append(case(f"{DEAD} sources of its shard never answer", at_once))
            for source in catalogue.sources("dead"):
                catalogue.set_source_state(source.id, "paused")
            login = catalogue.instances()[0]
            catalogue.add_instance(Instance("gone", "external", "127.0.0.1", port, login.username, login.secret_ref))
            catalogue.add_shard("shard_9", "gone", "gone")
            cases.append(case("another shard never answers"))
        return cases
    finally:
        down(settings)
        for name in instances.known(settings):
            instances.remove(name, settings)


def _run(at: Installation, name: str, scope: Scope) -> Case:
    started, fresh, cpu = time.monotonic(), 0.0, 0.0
    for event in cycle_events(at, scope):
        if isinstance(event, ShardBuild) and event.shard == "shard_1" and not fresh:
            if event.state == "failed" and event.result is None:
                raise RuntimeError(f"{name}: {event.reason}")
            fresh = time.monotonic() - started
        if isinstance(event, StepCost):
            cpu += event.cpu_seconds
    return Case(name, fresh, time.monotonic() - started, cpu)


@contextmanager
def _silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        yield server.getsockname()[1]


def rows(cases: Sequence[Case]) -> list[dict[str, object]]:
    """As a table."""
    return [
        {
            "beside it": one.name,
            "block → summaries s": round(one.fresh, 1),
            "÷ quiet": round(one.fresh / cases[0].fresh, 2),
            "whole cycle s": round(one.cycle, 1),
            "client CPU s": round(one.cpu, 1),
        }
        for one in cases
    ]
