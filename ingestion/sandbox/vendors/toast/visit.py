"""One order at a restaurant: what happens to it when, and what its lines come to, in cents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ingestion.sandbox.data import Line, Order
from ingestion.sandbox.money import apportioned, half_up
from ingestion.sandbox.story import Story, in_the_morning
from ingestion.sandbox.trade import between, draw

CLOSEOUT_HOUR = 4
MODIFIER, GIFT_CARD, DELIVERY_FEE, LINE_DISCOUNT, CORRECTION = 150, 2500, 400, 200, 100  # cents
TIP, GRATUITY, DISCOUNT = Decimal("0.18"), Decimal("0.18"), Decimal("0.10")
BY_CARD = frozenset({"tip", "refund_item", "refund_amount", "refund_all", "gift_tender"})
VOID_LAST = frozenset({"void_line", "void_check"})
"""Kinds of story in which the last line is taken off before payment."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What has happened to an order by `since`."""

    since: datetime
    paid: bool = False
    captured: bool = False
    voided: bool = False
    deleted: bool = False
    corrected: bool = False
    refunded: bool = False


@dataclass(frozen=True, slots=True)
class Sold:
    """A selection's amounts, modifier included: before discount, after it, and the tax on that."""

    line: Line
    before: int
    price: int
    tax: int
    modifier: int = 0
    void: bool = False


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment; `back` and `tip_back` are what a refund gave back of it."""

    kind: Literal["CREDIT", "CASH", "GIFTCARD"]
    guid: str
    amount: int
    tip: int = 0
    back: int = 0
    tip_back: int = 0
    void: bool = False


@dataclass(frozen=True)
class Visit:
    """An order with its story; every time and amount that the records need."""

    order: Order
    story: Story

    @property
    def kind(self) -> str:
        """The kind of story."""
        return self.story.kind

    @property
    def by_card(self) -> bool:
        """Whether it is paid by card: seven of ten are."""
        return self.kind in BY_CARD or (self.kind != "void_payment" and draw(self.order.id, "card") < 0.7)

    @property
    def paid_at(self) -> datetime:
        """When it is paid and closed."""
        stay = timedelta(minutes=between(15, 70, self.order.id, "stay"))
        return self.order.instant + (timedelta(hours=20) if self.kind == "left_open" else stay)

    @property
    def captured_at(self) -> datetime:
        """When the card's money is taken: cards are authorised at the table and captured when the day is closed."""
        day = (self.order.at - timedelta(hours=CLOSEOUT_HOUR)).date() + timedelta(days=1)
        closeout = datetime(day.year, day.month, day.day, CLOSEOUT_HOUR, 5, tzinfo=ZoneInfo(self.order.zone))
        return max(closeout.astimezone(UTC), self.paid_at + timedelta(minutes=10))

    @property
    def happens_at(self) -> datetime:
        """When the story goes on: a void in the morning, a refund within six days, a correction on the next day."""
        if self.story.next_day or self.kind == "void_order":
            return in_the_morning(self.order)
        match self.kind:
            case "deleted":
                return self.paid_at + timedelta(hours=1)
            case "edited":
                return self.paid_at + timedelta(days=1, hours=2)
        return self.paid_at + timedelta(hours=between(3, 24 * 6, self.order.id, "refund"))

    def moments(self) -> Iterator[Moment]:
        """The order's states, oldest first."""
        steps: list[tuple[datetime, dict[str, Any]]] = [(self.paid_at, {"paid": True})]
        if self.kind == "left_open":
            steps.append((self.order.instant, {}))
        if self.by_card:
            steps.append((self.captured_at, {"captured": True}))
        match self.kind:
            case "void_order":
                steps.append((self.happens_at, {"voided": True}))
            case "deleted":
                steps.append((self.happens_at, {"deleted": True}))
            case "edited":
                steps.append((self.happens_at, {"corrected": True}))
            case "refund_item" | "refund_amount" | "refund_all":
                steps.append((self.happens_at, {"refunded": True}))
        moment = Moment(self.order.instant)
        for since, change in sorted(steps, key=lambda step: step[0]):
            moment = replace(moment, since=since, **change)
            yield moment

    def lines(self, moment: Moment) -> list[Sold]:
        """The selections. An edited order's first line is too dear by a dollar until it is corrected.

        Tax follows the price: the till's tax of the whole order, by the share that is still to be paid.
        """
        order, kind = self.order, self.kind
        before = [line.product.price * line.quantity for line in order.lines]
        modifiers = [0] * len(before)
        if kind == "modifier":
            modifiers[0] = MODIFIER * order.lines[0].quantity
            before[0] += modifiers[0]
        if kind == "edited" and not moment.corrected:
            before[0] += CORRECTION
        price = list(before)
        if kind == "line_discount":
            price[0] -= LINE_DISCOUNT
        if kind == "comp":
            price[0] = 0
        if kind == "check_discount":
            off = apportioned(half_up(sum(before) * DISCOUNT), before)
            price = [b - o for b, o in zip(before, off, strict=True)]
        void = [kind in VOID_LAST and n == len(before) - 1 for n in range(len(before))]
        live = [0 if v else p for p, v in zip(price, void, strict=True)]
        tax = half_up(Decimal(order.tax) * sum(live) / order.subtotal) if order.tax else 0
        taxes = apportioned(tax, live)
        return [
            Sold(line, b, p, t, m, v)
            for line, b, p, t, m, v in zip(order.lines, before, price, taxes, modifiers, void, strict=True)
        ]

    def charge(self, lines: Sequence[Sold]) -> int:
        """A delivery fee, or the gratuity of a large party."""
        if self.kind == "gratuity":
            return half_up(sum(line.price for line in lines if not line.void) * GRATUITY)
        return DELIVERY_FEE if self.kind == "service_charge" else 0

    def payments(self, moment: Moment, lines: Sequence[Sold]) -> list[Paid]:
        """What was paid. A voided payment keeps its amount."""
        if not moment.paid:
            return []
        live = [line for line in lines if not line.void]
        goods = sum(line.price for line in live)
        due = goods + sum(line.tax for line in live) + self.charge(lines)
        due += GIFT_CARD if self.kind == "gift_card" else 0
        tip = half_up(goods * TIP) if self.kind in ("tip", "refund_all") else 0
        back = self._back(lines, due) if moment.refunded else 0
        key = guid("payment", self.order.id)
        paid = Paid("CREDIT" if self.by_card else "CASH", key, due, tip, back, tip if back == due else 0)
        if self.kind == "gift_tender":
            return [
                Paid("GIFTCARD", guid("gift payment", self.order.id), due // 2),
                replace(paid, amount=due - due // 2),
            ]
        if self.kind == "void_payment":
            return [Paid("CREDIT", guid("void payment", self.order.id), due, void=True), replace(paid, kind="CASH")]
        return [paid]

    def _back(self, lines: Sequence[Sold], due: int) -> int:
        match self.kind:
            case "refund_item":
                return lines[0].price + lines[0].tax
            case "refund_amount":
                return max(100, due // 3)
        return due

    def is_returned(self, line: Sold, moment: Moment) -> bool:
        """Whether the refund names this line."""
        first = line.line is self.order.lines[0]
        return moment.refunded and (self.kind == "refund_all" or (self.kind == "refund_item" and first))


def guid(*key: object) -> str:
    """A version 4 GUID that depends on `key` alone."""
    h = blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).hexdigest()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


known_guid = lru_cache(1024)(guid)
"""`guid` of things that many orders refer to."""


def business_date(at: datetime, zone: str) -> int:
    """yyyymmdd of the restaurant's business day, which ends at the closeout hour."""
    return as_number(at.astimezone(ZoneInfo(zone)).replace(tzinfo=None))


def as_number(local: datetime) -> int:
    """yyyymmdd of the business day of a time on the wall clock."""
    day = local - timedelta(hours=CLOSEOUT_HOUR)
    return day.year * 10000 + day.month * 100 + day.day
