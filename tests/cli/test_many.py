"""Moves of several businesses: what is planned is said first, and done only when asked or agreed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration import many_moves
from sharding.catalogue import Catalogue
from sharding.model import Shard
from sharding.moving.mover import Mover
from tests.cli.conftest import Ran


@pytest.fixture
def fleet(
    make_shard: Callable[..., Shard], register: Callable[[Shard], Catalogue], monkeypatch: pytest.MonkeyPatch
) -> Catalogue:
    """Two shards, three businesses on the first; moves without models."""
    for name in ("first", "second"):
        catalogue = register(make_shard(name))
    for name in ("bakery", "cafe", "diner"):
        catalogue.add_business(name, name.title(), "first")
    monkeypatch.setattr(
        many_moves, "mover", lambda at, name, say, keep: Mover(at.catalogue, name, lambda shard: None, say, keep=keep)
    )
    return catalogue


def names(catalogue: Catalogue, shard: str) -> list[str]:
    return sorted(business.name for business in catalogue.businesses(shard))


def test_a_plan_says_why_and_moves_nothing(larder: Callable[..., Ran], fleet: Catalogue) -> None:
    planned = larder("shard", "split", "first", "--dry-run", "--json").json
    assert [(step["name"], step["to_shard"]) for step in planned] == [("cafe", "second")]
    assert "stay" in planned[0]["why"]
    assert len(larder("shard", "rebalance", "--dry-run", "--json").json) == 1
    assert len(larder("business", "move", "--all-from", "first", "--dry-run", "--json").json) == 3
    assert names(fleet, "first") == ["bakery", "cafe", "diner"]


def test_it_is_done_when_agreed(larder: Callable[..., Ran], fleet: Catalogue) -> None:
    asked = larder("shard", "rebalance")
    assert asked.code == 1 and names(fleet, "second") == []
    done = larder("shard", "rebalance", "--yes")
    assert done.code == 0 and "1 businesses moved" in done.out and len(names(fleet, "second")) == 1
    assert "the shards are balanced" in larder("shard", "rebalance", "--dry-run").out
    emptied = larder("business", "move", "--all-from", "first", "--to", "second")
    assert emptied.code == 0 and names(fleet, "first") == []
    assert "first is empty" in larder("business", "move", "--all-from", "first").out
    kept = larder("business", "move", "--all-from", "second", "--to", "first")
    assert kept.code == 2 and "the way back of bakery to first is kept until" in kept.err


def test_what_makes_no_sense_is_refused(larder: Callable[..., Ran], fleet: Catalogue) -> None:
    assert larder("business", "move").code == 2
    assert larder("business", "move", "cafe", "--all-from", "first").code == 2
    assert larder("shard", "split", "second").code == 2
