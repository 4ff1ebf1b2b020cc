"""How Toast writes money and time."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache


@lru_cache(8192)
def dollars(cents: int) -> Decimal:
    """A decimal number of dollars."""
    return Decimal(cents).scaleb(-2)


def stamp(at: datetime) -> str:
    """`2024-04-02T16:36:29.420+0000`; `at` is in UTC."""
    return f"{at.isoformat(timespec='milliseconds')[:23]}+0000"
