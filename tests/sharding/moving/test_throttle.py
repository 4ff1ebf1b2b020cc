"""A copy gives way while statements of others take long, or replicas are behind; else it does not."""

from __future__ import annotations

import time

import pytest

from sharding.moving import stages, throttle
from sharding.moving.journal import steps
from sharding.moving.throttle import LAG, Throttle
from tests.sharding.moving.conftest import Town


class Probe:
    """A statement that takes as long as it is told to."""

    def __init__(self) -> None:
        self.takes = self.lag = 0.0

    def __call__(self) -> float:
        time.sleep(self.takes)
        return self.lag


@pytest.mark.parametrize(("takes", "lag", "waits"), [(0, 0, False), (0.06, 0, True), (0, LAG * 2, True)])
def test_it_waits_while_others_are_slowed_and_only_then(takes: float, lag: float, waits: bool) -> None:
    here, there = Probe(), Probe()
    made = Throttle([here, there], times=2, floor=0.02)
    there.takes, there.lag = takes, lag
    for _ in range(5):
        made.look()
    made.breath()
    assert (made.waited > 0) == waits
    there.takes = there.lag = 0
    for _ in range(5):
        made.look()
    before = made.waited
    made.breath()
    assert made.waited == before


def test_one_slow_statement_is_no_reason() -> None:
    probe = Probe()
    made = Throttle([probe], times=2, floor=0.02)
    probe.takes = 0.1
    made.look()
    probe.takes = 0
    for _ in range(4):
        made.look()
    made.breath()
    assert made.waited == 0


def test_the_slower_they_are_the_longer_it_waits() -> None:
    probe = Probe()
    made = Throttle([probe], times=1, floor=0.01)
    waited = []
    for takes in (0.02, 0.05):
        probe.takes = takes
        for _ in range(5):
            made.look()
        before = made.waited
        made.breath()
        waited.append(made.waited - before)
    assert 0 < waited[0] < waited[1]


def test_a_move_slows_down_and_says_for_how_long(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Injected: after the copy's beginning each statement of others on the old shard takes 100 ms and more."""
    true_probe = Throttle._probe
    calls: list[int] = []

    def probe(self: Throttle, number: int) -> float:
        calls.append(number)
        return true_probe(self, number) + (0.3 if len(calls) > 10 else 0)

    monkeypatch.setattr(Throttle, "_probe", probe)
    monkeypatch.setattr(throttle, "_EVERY", 0.001)
    true_copy = stages.copy_all

    def copy_slowly(*arguments: object) -> None:
        while len(calls) < 25:
            time.sleep(0.01)
        true_copy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "copy_all", copy_slowly)
    moved = town.mover().move("new")
    [told] = [detail for _, step, detail in steps(town.catalogue, moved.id) if step == "copied"]
    assert told["waited"] > 0.1
    assert town.rows(town.new) == town.rows(town.old)
