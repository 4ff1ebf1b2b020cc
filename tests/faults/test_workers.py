"""Workers that run out of memory, and runs that are cancelled."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest

from orchestration.cycle import Scope, cycle_events, run_cycle
from orchestration.events import CycleReport
from orchestration.workers import Workers
from tests.faults.dagster_world import environment, new_home
from tests.faults.record import Figure
from tests.faults.world import World
from tests.waiting import until

MB = 1 << 20


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """`at_work(act)`: act on the process of the worker that gets the first shard, as soon as it has it."""
    start = Workers.start

    def install(act: Callable[[int], None]) -> None:
        done: list[int] = []

        def started(self: Workers, job: Any, within: float | None = None) -> None:
            start(self, job, within)
            if job.target.name == "shard_1" and not done:
                [pid] = [w.process.pid for w in self._busy.values() if w.job is job]
                assert pid is not None
                done.append(pid)
                act(pid)

        monkeypatch.setattr(Workers, "start", started)

    return install


def states(report: CycleReport) -> dict[str, tuple[str, str]]:
    return {build.shard: (build.state, build.reason) for build in report.builds}


def both_trade(world: World, number: int, **more: Any) -> None:
    world.shop.now += timedelta(minutes=11)  # all is due
    for business in ("cafe", "diner"):
        world.trade(number, business)
    for n in range(400 if more else 0):
        world.sell(f"big{number}-{n}", "2.50", **more)
    world.quiet()


def healed(world: World) -> float:
    began = time.monotonic()
    report = run_cycle(world.shop.installation)
    assert not report.failures, report.failures
    for business in ("cafe", "diner"):
        world.check(business)
    return time.monotonic() - began


@pytest.mark.fault(2)
def test_a_worker_that_the_kernel_kills_for_its_memory(
    world: World, at_work: Callable[[Callable[[int], None]], None], figure: Figure
) -> None:
    both_trade(world, 5000)
    at_work(lambda pid: os.kill(pid, signal.SIGKILL))
    found = states(run_cycle(world.shop.installation))
    assert found["shard_1"][0] == "failed" and "out of memory" in found["shard_1"][1]
    assert found["shard_2"][0] == "built"
    figure("to heal", healed(world), "s", "max")
    figure("workers ended", 1)


@pytest.mark.faults
@pytest.mark.fault(2)
@pytest.mark.parametrize("spare", [0, 8])
def test_a_worker_that_gets_no_more_memory(
    world: World, at_work: Callable[[Callable[[int], None]], None], spare: int, figure: Figure
) -> None:
    """Its address space is limited to what it has and `spare` MB: the next allocations fail."""
    world.shop.sales["cafe"][:] = [s for s in world.shop.sales["cafe"] if "note" not in s]
    both_trade(world, 5100 + spare, note="x" * 20_000)

    def limit(pid: int) -> None:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + spare * MB
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))

    at_work(limit)
    report = run_cycle(world.shop.installation)
    found = states(report)
    assert found["shard_2"][0] == "built", found
    assert found["shard_1"][0] == "failed" or any(business == "cafe/till" for business, _ in report.failures), found
    assert not [failure for _, failure in report.failures if failure.turn == "data"], report.failures
    figure("to heal", healed(world), "s", "max")
    figure("workers ended", 1)


# -- a run that is cancelled -------------------------------------------------------------------------------------------


def sessions(world: World) -> int:
    """Sessions of cycles on the server."""
    with closing(psycopg2.connect(world.server.dsn("postgres"))) as conn, conn.cursor() as cur:
        cur.execute(
            "select count(*) from pg_stat_activity where pid <> pg_backend_pid()"
            " and application_name in ('larder load', 'larder transform', 'larder extract')"
        )
        return int((cur.fetchone() or (0,))[0])


@pytest.mark.faults
@pytest.mark.fault(4)
def test_a_cycle_that_is_closed_leaves_nobody_at_work(world: World, figure: Figure) -> None:
    both_trade(world, 5500)
    events = cycle_events(world.shop.installation, Scope())
    next(events)
    began = time.monotonic()
    events.close()
    until(lambda: sessions(world) == 0)
    figure("to free all", time.monotonic() - began, "s", "max")
    healed(world)
    figure("cancelled", 1)


@pytest.mark.faults
@pytest.mark.fault(4)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_dagster_run_that_is_cancelled(world: World, tmp_path: Path, how: signal.Signals, figure: Figure) -> None:
    """Its shard's table is locked, so its worker hangs: run and worker end, lease and slot are free."""
    both_trade(world, 5600 + how)
    dagster_home = new_home(world, tmp_path / "dagster")
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "shop_definitions", "-j", "cycle"]
    with closing(psycopg2.connect(world.shard("cafe").dsn)) as lock, lock.cursor() as cur:
        cur.execute(world.shard("cafe").render("lock table {marts}.fct_sale in access exclusive mode"))
        with (dagster_home / "run.log").open("wb") as out:
            run = subprocess.Popen(
                command, env=environment(world, dagster_home), cwd=world.project.project_dir, stdout=out, stderr=out
            )
        waiting = "select count(*) from pg_locks where not granted"
        until(lambda: run.poll() is not None or world.rows("cafe", waiting) != [(0,)], 300)
        assert run.poll() is None, (dagster_home / "run.log").read_text()[-3000:]
        began = time.monotonic()
        run.send_signal(how)
        run.wait(60)
        until(lambda: world.rows("cafe", waiting) == [(0,)])
        figure("to free all", time.monotonic() - began, "s", "max")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        [ended] = instance.get_runs()
        if how == signal.SIGINT:
            assert ended.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
    until(lambda: sessions(world) == 0)
    healed(world)
    figure("cancelled", 1)
