"""Moves of businesses, with the models of both shards: what the command line and the Dagster job share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

from ingestion.data.definitions import refresh_views
from orchestration.cycle import Installation
from orchestration.transform import connect, target_of
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.moving.journal import moves
from sharding.moving.mover import KEEP, Mover

_PATIENCE = 1800.0


def mover(
    at: Installation, business: str | int, say: Callable[[str], None] = lambda text: None, keep: timedelta = KEEP
) -> Mover:
    """Moves of one business of an installation."""
    return Mover(at.catalogue, business, lambda shard: build_shard(at, shard), say, keep=keep)


def go_on_with_flips(at: Installation) -> list[str]:
    """Bring to their end flips whose driver died when the business had left its old shard: nobody could write it.

    Returns the names of those businesses. One that is still driven by another process is left to it.
    """
    gone_on = []
    for move in moves(at.catalogue, open_only=True):
        if move.state == "flipping" and mover(at, move.business).has_left(move):
            try:
                mover(at, move.business).move()
            except LarderError as error:
                if error.turn != "you":
                    raise
                continue
            gone_on.append(move.business_name)
    return gone_on


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
        if built.reason != "another build runs here" or time.monotonic() > give_up:
            break
        time.sleep(1)  # its end is not announced
    if built.state == "failed":
        raise LarderError(f"the models of {shard.name}: {built.reason}", "us", "larder build")
