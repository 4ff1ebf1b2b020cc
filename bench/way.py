"""From the vendor's change to the mart, step by step, on an installation of the benchmark's own; extraction rate."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.orders import INTEGRATION
from ingestion.registry import get
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.vendors.square.vendor import TOKEN
from ingestion.source import secrets_of
from orchestration.cycle import Installation, Scope, run_cycle
from orchestration.events import CycleReport
from sharding import instances
from sharding.settings import Settings
from sharding.up import down, up


@dataclass(frozen=True)
class Step:
    """One step of a cycle: seconds, CPU of the clients, and how much it handled."""

    name: str
    wall: float
    cpu: float
    handled: int


@dataclass(frozen=True)
class Cycles:
    """A first cycle, and one with ten minutes of the vendor's trade; the orders were extracted before, for the rate."""

    first: tuple[Step, ...]
    later: tuple[Step, ...]
    orders_per_cpu_second: float
    orders_per_second: float


@contextmanager
def installation(home: Path) -> Iterator[tuple[Installation, SandboxClock]]:
    """Databases, sandbox vendors and one business with one till, in a home of their own."""
    settings = Settings(home=home)
    try:
        catalogue = up(settings)
        served = process.up(home)
        secret = home / "secrets" / "bench.json"
        secret.write_text(json.dumps(dict.fromkeys(secrets_of(get(INTEGRATION)), TOKEN)))
        secret.chmod(0o600)
        catalogue.add_business("bench", "Bench", "shard_1")
        config = {"base_url": served.urls[INTEGRATION], "since": "2000-01-01"}
        catalogue.add_source("bench", INTEGRATION, "till", config, "file:secrets/bench.json")
        yield Installation.of(settings, catalogue), SandboxClock(home)
    finally:
        process.down(home)
        down(settings)
        for name in instances.known(settings):
            instances.remove(name, settings)


def measure_way(home: Path) -> Cycles:
    """Run a first cycle, then one every ten minutes of the vendor's clock until one finds trade.

    Raises RuntimeError when a step of a cycle failed.
    """
    with installation(home) as (at, clock):
        _checked(run_cycle(at, _extract_only("locations")))  # the till's sites, by which orders are asked for
        orders = _checked(run_cycle(at, _extract_only("orders")))
        first = _checked(run_cycle(at))
        later = None
        while later is None or not later.loaded:  # through the night
            clock.advance(timedelta(minutes=10))
            later = _checked(run_cycle(at))
    [extract] = _steps(orders)
    return Cycles(_steps(first), _steps(later), extract.handled / extract.cpu, extract.handled / extract.wall)


def _extract_only(stream: str) -> Scope:
    return Scope(steps=("extract",), streams=frozenset({(INTEGRATION, stream)}))


def _checked(report: CycleReport) -> CycleReport:
    for who, failure in report.failures:
        raise RuntimeError(f"{who}: {failure.cause}; next: {failure.next_command}")
    return report


def _steps(report: CycleReport) -> tuple[Step, ...]:
    handled = {
        "extract": sum(event.records for event in report.extracted),
        "load": sum(event.records for event in report.loaded),
        "build": sum(build.state == "built" for build in report.builds),
    }
    return tuple(Step(cost.step, cost.wall_seconds, cost.cpu_seconds, handled[cost.step]) for cost in report.costs)
