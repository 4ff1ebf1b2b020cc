"""Moves of businesses, with the models of both shards: what the command line and the Dagster job share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import psycopg2

from ingestion.data.definitions import refresh_views
from orchestration.cycle import Installation
from orchestration.transform import LEASED, connect, target_of
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.journal import Move, moves
from sharding.moving.mover import KEEP, Mover, Rest
from sharding.moving.persistence import PATIENCE

_PATIENCE = 1800.0
_TICK_PATIENCE = 2.0  # a tick that finds a server away looks again at the next one
SAID: dict[Rest, str] = {
    "move": "its change-over had been cut off; it was brought to its end",
    "roll_back": "its way back had been cut off; it was brought to its end",
    "finish": "the time of its way back is over; the old copy was deleted",
    "abort": "its move had been given up half-way; the copy was deleted",
}


@dataclass(frozen=True)
class Tended:
    """What a move was found to need, and why that could not be done if it could not."""

    move: Move
    rest: Rest
    error: str | None = None

    def __str__(self) -> str:
        said = SAID[self.rest] if self.error is None else f"larder business move cannot go on by itself: {self.error}"
        return f"{self.move.business_name}: {said}"


def mover(
    at: Installation,
    business: str | int,
    say: Callable[[str], None] = lambda text: None,
    keep: timedelta = KEEP,
    patience: float = PATIENCE,
) -> Mover:
    """Moves of one business of an installation."""
    return Mover(at.catalogue, business, lambda shard: build_shard(at, shard), say, keep=keep, patience=patience)


def unfinished(at: Installation) -> Iterator[tuple[Move, Rest]]:
    """Moves that have to go on without being asked, and what each needs. Those on a server that is away come later."""
    for move in moves(at.catalogue, open_only=True):
        try:
            rest = mover(at, move.business).rest()
        except psycopg2.OperationalError:
            continue
        if rest is not None:
            yield move, rest


def tend(at: Installation, say: Callable[[str], None] = lambda text: None) -> list[Tended]:
    """Bring to their end moves that nobody drives any more: change-overs that were cut off, so that nobody could write
    the business; ways back whose time is over; copies that were half deleted.

    One that another process drives is left to it. What fails is in the result and stops no other.
    """
    return [done for move, rest in unfinished(at) if (done := _tended(at, move, rest, say)) is not None]


def go_on_with_flips(at: Installation) -> list[str]:
    """Bring to their end change-overs whose driver died when nobody could write the business: a matter of moments.

    Returns what was done, for the log.
    """
    cut_off = [(move, rest) for move, rest in unfinished(at) if rest == "move"]
    return [str(done) for move, rest in cut_off if (done := _tended(at, move, rest)) is not None]


def _tended(at: Installation, move: Move, rest: Rest, say: Callable[[str], None] = lambda text: None) -> Tended | None:
    way = mover(at, move.business, say, patience=_TICK_PATIENCE)
    acts: dict[Rest, Callable[[], Move]] = {
        "move": way.move,
        "roll_back": way.roll_back,
        "finish": way.finish,
        "abort": way.abort,
    }
    try:
        acts[rest]()
    except LarderError as error:
        return None if error.turn == "you" else Tended(move, rest, str(error))  # another process was quicker
    except psycopg2.Error as error:
        return Tended(move, rest, " ".join(str(error).split()))
    return Tended(move, rest)


def build_shard(at: Installation, shard: Shard) -> None:
    """Bring the models of one shard up to date; another build that runs there is waited for.

    Raises:
        LarderError: turn `us`: a model failed.
    """
    with closing(connect(target_of(shard))) as conn:
        refresh_views(conn, shard.schemas)  # of tables that sources have of their own; a move may have brought some
    give_up = time.monotonic() + _PATIENCE
    while True:
        [built] = at.transform.build([target_of(shard)])
        if built.reason != LEASED or time.monotonic() > give_up:
            break
        time.sleep(1)  # its end is not announced
    if built.state == "failed":
        raise LarderError(f"the models of {shard.name}: {built.reason}", "us", "larder build")
