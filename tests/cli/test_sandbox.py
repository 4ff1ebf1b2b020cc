"""larder sandbox: servers up and down, a clock that is moved on and set back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import OPENS_AT
from ingestion.sandbox.http import Faults
from sharding.settings import Settings
from tests.cli.conftest import Ran


def test_up_advance_reset_down(larder: Callable[..., Ran], settings: Settings) -> None:
    assert "not running" in larder("sandbox", "status").out
    up = larder("sandbox", "up", "--json").json
    try:
        assert datetime.fromisoformat(up["now"]) == OPENS_AT
        assert larder("sandbox", "status", "--json").json == up
        later = larder("sandbox", "advance", "1d", "--json").json
        assert datetime.fromisoformat(later["now"]) == OPENS_AT + timedelta(days=1)
        faults = Faults.of_home(settings.home)
        faults.set("square", "down")
        assert larder("sandbox", "reset").code == 0
        assert SandboxClock(settings.home).now() == OPENS_AT and not faults.of("square")
    finally:
        assert "stopped" in larder("sandbox", "down").out
    assert process.running(settings.home) is None
    assert "was not running" in larder("sandbox", "down").out


def test_a_clock_that_does_not_exist_is_not_moved(larder: Callable[..., Ran], settings: Settings) -> None:
    moved = larder("sandbox", "advance", "1d")
    assert moved.code == 2 and "larder sandbox up" in moved.err
    assert not SandboxClock(settings.home).file.exists()


@pytest.mark.parametrize("step", ["tomorrow", "1w"])
def test_steps_that_are_none(larder: Callable[..., Ran], step: str) -> None:
    assert larder("sandbox", "advance", step).code == 2


def test_after_the_last_day_it_says_so(larder: Callable[..., Ran], settings: Settings) -> None:
    SandboxClock(settings.home).set(OPENS_AT)
    assert "no more trade" not in larder("sandbox", "advance", "14d").out
    assert "no more trade" in larder("sandbox", "advance", "30d").out
