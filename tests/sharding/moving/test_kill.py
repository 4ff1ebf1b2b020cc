"""A driver killed at each point of a move: one owner at every moment, and the next driver goes on to the end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from sharding.moving.mover import POINTS, RETURN_POINTS
from tests.sharding.moving.conftest import BUSINESS, Town

NO_OWNER = {"closed here"}  # between both commits: nobody may write, and nobody sees two copies


def killed(to: str, point: str, nth: int = 1) -> None:
    command = [sys.executable, "-m", "tests.sharding.moving.killed_move", str(BUSINESS), to, point, str(nth)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("point", POINTS)
def test_a_move_goes_on_after_a_kill(town: Town, point: str) -> None:
    before = town.rows(town.old)
    killed("new", point, 2 if point == "a chunk copied" else 1)
    owners = town.owners()
    assert owners == [] if point in NO_OWNER else len(owners) == 1
    if owners == ["old"]:
        town.sell("b1", "a003")  # trade goes on, and is not lost
        before = town.rows(town.old)
    if point != "flipped":
        assert town.mover().move().state == "flipped"
    assert town.owners() == ["new"] and town.rows(town.new) == before
    town.sell("after")
    town.mover().finish()
    assert town.rows(town.old) == {} and town.traces(town.old) == {}
    assert town.traces(town.new) == {"route": 1, "counter": 1}


@pytest.mark.parametrize("point", RETURN_POINTS)
def test_a_way_back_goes_on_after_a_kill(town: Town, point: str) -> None:
    town.mover().move("new")
    town.sell("b1", "a003")
    killed("back", point)
    owners = town.owners()
    assert owners == [] if point in NO_OWNER else len(owners) == 1
    wanted = town.rows(town.old if owners == ["old"] else town.new)
    assert town.mover().roll_back().state == "rolled_back"
    assert town.owners() == ["old"] and town.rows(town.old) == wanted and town.rows(town.new) == {}
    assert town.traces(town.new) == {} and town.traces(town.old) == {"route": 1, "counter": 1}
