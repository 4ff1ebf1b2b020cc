"""Waiting for what another process or thread does, where nothing announces it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 30.0, *, every: float = 0.02, why: str = "") -> T:
    """What `condition` gives once it is true, asked `every` so many seconds; fails, with `why`, when it never is."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, why or f"did not come about in {seconds:.0f} s"
        time.sleep(every)
    return found
