"""What guests write about a site, as Google shows it at a given time: some change their mind, some take it back.

About one order in seventy leads to a review, within a few hours. Most are answered, the bad ones sooner. From the day
before a new sandbox's clock stands, each day at each site one review is answered, one is changed and one is taken back
at the next day's opening hours: whoever lets a day pass sees each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ingestion.sandbox.story import TOLD_DAILY_FROM
from ingestion.sandbox.trade import Site, between, draw, local

ORDERS_PER_REVIEW = 70
WORDS = ("ONE", "TWO", "THREE", "FOUR", "FIVE")
SHARES = (8, 7, 13, 28, 44)
"""Of a hundred reviews with each number of stars, from one to five."""
DAILY = ("answered", "changed", "taken back")
COMMENTS: Sequence[Sequence[str]] = (
    ("Waited half an hour, then got somebody else's order.", "Холодна кава і ніхто не вибачився."),
    ("Overpriced for what it is.", "Замало місця, завжди черга."),
    ("Fine, nothing special.", "Нормально."),
    ("Très bon brunch ☕", "Friendly people, good coffee."),
    ("Best jaffles in town! 😋", "Найкраща кава на Подолі ☕"),
)
GUESTS = ("Zoë", "Oleksandr K.", "Maria", "J. Smith", "Богдана")


@dataclass(frozen=True)
class Review:
    """One review and all that will happen to it; instants in UTC, None for what never happens."""

    name: str
    guest: str | None  # None: anonymous
    written_at: datetime
    stars: int
    comment: str
    answered_at: datetime | None
    changed_at: datetime | None
    stars_then: int
    gone_at: datetime | None

    def record(self, now: datetime) -> dict[str, Any] | None:
        """The review as it is served at `now`; None before it is written and after it was taken back."""
        if now < self.written_at or (self.gone_at is not None and now >= self.gone_at):
            return None
        changed = self.changed_at is not None and now >= self.changed_at
        answered = self.answered_at is not None and now >= self.answered_at
        moments = [self.written_at, *([self.changed_at] if changed else []), *([self.answered_at] if answered else [])]
        stars = self.stars_then if changed else self.stars
        found: dict[str, Any] = {
            "name": self.name,
            "reviewId": self.name.rpartition("/")[2],
            "reviewer": {"isAnonymous": True} if self.guest is None else {"displayName": self.guest},
            "starRating": WORDS[stars - 1],
            "comment": self.comment,
            "createTime": text(self.written_at),
            "updateTime": text(max(m for m in moments if m is not None)),
        }
        if not self.comment:
            del found["comment"]
        if answered and self.answered_at is not None:
            found["reviewReply"] = {"comment": "Thank you! – synthetic", "updateTime": text(self.answered_at)}
        return found


def text(moment: datetime) -> str:
    """An instant as Google writes it: with no or three digits of a second, and `Z`."""
    digits = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=digits) + "Z"


def reviews(site: Site, parent: str) -> list[Review]:
    """All reviews of a site. `parent` is Google's name of the location: `accounts/…/locations/…`."""
    return [review for day in site.orders for review in _of_day(site, parent, day)]


def _of_day(site: Site, parent: str, day: date) -> Iterator[Review]:
    told = day >= TOLD_DAILY_FROM
    count, rest = divmod(site.count(day), ORDERS_PER_REVIEW)
    count += draw("reviews", parent, day) * ORDERS_PER_REVIEW < rest
    opens, closes = site.hours
    for n in range(max(count, len(DAILY) if told else 0)):
        key = ("review", parent, day, n)
        written = local(day, between(opens * 60 + 30, closes * 60 + 120, *key, "at"), site.zone)
        written += timedelta(milliseconds=between(0, 999, *key, "ms"))
        stars = _stars(draw(*key, "stars"))
        fate = DAILY[n] if told and n < len(DAILY) else ""
        tomorrow = local(day + timedelta(days=1), between(9 * 60, 17 * 60, *key, "tomorrow"), site.zone)
        then = {part: written + timedelta(hours=between(*hours, *key, part)) for part, hours in _DELAYS.items()}
        words = draw(*key, "words") < 0.7
        yield Review(
            f"{parent}/reviews/{_id(*key)}",
            None if draw(*key, "anonymous") < 0.15 else GUESTS[between(0, len(GUESTS) - 1, *key, "guest")],
            written.astimezone(UTC),
            stars,
            COMMENTS[stars - 1][between(0, 1, *key, "comment")] if words else "",
            _when(fate, "answered", tomorrow, then, draw(*key, "answer") < (0.85 if stars < 3 else 0.55)),
            _when(fate, "changed", tomorrow, then, draw(*key, "change") < 0.05),
            stars % 5 + 1,
            _when(fate, "taken back", tomorrow, then, draw(*key, "gone") < 0.04),
        )


_DELAYS = {"answered": (2, 60), "changed": (20, 120), "taken back": (70, 400)}


def _when(fate: str, part: str, tomorrow: datetime, then: Mapping[str, datetime], happens: bool) -> datetime | None:
    """When a part of the story happens: a review that is told of has that part only, on the next day."""
    if fate:
        return tomorrow.astimezone(UTC) if fate == part else None
    return then[part].astimezone(UTC) if happens else None


def _stars(point: float) -> int:
    total = 0
    for stars, share in enumerate(SHARES, 1):
        total += share
        if point * 100 < total:
            return stars
    return len(SHARES)


def _id(*key: object) -> str:
    return "AbFvOq" + "".join(f"{int(draw(*key, 'id', n) * 16**6):06x}" for n in range(3))
