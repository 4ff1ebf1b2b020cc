"""A driver killed at each point of a move, and after any of its commits: one owner at every moment, and the next driver
goes on to the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import pytest

from sharding.moving.changeover import VERIFIED
from sharding.moving.journal import has_step, moves
from sharding.moving.mover import POINTS, RETURN_POINTS
from tests import aside
from tests.sharding.moving import killed_move
from tests.sharding.moving.conftest import BUSINESS, Town

OFTEN = {"a chunk copied", "both open", "closed here", "open there", "catalogue told"}
BACK_OFTEN = {"closed here", "catalogue told"}
NO_OWNER = {"closed here"}  # between both commits: nobody may write, and nobody sees two copies
SEED = 20_261_121


def killed(act: str, where: str, nth: int = 1) -> bool:
    """Let a driver of its own process run until it is killed; False if it came to its end before."""
    return aside.killed(lambda: killed_move.main(str(BUSINESS), act, "SIGKILL", where, str(nth)))


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in OFTEN else pytest.mark.faults) for point in POINTS]
)
def test_a_move_goes_on_after_a_kill(town: Town, point: str) -> None:
    before = town.rows(town.old)
    assert killed("new", point, 2 if point == "a chunk copied" else 1)
    owners = town.owners()
    assert owners == [] if point in NO_OWNER else len(owners) == 1
    if owners == ["old"]:
        town.sell("b1", "a003")  # trade goes on, and is not lost
        before = town.rows(town.old)
    assert town.mover().move().state == "flipped"
    assert town.owners() == ["new"] and town.rows(town.new) == before
    town.sell("after")
    ends(town, "finish")


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in BACK_OFTEN else pytest.mark.faults) for point in RETURN_POINTS]
)
def test_a_way_back_goes_on_after_a_kill(town: Town, point: str) -> None:
    town.mover().move("new")
    town.sell("b1", "a003")
    assert killed("back", point)
    owners = town.owners()
    assert owners == [] if point in NO_OWNER else len(owners) == 1
    if owners == ["new"]:
        town.sell("b2")
    wanted = town.rows(town.old if owners == ["old"] else town.new)
    assert town.mover().roll_back().state == "rolled_back"
    assert town.rows(town.old) == wanted
    nothing_is_left(town, "old")


def ends(town: Town, act: str) -> None:
    """Give up the other copy; nothing is left of it or of the move."""
    mover = town.mover()
    {"finish": mover.finish, "abort": mover.abort, "back": mover.roll_back}[act]()
    nothing_is_left(town, "new" if act == "finish" else "old")


def nothing_is_left(town: Town, owner: str) -> None:
    here, other = (town.old, town.new) if owner == "old" else (town.new, town.old)
    assert town.owners() == [owner] and town.catalogue.business(BUSINESS).shard == owner
    assert town.rows(other) == {} and town.traces(other) == {}
    assert town.traces(here) == {"route": 1, "counter": 1}


# -- inside the edges: after each commit ---------------------------------------------------------------------------

ACTS = ("new", "back", "finish", "abort")
COMMITS = {"new": 320, "back": 340, "finish": 140, "abort": 140}  # of a driver that is not killed, some
TRADE = {"old": "from the old", "new": "from the new"}


def play(town: Town, act: str, nth: int) -> bool:
    """Kill a driver after its nth commit and let another go on; False if it came to its end before."""
    if act in ("back", "finish"):
        town.mover().move("new")
        town.sell("b1", "a003")
    if act == "abort":
        assert killed("new", "compared")
    was_killed = killed(act, "commit", nth)
    owners = town.owners()
    assert len(owners) <= 1
    placed = town.catalogue.business(BUSINESS).shard  # the last to be told: until then writers come to the closed gate
    sold = {owner for owner in owners if owner == placed}
    for owner in sold:
        town.sell(TRADE[owner])
    mover = town.mover()
    open_ = moves(town.catalogue, BUSINESS, open_only=True)
    if not open_:
        wanted = owners[0] if owners else ""
    elif act == "new":
        wanted = "new"
        if not has_step(town.catalogue, open_[0], VERIFIED):
            assert mover.move().state == "flipped"
        mover.finish()
    else:
        wanted = "new" if act == "finish" else "old"
        {"finish": mover.finish, "abort": mover.abort, "back": mover.roll_back}[act]()
    if not open_ and act == "new" and was_killed:
        return True  # killed before it was written down that the business is to move: nothing has begun
    if act != "new" or open_:
        nothing_is_left(town, wanted)
    expected = {f"a{n:03d}" for n in range(60)} | {TRADE[owner] for owner in sold}
    assert expected <= town.sales(town.old if town.owners() == ["old"] else town.new)
    return was_killed


@pytest.mark.parametrize("act", ACTS)
def test_a_driver_killed_after_a_commit(new_town: Callable[[], Town], act: str) -> None:
    play(new_town(), act, random.Random(f"{SEED} {act}").randrange(1, COMMITS[act]))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("act", ACTS)
def test_a_driver_killed_after_every_commit(new_town: Callable[[], Town], act: str, part: int) -> None:
    for nth in count(part + 1, 4):
        if not play(new_town(), act, nth):
            print(f"{act}: {nth} commits")
            break
