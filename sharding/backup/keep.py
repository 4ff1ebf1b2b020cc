"""Which backups are kept. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class Policy:
    """How many days, weeks and months have one kept: the newest of each."""

    days: int = 7
    weeks: int = 5
    months: int = 0


def kept(made: Sequence[datetime], policy: Policy) -> set[datetime]:
    """Those of some backups of one shard that stay; the newest always does."""
    newest_first = sorted(made, reverse=True)
    stay = set(newest_first[:1])
    periods = ((policy.days, _day), (policy.weeks, _week), (policy.months, _month))
    for how_many, period in periods:
        last_of: dict[Hashable, datetime] = {}
        for at in newest_first:
            last_of.setdefault(period(at), at)
        stay |= set(list(last_of.values())[:how_many])
    return stay


def _day(at: datetime) -> date:
    return at.date()


def _week(at: datetime) -> date:
    return at.date() - timedelta(days=at.weekday())


def _month(at: datetime) -> date:
    return at.date().replace(day=1)
