"""A real `dagster-daemon` that is killed and started again: each tick is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import SCHEDULED_EXECUTION_TIME_TAG

from orchestration.jobs import BEGINNING, still_running
from tests.faults.dagster_world import environment, new_home, tell_time
from tests.faults.record import Figure
from tests.faults.world import World
from tests.waiting import until

TICK = SCHEDULED_EXECUTION_TIME_TAG


@pytest.fixture
def sessions() -> Iterator[list[int]]:
    """Sessions of daemons; whoever is left of them is ended: the code server of a killed one lives on for a while."""
    begun: list[int] = []
    yield begun
    for session in begun:
        with suppress(ProcessLookupError):
            os.killpg(session, signal.SIGKILL)


@contextmanager
def daemon(world: World, home: Path, log: str, sessions: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, in a session of its own."""
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "shop_definitions"]
    with (home / log).open("wb") as out:
        process = subprocess.Popen(
            command, env=environment(world, home), cwd=world.project.project_dir, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    sessions.append(process.pid)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.faults
@pytest.mark.fault(3)
def test_a_daemon_killed_at_a_tick_and_between_ticks(
    world: World, tmp_path: Path, sessions: list[int], figure: Figure
) -> None:
    """Killed as soon as a run is there, then for a time in which a tick is due."""
    home = new_home(world, tmp_path / "dagster")
    kills = 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for number in range(2):
            runs = len(instance.get_runs())
            with daemon(world, home, f"daemon{number}.log", sessions) as process:
                sold = [0.0]

                def run_or_end(
                    runs: int = runs, process: subprocess.Popen[bytes] = process, sold: list[float] = sold
                ) -> bool:
                    if time.time() > sold[-1] + 70:  # what a run of before has read is not due again
                        sell(world, f"before{process.pid}-{len(sold)}")
                        sold.append(time.time())
                    return len(instance.get_runs()) > runs or process.poll() is not None

                until(run_or_end, 400, every=0.2)
                assert process.poll() is None, (home / f"daemon{number}.log").read_text()[-3000:]
                process.kill()
                process.wait()
                kills += 1
            if number:
                down = time.time()
                until(lambda down=down: time.time() // 60 > down // 60 + 1, 130, every=0.2)  # type: ignore[misc]
        sell(world, "after")
        began = time.time()
        with daemon(world, home, "last.log", sessions):
            ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

            def all_is_done() -> bool:
                facts = dict(world.rows("cafe", "select natural_key, net_sales from {marts}.fct_sale"))
                late = [r for r in instance.get_run_records() if r.start_time and r.start_time > began]
                return facts == world.prices["cafe"] and any(r.dagster_run.status in ended for r in late)

            until(all_is_done, 400, every=0.2)
            figure("to heal", time.time() - began, "s", "max")
        assert still_running(instance, world.shop.installation, time.time() + 2 * BEGINNING) == []
        assert {run.status for run in instance.get_runs()} <= set(ended), "a run that is neither at work nor ended"
        ticks = Counter(run.tags[TICK] for run in instance.get_runs() if TICK in run.tags)
    assert len(ticks) >= kills and set(ticks.values()) == {1}, ticks
    world.quiet()
    for business in ("cafe", "diner"):
        assert world.aside(lambda business=business: world.cycle(business)) == 0, world.said  # type: ignore[misc]
        world.check(business)
    figure("kills", kills)
    figure("ticks with a run", len(ticks))


def sell(world: World, key: str) -> None:
    """A sale at both, and so much later that everything is due."""
    world.shop.now += timedelta(minutes=11)
    for business in ("cafe", "diner"):
        world.sell(key, "4.20", business)
    tell_time(world)
