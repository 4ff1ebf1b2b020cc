"""A reimport of days that cycles read, load and build at the same time."""

from __future__ import annotations

import threading
from datetime import date, timedelta
from decimal import Decimal

import pytest

from orchestration.cycle import Scope, run_cycle
from orchestration.reimport import Reimport
from tests.faults.record import Figure
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
