"""Several businesses on their way, one after the other: each with its own journal, so that a kill costs none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from orchestration.cycle import Installation
from orchestration.moves import mover
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.moving.balance import Step, balanced, emptied, halved
from sharding.moving.journal import moves
from sharding.moving.mover import KEEP
from sharding.moving.plan import weigh


def plan_emptying(catalogue: Catalogue, shard: str, to: str | None) -> list[Step]:
    """Where the businesses of a shard go: to `to`, or to the lightest of the shards that are open."""
    others = [to] if to else [name for name in _open_shards(catalogue) if name != shard]
    if not others or others == [shard]:
        raise LarderError(f"there is no other shard for the businesses of {shard}", "you", "larder shard add NAME")
    return emptied(weigh(catalogue, [shard, *others]), catalogue.shard(shard).name, others)


def plan_split(catalogue: Catalogue, shard: str, to: str | None) -> list[Step]:
    """About half of a shard's businesses: to `to`, or to the open shard where least comes in."""
    others = [to] if to else [name for name in _open_shards(catalogue) if name != shard]
    if not others or others == [shard]:
        raise LarderError(f"there is no other shard for half of {shard}", "you", "larder shard add NAME")
    weights = weigh(catalogue, [shard, *others])
    coming = {name: sum(w.records_a_day for w in weights if w.shard == name) for name in others}
    return halved(weights, shard, min(others, key=lambda name: (coming[name], name)))


def plan_balance(catalogue: Catalogue) -> list[Step]:
    """What would make the open shards equally heavy."""
    shards = _open_shards(catalogue)
    return balanced(weigh(catalogue, shards), shards)


def left_over(catalogue: Catalogue, shard: str | None = None) -> list[Step]:
    """Moves that an earlier run has written down and not begun, of one shard or of all."""
    return [
        Step(move.business_name, move.from_shard, move.to_shard, 0, 0.0, "was planned before")
        for move in reversed(moves(catalogue, open_only=True))
        if move.state == "planned" and shard in (None, move.from_shard)
    ]


def move_all(
    at: Installation, steps: Sequence[Step], say: Callable[[str], None], keep: timedelta = KEEP
) -> list[tuple[Step, str]]:
    """Write all of them down, then move one business after the other; returns those that stay, each with the reason.

    One that was on its way elsewhere before goes on there. Killed, it has left what it had not begun as planned moves.

    Raises:
        LarderError: what stopped one of them for a reason that would stop the next one too.
    """
    booked, staying = [], []
    for step in steps:
        try:
            mover(at, step.name, say, keep).book(step.to_shard)
            booked.append(step)
        except LarderError as error:
            if error.turn != "you":
                raise
            staying.append((step, error.cause))
    for number, step in enumerate(booked, 1):
        say(f"{number} of {len(booked)}: {step.name} to {step.to_shard}")
        try:
            mover(at, step.name, say, keep).move()
        except LarderError as error:
            if error.turn != "you":
                raise
            staying.append((step, error.cause))
    return staying


def _open_shards(catalogue: Catalogue) -> list[str]:
    return [shard.name for shard in catalogue.shards() if shard.state == "active"]
