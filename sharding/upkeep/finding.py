"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sharding.errors import Turn

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `next` is empty where it is in order."""

    check: str
    state: State
    detail: str
    next: str = ""
    turn: Turn | None = None
