"""Extracts, loads and reimports of one source at the same time."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal

import pytest
from werkzeug import Request, Response

from ingestion import index
from ingestion.load import load_blocks
from ingestion.outcome import LoadResult
from orchestration.cycle import Scope, run_cycle
from orchestration.reimport import Reimport
from sharding.model import LOADER
from tests.faults.record import Figure
from tests.faults.test_postgres import healed
from tests.faults.test_stores import extract
from tests.faults.world import World

ROUNDS = 3


@pytest.mark.faults
@pytest.mark.fault(11)
def test_a_reimport_during_cycles(world: World, figure: Figure) -> None:
    """Old amounts change at the vendor without a word, so that only the reimport finds them, while others sell on."""
    at, day = world.shop.installation, date.fromisoformat(world.day)
    scope = Scope(shards=frozenset({"shard_1"}), force=True)
    world.quiet()
    stop, failures = threading.Event(), list[object]()
    reimports = cycles = 0

    def cycle() -> None:
        nonlocal cycles
        while not stop.is_set():
            world.trade(7000 + cycles)
            failures.extend(run_cycle(at, scope).failures)
            cycles += 1

    reimport = Reimport(at.catalogue, at.store, world.shop.clock, at.catalogue.source("cafe/till"), at.catalogue.home)
    thread = threading.Thread(target=cycle)
    thread.start()
    try:
        while thread.is_alive() and (reimports < ROUNDS or cycles < ROUNDS):
            quietly_changed = next(iter(world.shop.sales["cafe"]))
            more = Decimal(str(quietly_changed["total"])) + Decimal("0.10")
            quietly_changed["total"] = str(more)
            world.prices["cafe"][quietly_changed["id"]] = more
            with reimport.run(reimport.days(day, day), None, 5.0) as running:
                running.adopt()
            reimports += 1
    finally:
        stop.set()
        thread.join()
    assert failures == [] and cycles >= ROUNDS
    world.shop.now += timedelta(minutes=10)
    assert not run_cycle(at, scope).failures
    world.quiet()
    world.check()
    figure("reimports", reimports)
    figure("cycles meanwhile", cycles)


@pytest.mark.faults
@pytest.mark.fault(10)
def test_two_extracts_of_a_stream_at_once(world: World, figure: Figure) -> None:
    """While the vendor answers the first, the second finds the stream busy; the first goes on as if it were alone."""
    world.trade(7500)
    asked, answers = threading.Event(), threading.Event()
    codes: list[int] = []

    def slowly(request: Request) -> Response:
        asked.set()
        answers.wait()
        return world.shop.answer(request)

    world.vendor.clear()
    world.vendor.expect_request("/sales").respond_with_handler(slowly)
    world.patience = 60.0
    first = threading.Thread(target=lambda: codes.append(world.aside(world.cycle)))
    first.start()
    try:
        assert asked.wait(60)
        assert extract(world) == 1
        assert "the stream is busy" in world.said, world.said
    finally:
        answers.set()
        first.join()
        world.patience = 5.0
        world.vendor.clear()
        world.vendor.expect_request("/sales").respond_with_handler(world.shop.answer)
    assert codes == [0], world.said
    world.quiet()
    world.check()
    figure("extracts refused", 1)


@pytest.mark.faults
@pytest.mark.fault(10)
def test_loads_of_the_same_blocks_at_once(world: World, figure: Figure) -> None:
    """Each block is published by one of them; the models see each record once."""
    for number in range(3):
        world.shop.now += timedelta(minutes=6)
        world.trade(7600 + number)
        assert extract(world) == 0, world.said
    at = world.shop.installation
    with closing(index.connect(world.catalogue.dsn)) as control:
        pending = index.pending(control, [world.catalogue.source("cafe/till").id])
    assert len(pending) == 3
    shard, results, at_once = world.shard("cafe").as_role(LOADER), list[LoadResult](), threading.Barrier(3)

    def load() -> None:
        at_once.wait()
        results.append(load_blocks(shard.dsn, shard.schemas, pending, at.store, {"acme": world.spec()}))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.failures for result in results] == [[], [], []]
    assert sum(len(result.blocks) for result in results) == len(pending)
    figure("loads side by side", len(results))
    figure("blocks", len(pending))
    figure("to heal", healed(world), "s", "max")
