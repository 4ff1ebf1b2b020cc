"""What a Lightspeed sale is made of: lines, payments, and its life from cart to receipt. Amounts with VAT inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from ingestion.sandbox.data import Product

VAT = Decimal("0.2")
PaymentKind = Literal["cash", "credit card", "gift card", "credit account"]
CENT = Decimal("0.01")


@dataclass(eq=False)
class Line:
    """A line. `price` is for one; returns have a negative quantity and, where the till was told, the line sold."""

    product: Product | None
    price: int
    quantity: int = 1
    percent_off: Decimal = Decimal(0)
    off_sale: int = 0  # its part of a discount on the whole sale
    parent: Line | None = None
    note: str = ""
    number: int = 0

    @property
    def gross(self) -> Decimal:
        """With VAT, before discounts."""
        return Decimal(self.price * self.quantity).scaleb(-2)

    @property
    def line_discount(self) -> Decimal:
        """With VAT."""
        return self.gross * self.percent_off

    @property
    def sale_discount(self) -> Decimal:
        """With VAT; negative when it is taken back."""
        return Decimal(self.off_sale).scaleb(-2) * (1 if self.quantity > 0 else -1)

    @property
    def total(self) -> Decimal:
        """What the guest pays, with VAT."""
        return self.gross - self.line_discount - self.sale_discount

    def returned(self, *, told: bool = True) -> Line:
        """The same goods, coming back; `told`: the till knows which line they were."""
        parent = self if told else None
        return Line(self.product, self.price, -self.quantity, self.percent_off, self.off_sale, parent)


@dataclass(eq=False)
class Payment:
    """A payment; negative when money is given back, or laid on a gift card or a credit account."""

    kind: PaymentKind
    amount: int  # with the tip
    tip: int = 0
    archived: bool = False  # taken back before the sale was completed
    account: int = 0  # the gift card or credit account
    sold_as: Line | None = None  # the line that a gift card was sold as
    of: Payment | None = None  # the payment that is given back
    number: int = 0


@dataclass(eq=False)
class Sale:
    """A sale, or a cart that never became one."""

    kind: str  # of its story
    created: datetime
    completed: datetime | None
    lines: list[Line] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    shows_as_cart: bool = False
    voided: datetime | None = None
    archived: datetime | None = None
    employee: int = 1
    order: str = ""  # of the dataset
    number: int = 0

    @property
    def total(self) -> Decimal:
        """Rounded once, over all lines."""
        return rounded(sum((line.total for line in self.lines), Decimal(0)))

    @property
    def tax(self) -> Decimal:
        """Rounded once, over all lines."""
        return rounded(sum((tax_in(line.total) for line in self.lines), Decimal(0)))

    @property
    def discount(self) -> Decimal:
        """Without VAT, rounded once, over all lines."""
        given = sum((line.line_discount + line.sale_discount for line in self.lines), Decimal(0))
        return rounded(without_tax(given))


def tax_in(amount: Decimal) -> Decimal:
    """The VAT inside an amount."""
    return amount - without_tax(amount)


def without_tax(amount: Decimal) -> Decimal:
    """An amount less the VAT inside it, to six decimals."""
    return (amount / (1 + VAT)).quantize(Decimal("0.000001"), ROUND_HALF_UP)


def rounded(amount: Decimal) -> Decimal:
    """Half up at the kopiyka."""
    return amount.quantize(CENT, ROUND_HALF_UP)
