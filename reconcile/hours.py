"""Arithmetic of hours for receipts of labour: a shift without its holes, cut where its site's business day begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

DAY_START = timedelta(hours=4)
"""A rota knows no day start: the small hours belong to the evening before, unless the location's settings say else."""
LONGEST_OPEN = timedelta(hours=16)
"""An open shift counts to now, at most so long."""
SECOND = timedelta(seconds=1)
Span = tuple[datetime, datetime]


def hours_by_date(
    began: datetime,
    ended: datetime | None,
    unpaid: Sequence[tuple[datetime, datetime | None]],
    now: datetime,
    date_of: Callable[[datetime], date],
) -> dict[date, Decimal]:
    """Hours worked by business date, held to 6 decimals, half up. A break without an end lasts as long as the shift."""
    until = ended or min(now, began + LONGEST_OPEN)
    seconds: dict[date, Decimal] = defaultdict(Decimal)
    for start, end in _without((began, until), [(start, end or until) for start, end in unpaid]):
        while start < end:
            day = date_of(start)
            stop = _first_not_on(day, start, end, date_of)
            seconds[day] += Decimal(int((stop - start) / SECOND))
            start = stop
    return {day: (worked / 3600).quantize(Decimal("1e-6"), ROUND_HALF_UP) for day, worked in seconds.items()}


def cost(hours: Decimal, wage: Decimal) -> Decimal:
    """What hours cost at a wage, held to 4 decimals, half up."""
    return (hours * wage).quantize(Decimal("1e-4"), ROUND_HALF_UP)


def _without(span: Span, holes: Sequence[Span]) -> Iterator[Span]:
    """What is left of a span without the holes, which may overlap each other and its ends."""
    at, end = span
    for begins, ends in sorted(holes):
        if begins > at:
            yield at, min(begins, end)
        at = max(at, ends)
        if at >= end:
            return
    if at < end:
        yield at, end


def _first_not_on(day: date, start: datetime, end: datetime, date_of: Callable[[datetime], date]) -> datetime:
    """The first second after `start` that is not on business date `day` any more, or `end`."""
    if date_of(end - SECOND) == day:
        return end
    low, high = 0, int((end - start) / SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if date_of(start + middle * SECOND) == day:
            low = middle
        else:
            high = middle
    return start + high * SECOND
