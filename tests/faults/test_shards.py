"""A shard whose server refuses, and one that is behind its migrations: alone, and nothing is lost."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import pytest

from orchestration.cycle import run_cycle
from sharding.model import Instance
from tests.faults.record import Figure
from tests.faults.test_workers import both_trade, healed, states
from tests.faults.world import World
from tests.orchestration.test_half_migrated import NEWEST


@contextmanager
def refusing(world: World) -> Iterator[None]:
    """The first shard's server is at a port where nobody listens."""
    right = world.shard("cafe").instance
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        at = Instance("away", "external", "127.0.0.1", unused.getsockname()[1], "larder", secret(world))
        world.catalogue.add_instance(at)
        moved(world, "away")
        try:
            yield
        finally:
            moved(world, right)


@contextmanager
def behind(world: World) -> Iterator[None]:
    """The first shard lacks the newest migration."""
    take = f"delete from {{keys}}.schema_history where revision = '{NEWEST}' returning sha256"
    [(sha256,)] = world.rows("cafe", take)
    try:
        yield
    finally:
        give = f"insert into {{keys}}.schema_history (revision, sha256) values ('{NEWEST}', '{sha256}') returning 1"
        world.rows("cafe", give)


def secret(world: World) -> str:
    return next(i.secret_ref for i in world.catalogue.instances() if i.name == world.shard("cafe").instance)


def moved(world: World, instance: str) -> None:
    with world.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.shards set instance = %s where shard = 'shard_1'", (instance,))


CASES = {
    "refuses": (6, refusing, "refused"),
    "is behind": (29, behind, f"this code needs {NEWEST}"),
}


@pytest.mark.faults
@pytest.mark.parametrize(
    ("how", "why"),
    [pytest.param(how, why, marks=pytest.mark.fault(row), id=name) for name, (row, how, why) in CASES.items()],
)
def test_a_shard_that_cannot_be_built_waits_alone(
    world: World, how: Callable[[World], AbstractContextManager[None]], why: str, figure: Figure
) -> None:
    both_trade(world, 5800 + len(why))
    with how(world):
        found = states(run_cycle(world.shop.installation))
    assert found["shard_1"][0] == "failed" and why in found["shard_1"][1], found
    assert found["shard_2"][0] == "built", found
    world.check("diner")
    world.shop.now += timedelta(minutes=11)
    figure("to heal", healed(world), "s", "max")
    figure("shards left out", 1)
