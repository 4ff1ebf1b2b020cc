"""The shard's server crashes, is full, takes no connections, or finds a deadlock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest

from ingestion.gate import _PUBLISH_LOCK
from sharding import instances
from sharding.model import LOADER
from tests.conftest import UNSAFE_BUT_QUICK, Server
from tests.faults.disk import small_tablespace
from tests.faults.record import Figure
from tests.faults.world import World
from tests.sharding.moving.faults import crash

connect = psycopg2.connect  # as it is before a forked process watches it


def healed(world: World) -> float:
    """The next cycle does what is left; seconds that it took."""
    world.quiet()
    began = time.monotonic()
    assert world.aside(world.cycle) == 0, world.said
    world.check()
    return time.monotonic() - began


# -- a restart ---------------------------------------------------------------------------------------------------------


def restart(server: Server) -> Callable[[], None]:
    """A crash (every session is cut, unlogged tables are emptied) and the recovery from it."""

    def act() -> None:
        crash(server.instance.name, server.settings)
        instances.start(server.instance.name, server.settings, UNSAFE_BUT_QUICK)

    return act


def restarted(world: World, number: int, nth: int, figure: Figure) -> None:
    world.trade(number)
    code = world.disturbed(nth, restart(world.server))
    assert code in (0, 1)
    if code:
        assert any(said in world.said for said in ("connection", "cannot be reached", "cursor")), world.said
    figure("to heal", healed(world), "s", "max")
    figure("restarts", 1)


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    "stage", ["publish", *(pytest.param(stage, marks=pytest.mark.faults) for stage in ("load", "transform"))]
)
def test_a_restart_in_the_middle(world: World, stage: str, figure: Figure) -> None:
    world.trade(2000)
    mine = [nth for nth, (its, _) in enumerate(world.steps(), 1) if its == stage]
    world.check()
    restarted(world, 2001, mine[len(mine) // 2], figure)


@pytest.mark.faults
@pytest.mark.fault(5)
@pytest.mark.parametrize("stage", ["load", "publish", "transform"])
def test_a_restart_at_many_steps(world: World, stage: str, figure: Figure) -> None:
    world.trade(2100)
    mine = [nth for nth, (its, _) in enumerate(world.steps(), 1) if its == stage]
    for number, nth in enumerate(mine[:: max(1, len(mine) // 8)], 2101):
        restarted(world, number, nth, figure)


# -- a full disk -------------------------------------------------------------------------------------------------------


def noise(kilobytes: int) -> str:
    """Text that does not get smaller."""
    return "".join(f"{n * 2654435761 % 2**64:016x}" for n in range(64 * kilobytes))


@pytest.mark.fault(7)
@pytest.mark.parametrize("table", ["raw_acme.sales", pytest.param("marts.fct_sale", marks=pytest.mark.faults)])
def test_a_full_disk_under_a_table(world: World, table: str, figure: Figure) -> None:
    """In a load, and in a build: the publish is taken back whole, and nobody is told of a bad block."""
    raw = table.startswith("raw")
    with small_tablespace(world.server) as space:
        world.rows("cafe", f"alter table {table} set tablespace {space}")
        try:
            for number in range(300 if raw else 3000):
                world.sell(f"full{table[:2]}{number}", "1.10", note=noise(2) if raw else "")
            assert world.aside(world.cycle) == 1
            assert "No space left on device" in world.said, world.said
            assert not raw or "us: a disk of the shard is full" in world.said
        finally:
            world.quiet()
            world.rows("cafe", f"alter table {table} set tablespace pg_default")
    figure("to heal", healed(world), "s", "max")
    figure("full disks", 1)


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.fault(8)
def test_no_connection_is_left(world: World, figure: Figure) -> None:
    world.trade(3000)
    held = []
    try:
        while True:
            try:
                held.append(connect(world.shard("cafe").as_role(LOADER).dsn))
            except psycopg2.OperationalError as error:
                assert "connection" in str(error)
                break
        assert world.aside(world.cycle) == 1
        assert "remaining connection slots are reserved" in world.said or "too many clients" in world.said, world.said
    finally:
        for one in held:
            one.close()
    figure("connections held", len(held), how="max")
    figure("to heal", healed(world), "s", "max")


# -- a deadlock --------------------------------------------------------------------------------------------------------


@pytest.mark.fault(9)
def test_a_deadlock_with_a_publish(world: World, figure: Figure) -> None:
    """The other session holds the heads and wants the publish's own lock; Postgres ends who waits longest: the publish.
    It is tried again."""
    world.trade(4000)
    before = world.rows("cafe", "select deadlocks from pg_stat_database where datname = current_database()")
    steps = world.steps()
    heads = [n for n, (stage, step) in enumerate(steps, 1) if stage == "publish" and "raw" in step and "head" in step]
    world.check()
    world.trade(4001)
    dsn, both = world.server.superuser_dsn(world.shard("cafe").database), threading.Event()

    def other() -> None:
        with closing(connect(dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute("set deadlock_timeout = '60s'")  # of the two, the publish looks first
            cur.execute(world.shard("cafe").render("lock table {raw}.head in share mode"))
            both.set()
            cur.execute("select classid::integer, objid::integer from pg_locks where classid = %s", (_PUBLISH_LOCK,))
            rows = cur.fetchall()
            assert rows, "the publish holds no lock"
            cur.execute("select pg_advisory_xact_lock(%s, %s)", rows[0])

    def act() -> None:
        threading.Thread(target=other, daemon=True).start()
        assert both.wait(60), "the other session is not there"

    updates = [n for n in heads if steps[n - 1][1].startswith(("sql update", "sql insert"))]
    assert updates, [step for stage, step in steps if stage == "publish"]
    assert world.disturbed(updates[0], act) == 0, world.said
    world.quiet()
    world.check()
    after = world.rows("cafe", "select deadlocks from pg_stat_database where datname = current_database()")
    assert after[0][0] > before[0][0], "there was no deadlock"
    figure("deadlocks", after[0][0] - before[0][0])
