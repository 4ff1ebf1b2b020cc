"""What one order comes to, in cents, by Clover's own rules.

Each article is a line of its own, whatever its number. A line's percentage is of its price with modifications; a
percentage of the order is of what is left after the lines' discounts; tax is of the rest, by rate; a service charge is
of the rest too, before tax. Tips are beside the total, on the payment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ingestion.sandbox.data import Line, Order
from ingestion.sandbox.money import apportioned, half_up
from ingestion.sandbox.story import Story
from ingestion.sandbox.trade import between

MODIFICATION = ("extra cheese", 75)
GIFT_CARD, COUPON, BIRTHDAY, NEIGHBOURS = 2500, 200, Decimal("0.25"), Decimal("0.10")
TIP, PACKING, GRATUITY = Decimal("0.15"), Decimal("0.05"), Decimal("0.18")
GUESTS = (101, 260)
"""How many lines a catered order has: more than Clover shows inside an order."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One line: price with its modification, its own discount, its part of the order's, and its tax."""

    line: Line
    modification: int = 0
    own_discount: int = 0
    order_discount: int = 0
    tax: int = 0
    exchanged: bool = False
    replaces: str = ""

    @property
    def gross(self) -> int:
        """Price with the modification."""
        return self.line.product.price + self.modification

    @property
    def net(self) -> int:
        """After all discounts, before tax."""
        return self.gross - self.own_discount - self.order_discount


@dataclass(frozen=True, slots=True)
class Check:
    """An order's amounts; `voided` are the lines that were taken off before payment."""

    rung: Sequence[Rung]
    voided: Sequence[Rung] = field(default=())
    gift_card: int = 0
    order_discount: int = 0
    tax: int = 0
    charge: int = 0
    tip: int = 0

    @property
    def sold(self) -> list[Rung]:
        """Lines that are paid for."""
        return [rung for rung in self.rung if not rung.exchanged]

    @property
    def total(self) -> int:
        """As Clover's order says it: without the tip."""
        return sum(rung.net for rung in self.sold) + self.gift_card + self.tax + self.charge


def check(order: Order, story: Story, rate: Decimal, *, closed: bool = True, tipped: bool = True) -> Check:
    """An order's amounts. What is voided is taken off when it is `closed`; a tip that is written down later is there
    once it is `tipped`.

    The tax of an order that is as in the dataset is the dataset's; else it is `rate` of what is left, half up.
    """
    kind, lines, voided = story.kind, single(order.lines), list[Rung]()
    if kind == "catering":
        count = between(*GUESTS, order.id, "guests")
        lines = [replace(lines[n % len(lines)], id=f"{order.id}/{n}") for n in range(count)]
    if kind == "void_line" and closed:
        voided.append(Rung(lines.pop()))
    rung = [Rung(line) for line in lines]
    if kind == "modification":
        rung[0] = replace(rung[0], modification=MODIFICATION[1])
    if kind == "line_discount":
        rung[0] = replace(rung[0], own_discount=half_up(rung[0].gross * BIRTHDAY))
    if kind == "exchange":
        new = Rung(replace(lines[-1], id=f"{lines[-1].id}-new"), replaces=lines[-1].id)
        rung = [*rung[:-1], replace(rung[-1], exchanged=True), new]
    sold = [one for one in rung if not one.exchanged]
    subtotal = sum(one.net for one in sold)
    off = {"discount": half_up(subtotal * NEIGHBOURS), "coupon": min(COUPON, subtotal)}.get(kind, 0)
    parts = apportioned(off, [one.net for one in sold])
    left = subtotal - off
    tax = order.tax if left == order.subtotal else half_up(left * rate)
    taxes = apportioned(tax, [one.net - part for one, part in zip(sold, parts, strict=True)])
    shares = {one.line.id: (part, t) for one, part, t in zip(sold, parts, taxes, strict=True)}
    rung = [
        one if one.exchanged else replace(one, order_discount=shares[one.line.id][0], tax=shares[one.line.id][1])
        for one in rung
    ]
    charge = {"service_charge": half_up(left * PACKING), "gratuity": half_up(left * GRATUITY)}.get(kind, 0)
    tip = half_up(left * TIP) if kind in ("tip", "refund_all") or (kind == "tip_later" and tipped) else 0
    return Check(rung, voided, GIFT_CARD if kind == "gift_card" else 0, off, tax, charge, tip)


def single(lines: Sequence[Line]) -> list[Line]:
    """A line for each article."""
    return [
        line if line.quantity == 1 else Line(f"{line.id}-{n}", line.product)
        for line in lines
        for n in range(line.quantity)
    ]
