"""kill -9 before each step of a cycle; the next one ends where an undisturbed one would have."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.faults.record import Figure
from tests.faults.steps import STAGES
from tests.faults.world import World

LEAST = 200
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


@pytest.mark.faults
@pytest.mark.fault(1)
def test_killed_at_every_step(world: World, figure: Figure) -> None:
    world.trade(1000)
    steps = world.steps()
    world.check()
    played: Counter[str] = Counter()
    for number, nth in enumerate(range(1, len(steps) + 1), 1001):
        took = play(world, number, nth)
        if took is None:
            break
        figure("to heal", took, "s", "max")
        played[steps[nth - 1][0]] += 1
    for stage in STAGES:
        figure(f"kills in {stage}", played[stage])
    figure("kills", sum(played.values()))
    assert sum(played.values()) >= LEAST, played
