"""Freshness of a business while another one on its shard has weeks read again, each record of which has changed."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg2

from bench.orders import INTEGRATION
from bench.way import installation
from ingestion.sandbox.clock import SandboxClock
from orchestration.cycle import Installation, Scope, run_cycle

_SINCE = {"bench": "2024-03-16", "small": "2024-03-30"}  # Saturdays: no trade is cut in two at midnight UTC
_ROUNDS = 5
_STEP = timedelta(minutes=10)


@dataclass(frozen=True)
class Freshness:
    """Seconds from the vendor's change to the mart, without a reimport beside it and with one; and what that was."""

    alone: tuple[float, ...]
    beside: tuple[float, ...]
    records: int
    seconds: float


def measure_reimport(home: Path) -> Freshness:
    """Two businesses with the same till's trade on one shard; `bench` is read again while `small` trades on.

    Raises RuntimeError when a step failed.
    """
    with installation(home) as (at, clock):
        catalogue = at.catalogue
        clock.advance(timedelta(hours=6))  # to a morning with trade
        [till] = catalogue.sources(business="bench")
        catalogue.add_business("small", "Small", till.shard)
        config = dict(till.config) | {"since": _SINCE["small"]}
        catalogue.add_source("small", INTEGRATION, "till", config, till.secret_ref)
        with catalogue.connect() as conn, conn.cursor() as cur:
            cur.execute(
                "update control.sources set config = config || %s where source_id = %s",
                (json.dumps({"since": _SINCE["bench"]}), till.id),
            )
        report = run_cycle(at)
        # Not its data tests: a history that begins in the middle has refunds of payments that it does not have.
        failures = [event.failure for event in report.extracted] + [event.failure for event in report.loaded]
        for failure in filter(None, failures):
            raise RuntimeError(failure.cause)
        alone = tuple(_rounds(at, clock, _ROUNDS))
        records = _disturb(at, till.id)
        started = time.monotonic()
        until = (clock.now() + timedelta(days=1)).date().isoformat()
        other = subprocess.Popen(
            [
                *[sys.executable, "-m", "cli.main", "reimport", "--business", "bench", "--source", "till"],
                *["--from", _SINCE["bench"], "--to", until, "--stream", "orders", "--yes", "--json"],
            ],
            env=os.environ | {"LARDER_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        try:
            beside = tuple(_rounds(at, clock, 1000, lambda: other.poll() is None))
            if other.wait():
                raise RuntimeError(f"the reimport ended with {other.returncode}")
        finally:
            other.kill()
        return Freshness(alone, beside, records, time.monotonic() - started)


def _rounds(at: Installation, clock: SandboxClock, most: int, goes_on: object = None) -> Iterator[float]:
    """Let the vendor trade, and wait for the small business's mart to have it, cycle by cycle."""
    for _ in range(most):
        if callable(goes_on) and not goes_on():
            return
        clock.advance(_STEP)
        before = _seen(at)
        started = time.monotonic()
        while True:
            report = run_cycle(at, Scope(businesses=frozenset({"small"})))
            if not report.extracted or _seen(at) != before:
                break
        if report.extracted:
            yield time.monotonic() - started


def _seen(at: Installation) -> tuple[object, ...]:
    """What the small business's facts say now."""
    business = at.catalogue.business("small")
    shard = at.catalogue.shard(business.shard)
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            f'select count(*), sum(total_collected) from "{shard.schemas["marts"]}".fct_sale as sale'
            f' where "{shard.schemas["keys"]}".business_of(sale_id) = %s',
            (business.id,),
        )
        return tuple(cur.fetchone() or ())


def _disturb(at: Installation, source_id: int) -> int:
    """Let raw hold something else than what the vendor says, of every order; how many."""
    shard = at.catalogue.shard("shard_1")
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            f'update "{shard.schemas["raw"]}".head set hash = gen_random_uuid()'
            " where source_id = %s and stream = 'orders'",
            (source_id,),
        )
        return cur.rowcount


def rows(found: Freshness) -> list[dict[str, object]]:
    """The figures as a table."""
    return [
        {"what": f"vendor's change → mart, {what}: s", "median": round(statistics.median(times), 2),
         "longest": round(max(times), 2), "rounds": len(times)}
        for what, times in (("nothing beside it", found.alone), ("beside a reimport", found.beside)) if times
    ]  # fmt: skip
