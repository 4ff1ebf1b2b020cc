"""Mailings of an account and what has become of each by a given time: opens come in for weeks, most on the first day.

A mailing goes out every Tuesday at ten on the account's wall clock, to a few guests more than the week before; a few
addresses refuse it. One mailing is deleted by its maker on the night after the time at which a new sandbox's clock
stands, and its report with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.sandbox.data import OPENS_AT
from ingestion.sandbox.trade import between, draw

TUESDAY = 1
ARRIVED = ((1, 22), (3, 45), (6, 60), (12, 72), (24, 82), (48, 89), (96, 94), (240, 98), (720, 100))
"""Hours after sending, and percent of all opens (and of what follows from them) that have come by then."""
RATE = Decimal("0.000001")


@dataclass(frozen=True)
class Mailing:
    """One campaign of an account. `gone_at`: when its maker deleted it."""

    key: str
    title: str
    subject: str
    sent_at: datetime
    sent: int
    gone_at: datetime | None = None

    def is_shown(self, now: datetime) -> bool:
        """Whether it was sent and is still there."""
        return self.sent_at <= now and (self.gone_at is None or now < self.gone_at)

    def counts(self, now: datetime) -> Mapping[str, int]:
        """What has become of it by `now`; whole numbers that never fall."""
        percent = _arrived(now - self.sent_at)
        hard, soft = self._share("hard", 4, 14), self._share("soft", 6, 20)
        delivered = self.sent - hard - soft
        unique = delivered * between(38, 52, self.key, "opens") * percent // 10_000
        clickers = unique * between(9, 22, self.key, "clicks") // 100
        return {
            "hard": hard,
            "soft": soft,
            "delivered": delivered,
            "unique_opens": unique,
            "opens": unique + unique * between(20, 60, self.key, "again") // 100,
            "clickers": clickers,
            "unique_clicks": clickers + clickers // 4,
            "clicks": clickers + clickers // 2,
            "unsubscribed": self._share("left", 1, 5) * percent // 100,
            "abuse": int(draw(self.key, "abuse") < 0.2 and percent > 50),
            "orders": clickers * between(20, 45, self.key, "orders") // 100,
        }

    def _share(self, what: str, low: int, high: int) -> int:
        """Some per mille of the mails sent."""
        return self.sent * between(low, high, self.key, what) // 1000


def _arrived(age: timedelta) -> int:
    """Percent of all opens that have come by then."""
    hours, before, reached = Decimal(str(age.total_seconds())) / 3600, 0, 0
    for until, percent in ARRIVED:
        if hours < until:
            return reached + int((percent - reached) * (hours - before) / (until - before))
        before, reached = until, percent
    return reached


@dataclass(frozen=True)
class Account:
    """A Mailchimp account with one audience."""

    key: str
    api_key: str
    name: str
    timezone: str
    currency: str | None  # of the connected shop
    basket: Decimal  # mean order that comes of a mailing
    guests: int
    subjects: Sequence[tuple[str, str]]
    days: Sequence[date]

    @cached_property
    def audience(self) -> str:
        """Mailchimp's id of the list."""
        return _key(self.key, "list")

    @cached_property
    def mailings(self) -> Sequence[Mailing]:
        """All mailings of the story, oldest first."""
        tuesdays = [day for day in self.days if day.weekday() == TUESDAY]
        made = []
        for n, day in enumerate(tuesdays):
            title, subject = self.subjects[n % len(self.subjects)]
            key = _key(self.key, day)
            sent_at = datetime(day.year, day.month, day.day, 10, tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)
            sent_at += timedelta(seconds=between(3, 50, key, "second"))
            size = self.guests + 7 * n + between(-3, 3, key, "size")
            gone_at = OPENS_AT + timedelta(hours=15) if n == 1 else None
            made.append(Mailing(key, f"{title} {day:%Y-%m-%d} (synthetic)", subject, sent_at, size, gone_at))
        return made

    def revenue(self, mailing: Mailing, now: datetime) -> Decimal:
        """What the orders that came of a mailing are worth."""
        orders = mailing.counts(now)["orders"]
        share = Decimal(between(80, 120, mailing.key, "basket")) / 100
        return (self.basket * share * orders).quantize(Decimal("0.01"))

    def report(self, mailing: Mailing, now: datetime) -> dict[str, Any]:
        """The report of a mailing at `now`. Its own rates are 0 to 1, those of the list 0 to 100."""
        found = mailing.counts(now)
        list_opens, list_clicks = self.list_rates(now)
        opened, clicked = found["unique_opens"] > 0, found["clickers"] > 0
        return {
            "id": mailing.key,
            "campaign_title": mailing.title,
            "type": "regular",
            "list_id": self.audience,
            "list_is_active": True,
            "list_name": f"{self.name} guests",
            "subject_line": mailing.subject,
            "preview_text": "",
            "emails_sent": mailing.sent,
            "abuse_reports": found["abuse"],
            "unsubscribed": found["unsubscribed"],
            "send_time": text(mailing.sent_at),
            "bounces": {"hard_bounces": found["hard"], "soft_bounces": found["soft"], "syntax_errors": 0},
            "forwards": {"forwards_count": 0, "forwards_opens": 0},
            "opens": {
                "opens_total": found["opens"],
                "unique_opens": found["unique_opens"],
                "open_rate": _ratio(found["unique_opens"], found["delivered"]),
                "last_open": text(_last(mailing, now, "unique_opens")) if opened else "",
            },
            "clicks": {
                "clicks_total": found["clicks"],
                "unique_clicks": found["unique_clicks"],
                "unique_subscriber_clicks": found["clickers"],
                "click_rate": _ratio(found["clickers"], found["delivered"]),
                "last_click": text(_last(mailing, now, "clickers")) if clicked else "",
            },
            "facebook_likes": {"recipient_likes": 0, "unique_likes": 0, "facebook_likes": 0},
            "list_stats": {
                "sub_rate": 7,
                "unsub_rate": 3,
                "open_rate": list_opens * 100,
                "click_rate": list_clicks * 100,
            },
            "timeseries": _timeseries(mailing, now),
            "ecommerce": {
                "total_orders": found["orders"],
                "total_spent": self.revenue(mailing, now) * Decimal("1.2"),
                "total_revenue": self.revenue(mailing, now),
                **({"currency_code": self.currency} if self.currency else {}),
            },
            "delivery_status": {"enabled": False},
        }

    def list_rates(self, now: datetime) -> tuple[Decimal, Decimal]:
        """Opens and clicks of the audience over all mailings, as fractions of the mails delivered."""
        counts = [mailing.counts(now) for mailing in self.mailings if mailing.is_shown(now)]
        delivered = sum(c["delivered"] for c in counts)
        return _ratio(sum(c["unique_opens"] for c in counts), delivered), _ratio(
            sum(c["clickers"] for c in counts), delivered
        )


def text(moment: datetime) -> str:
    """An instant as Mailchimp writes it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _ratio(part: int, whole: int) -> Decimal:
    return (Decimal(part) / whole).quantize(RATE) if whole else Decimal(0)


def _last(mailing: Mailing, now: datetime, count: str) -> datetime:
    """The hour in which a count last grew."""
    low, high = 0, int((now - mailing.sent_at) / timedelta(hours=1))
    reached = mailing.counts(now)[count]
    while low < high:
        middle = (low + high) // 2
        if mailing.counts(mailing.sent_at + timedelta(hours=middle + 1))[count] >= reached:
            high = middle
        else:
            low = middle + 1
    return min(now, mailing.sent_at + timedelta(hours=low + 1))


def _timeseries(mailing: Mailing, now: datetime) -> list[dict[str, Any]]:
    """What came in each of the first 24 hours."""
    begin = mailing.sent_at.replace(minute=0, second=0)
    hours = [begin + timedelta(hours=n) for n in range(24) if begin + timedelta(hours=n) <= now]
    of: Callable[[datetime], Mapping[str, int]] = lambda at: mailing.counts(max(mailing.sent_at, min(at, now)))  # noqa: E731
    rows = []
    for n, hour in enumerate(hours):
        before, after = of(hour), of(hour + timedelta(hours=1))
        rows.append(
            {
                "timestamp": text(hour),
                "emails_sent": mailing.sent if n == 0 else 0,
                "unique_opens": after["unique_opens"] - before["unique_opens"],
                "recipients_clicks": after["clickers"] - before["clickers"],
            }
        )
    return rows


def _key(*key: object) -> str:
    return f"{int(draw(*key) * 16**10):010x}"
