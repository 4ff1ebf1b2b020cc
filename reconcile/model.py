"""What is compared: one amount of one measure of one source on one business date.

A vendor's `receipts.py` implements :class:`Receipts` as a module-level function ``receipts(records, sites, now)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

Record = dict[str, Any]
"""A vendor's record as parsed JSON; numbers are int or Decimal, never float."""


@dataclass(frozen=True, slots=True)
class Amount:
    """`amount` of `measure` on `business_date`; money in major units of `currency`, counts with currency ''."""

    business_date: date
    currency: str
    measure: str
    amount: Decimal


@dataclass(frozen=True)
class SiteSetting:
    """A dated overrule of what the vendor says of a site, valid on [valid_from, valid_to) of local calendar dates."""

    valid_from: date
    valid_to: date
    timezone: str
    day_start: timedelta


@dataclass(frozen=True)
class Sites:
    """Time zone and day start of each vendor site, and the currency of amounts whose vendor gives none.

    `overrides` are what people decided; vendors fill in the rest. `settled` is what holds, whoever said it, for vendors
    that tell no time zone.
    """

    overrides: Mapping[str, Sequence[SiteSetting]] = field(default_factory=dict)
    settled: Mapping[str, Sequence[SiteSetting]] = field(default_factory=dict)
    currency: str = "USD"  # the business's reporting currency

    def business_date(self, site: str, at: datetime, timezone: str, day_start: timedelta) -> date:
        """Business date of the instant `at` at `site`: local wall clock minus the day-start hour.

        `timezone` and `day_start` are the vendor's own, used where no overrule covers the local date.
        """
        return _latest_begun(self.overrides.get(site, ()), at, timezone, day_start)

    def settled_date(self, site: str, at: datetime) -> date:
        """Business date at a site of which the vendor tells neither time zone nor day start; by UTC, from four in the
        morning, where nobody else has told them."""
        return _latest_begun(self.settled.get(site, ()), at, "UTC", timedelta(hours=4))


def _latest_begun(settings: Sequence[SiteSetting], at: datetime, timezone: str, day_start: timedelta) -> date:
    """The latest date that has begun at `at` by the setting that is valid on it, else by what else holds. So a day goes
    on until the next one begins, also where the next one begins by another setting."""

    def has_begun(day: date) -> bool:
        for setting in settings:
            if setting.valid_from <= day < setting.valid_to:
                return _local(at, setting.timezone, setting.day_start) >= day
        return _local(at, timezone, day_start) >= day

    day = at.astimezone(UTC).date() + timedelta(days=1)  # no clock is further ahead
    while not has_begun(day):
        day -= timedelta(days=1)
    return day


def _local(at: datetime, timezone: str, day_start: timedelta) -> date:
    return (at.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) - day_start).date()


class Receipts(Protocol):
    """``receipts(records, sites, now)``: the current records by stream → amounts (any number per date and measure)."""

    def __call__(self, records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]: ...
