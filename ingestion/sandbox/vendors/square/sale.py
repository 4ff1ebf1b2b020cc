"""What one order of a jaffle shop comes to, in cents: its lines' parts of discount and tax, charges, tip, payments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Literal

from ingestion.sandbox.data import Line, Order
from ingestion.sandbox.money import apportioned, half_up
from ingestion.sandbox.story import Story
from ingestion.sandbox.trade import draw

MODIFIER = ("MOD-CHEESE", "extra cheese", 75)
GIFT_CARD, PACKING = 2500, 150
TIP, GRATUITY, DISCOUNT = Decimal("0.15"), Decimal("0.18"), Decimal("0.10")
Tender = Literal["CARD", "CASH", "SQUARE_GIFT_CARD"]


@dataclass(frozen=True, slots=True)
class Part:
    """One line of an order. `gross` has the modifier in it."""

    line: Line
    gross: int
    modifier: int
    discount: int
    tax: int

    @property
    def total(self) -> int:
        """What the line adds to the order's total."""
        return self.gross - self.discount + self.tax


@dataclass(frozen=True, slots=True)
class Sale:
    """The amounts of an order. `charge` is a service charge or an automatic gratuity."""

    parts: Sequence[Part]
    gift_card: int = 0
    charge: int = 0
    tip: int = 0

    @property
    def gross(self) -> int:
        """Goods before discount, without gift cards."""
        return sum(part.gross for part in self.parts)

    @property
    def discount(self) -> int:
        """Of the whole order."""
        return sum(part.discount for part in self.parts)

    @property
    def tax(self) -> int:
        """Of the whole order."""
        return sum(part.tax for part in self.parts)

    @property
    def total(self) -> int:
        """Gross − discount + tax + gift card + charge + tip."""
        return sum(part.total for part in self.parts) + self.gift_card + self.charge + self.tip


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment: `amount` without the tip."""

    id: str
    tender: Tender
    amount: int
    tip: int = 0


def sale(order: Order, story: Story, rate: Decimal, *, corrected: bool = True, closed: bool = True) -> Sale:
    """An order's amounts. Before it is `corrected`, an edited order has its last line twice; tips come at the end.

    The tax of an order that is as in the dataset is the dataset's; else it is `rate` of what is left after discount,
    half up. Order-level amounts are spread over the lines as Square does it: pro rata, the remainder on the largest.
    """
    kind = story.kind
    lines = order.lines
    if kind == "edited" and not corrected:
        lines = (*lines, Line(f"{lines[-1].id}-again", lines[-1].product, lines[-1].quantity))
    modifiers = [MODIFIER[2] * line.quantity if kind == "modifier" and n == 0 else 0 for n, line in enumerate(lines)]
    gross = [line.product.price * line.quantity + m for line, m in zip(lines, modifiers, strict=True)]
    discounts = apportioned(half_up(sum(gross) * DISCOUNT) if kind == "discount" else 0, gross)
    taxed = [g - d for g, d in zip(gross, discounts, strict=True)]
    tax = order.tax if sum(taxed) == order.subtotal else half_up(sum(taxed) * rate)
    parts = [
        Part(line, g, m, d, t)
        for line, g, m, d, t in zip(lines, gross, modifiers, discounts, apportioned(tax, taxed), strict=True)
    ]
    charge = {"service_charge": PACKING, "auto_gratuity": half_up(sum(gross) * GRATUITY)}.get(kind, 0)
    tip = half_up(sum(gross) * TIP) if closed and kind in ("tip", "refund_all") else 0
    return Sale(parts, GIFT_CARD if kind == "gift_card" else 0, charge, tip)


def payments(order: Order, story: Story, sold: Sale) -> list[Paid]:
    """How an order is paid: by card or in cash; one in 500 half with a gift card. Nothing to pay, no payment."""
    if not sold.total:
        return []
    key, due = token("payment", order.id), sold.total - sold.tip
    if story.kind == "gift_tender":
        return [
            Paid(token("gift payment", order.id), "SQUARE_GIFT_CARD", due // 2),
            Paid(key, "CARD", due - due // 2, sold.tip),
        ]
    by_card = sold.tip or story.kind == "declined" or draw(order.id, "card") < 0.8
    return [Paid(key, "CARD" if by_card else "CASH", due, sold.tip)]


def token(kind: str, key: str) -> str:
    """An id as opaque as Square's, which depends on `kind` and `key` alone."""
    return blake2b(f"{kind}\x1f{key}".encode(), digest_size=14).hexdigest()
