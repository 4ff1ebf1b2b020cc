"""kill -9 before each step of a cycle; the next one ends where an undisturbed one would have."""

from __future__ import annotations

import time

import pytest

from tests.faults.record import Figure
from tests.faults.steps import STAGES
from tests.faults.world import World

LEAST = {"extract": 20, "keep": 13, "load": 44, "publish": 30, "transform": 94}  # 200 in all, and one
EVERYTIME = 1  # kills of each stage in each run of the tests


def play(world: World, number: int, nth: int) -> float | None:
    """Trade, a cycle that is killed, one that is not; seconds that the latter took. None: it has fewer steps."""
    world.trade(number)
    if not world.killed(nth):
        world.check()
        return None
    world.quiet()
    began = time.monotonic()
    assert world.aside(world.cycle) == 0, world.said
    world.check()
    return time.monotonic() - began


def spread(steps: list[tuple[str, str]], each: int) -> list[int]:
    """Numbers of steps, as many of each stage, evenly."""
    chosen = []
    for stage in STAGES:
        mine = [number for number, (its, _) in enumerate(steps, 1) if its == stage]
        assert mine, f"a cycle has no step of {stage}"
        chosen += [mine[(2 * n + 1) * len(mine) // (2 * each)] for n in range(min(each, len(mine)))]
    return chosen


def swept(world: World, number: int) -> None:
    """The next load sweeps what killed ones left in the landing tables; one that has nothing to load does not look."""
    world.trade(number)
    assert world.aside(world.cycle) == 0, world.said
    world.check()
    assert world.landed() == 0


@pytest.mark.fault(1)
def test_killed_at_some_steps_of_each_stage(world: World, figure: Figure) -> None:
    world.trade(1)
    steps = world.steps()
    world.check()
    for number, nth in enumerate(spread(steps, EVERYTIME), 2):
        took = play(world, number, nth)
        assert took is not None, f"there is no step {nth}"
        figure("to heal", took, "s", "max")
        figure("kills", 1)
    swept(world, 99)


@pytest.mark.faults
@pytest.mark.fault(1)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_step(world: World, stage: str, figure: Figure) -> None:
    first = 1000 * (1 + STAGES.index(stage))
    world.trade(first)
    steps = world.steps()
    world.check()
    mine = [nth for nth, (its, _) in enumerate(steps, 1) if its == stage]
    played = 0
    for number, nth in enumerate(mine, first + 1):
        took = play(world, number, nth)
        if took is not None:
            figure("to heal", took, "s", "max")
            played += 1
    swept(world, first + 999)
    figure("kills", played)
    assert played >= LEAST[stage], f"{played} of {len(mine)}"
