"""Several moves one after the other: what is in the way of one stops no other, and a kill leaves what was planned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestration import many_moves
from orchestration.many_moves import left_over, move_all, plan_emptying, plan_split
from sharding.errors import LarderError
from sharding.moving.mover import Mover
from tests.sharding.moving.conftest import Town, new_town, other_server, town

__all__ = ["new_town", "other_server", "town"]


@pytest.fixture
def at(town: Town, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The town as an installation without models."""
    monkeypatch.setattr(
        many_moves, "mover", lambda at, name, say, keep: Mover(at.catalogue, name, lambda shard: None, say, keep=keep)
    )
    return SimpleNamespace(catalogue=town.catalogue)


def test_a_shard_is_emptied_and_may_be_retired(town: Town, at: Any) -> None:
    steps = plan_emptying(town.catalogue, "old", None)
    assert {(step.name, step.to_shard) for step in steps} == {("bar", "new"), ("cafe", "new")}
    said: list[str] = []
    assert move_all(at, steps, said.append) == []
    assert town.catalogue.businesses("old") == [] and "1 of 2" in said[0]
    assert plan_emptying(town.catalogue, "old", "new") == []


def test_what_was_not_begun_is_planned_and_goes_on(town: Town, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = plan_emptying(town.catalogue, "old", "new")

    class KilledError(Exception):
        pass

    def kill(self: Mover, to: str | None = None) -> None:
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Mover, "move", kill)
        move_all(at, steps, print)
    planned = left_over(town.catalogue, "old")
    assert [(step.name, step.to_shard) for step in planned] == [(step.name, "new") for step in steps]
    assert left_over(town.catalogue, "new") == []
    assert move_all(at, planned, print) == []
    assert town.catalogue.businesses("old") == [] and left_over(town.catalogue) == []


def test_one_that_cannot_move_stops_no_other(town: Town, at: Any) -> None:
    town.sql(town.new, "insert into keys.route (business, name, display_name, state) values (300000, 'b', 'B', 'out')")
    [(step, why)] = move_all(at, plan_emptying(town.catalogue, "old", "new"), print)
    assert step.name == "bar" and "new still has rows of it" in why
    assert [business.name for business in town.catalogue.businesses("old")] == ["bar"]


def test_half_of_a_shard_goes(town: Town) -> None:
    [step] = plan_split(town.catalogue, "old", None)
    assert step.to_shard == "new"
    with pytest.raises(LarderError, match="there is no other shard"):
        plan_split(town.catalogue, "old", "old")
