"""Dated rows: what is valid from a day up to another, as maps and settings keep it. No database here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

BEGINNING, END = date.min, date.max
"""Postgres' -infinity and infinity."""

V = TypeVar("V")


@dataclass(frozen=True)
class Period(Generic[V]):
    """`value` holds on the days of [start, end)."""

    start: date
    end: date
    value: V


def amend(
    periods: Iterable[Period[V]], start: date, end: date, change: Callable[[V | None], V | None]
) -> list[Period[V]]:
    """Change what holds on the days of [start, end); the days outside keep what they had.

    Args:
        periods: not overlapping, in any order.
        change: from a day's value (None: nothing held) to its new one (None: nothing holds).

    Returns:
        The periods in order, cut at `start` and `end` where needed, neighbours of equal value joined.

    Raises:
        ValueError: `end` is not after `start`.
    """
    if end <= start:
        raise ValueError(f"{end} is not after {start}")
    old = sorted(periods, key=lambda period: period.start)
    pieces: list[Period[V]] = []
    reached = start
    for period in old:
        if period.start < start:
            pieces.append(Period(period.start, min(period.end, start), period.value))
        low, high = max(period.start, start), min(period.end, end)
        if low < high:
            pieces += _changed(reached, low, None, change) + _changed(low, high, period.value, change)
            reached = high
        if period.end > end:
            pieces.append(Period(max(period.start, end), period.end, period.value))
    pieces += _changed(reached, end, None, change)
    return _joined(sorted(pieces, key=lambda period: period.start))


def at(periods: Iterable[Period[V]], day: date) -> V | None:
    """What holds on a day."""
    return next((period.value for period in periods if period.start <= day < period.end), None)


def to_date(text: str) -> date:
    """A date as Postgres writes it, `infinity` and `-infinity` included."""
    return {"-infinity": BEGINNING, "infinity": END}.get(text) or date.fromisoformat(text)


def to_text(day: date) -> str:
    """A date as Postgres reads it."""
    return {BEGINNING: "-infinity", END: "infinity"}.get(day) or day.isoformat()


def _changed(start: date, end: date, value: V | None, change: Callable[[V | None], V | None]) -> list[Period[V]]:
    new = change(value) if start < end else None
    return [] if new is None else [Period(start, end, new)]


def _joined(pieces: list[Period[V]]) -> list[Period[V]]:
    joined: list[Period[V]] = []
    for piece in pieces:
        if joined and joined[-1].end == piece.start and joined[-1].value == piece.value:
            joined[-1] = Period(joined[-1].start, piece.end, piece.value)
        else:
            joined.append(piece)
    return joined
