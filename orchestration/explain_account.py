"""A number with everything behind it, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from orchestration.explain_history import Key, Version

Amounts = dict[str, Decimal]  # by currency; "" where the model has none


@dataclass(frozen=True)
class Part:
    """What a fact of a record contributes; `versions`: of the record and those that belong together with it."""

    fact: str
    source_id: int
    record: str
    amounts: Amounts
    versions: tuple[Version, ...] = ()


@dataclass(frozen=True)
class Change:
    """What a block did to the number: by fact, how many records and how much."""

    at: datetime
    block_id: UUID | None
    fact: str
    amounts: Amounts
    records: tuple[Key, ...]
    after: Amounts


@dataclass(frozen=True)
class Decision:
    """What a person said of the place: a map or a setting."""

    at: datetime
    by: str
    what: str


@dataclass
class Account:
    """A number and everything behind it.

    `number`: as the table holds it; `parts` and `apart` (what comes from no record) add up to it if `adds_up`.
    `history`: None where it cannot be told, `why_not` says why.
    """

    model: str
    column: str
    number: Amounts
    parts: tuple[Part, ...]
    apart: Amounts
    adds_up: bool
    decisions: tuple[Decision, ...] = ()
    history: tuple[Change, ...] | None = None
    why_not: str = ""


def said(amounts: Amounts) -> str:
    """Amounts for people: 1,234.50 USD."""
    told = [f"{_plain(amount)} {currency}".strip() for currency, amount in sorted(amounts.items())]
    return " and ".join(told) or "0"


def _plain(amount: Decimal) -> str:
    exact = amount.normalize()
    return f"{exact:,.2f}" if exact.as_tuple().exponent >= -2 else f"{exact:,f}"  # type: ignore[operator]


def total(every: Iterable[Amounts]) -> Amounts:
    """Sums by currency."""
    found: Amounts = {}
    for amounts in every:
        for currency, amount in amounts.items():
            found[currency] = found.get(currency, Decimal(0)) + amount
    return found


def less(left: Amounts, right: Amounts) -> Amounts:
    """What is in `left` beyond `right`, by currency; nothing where they are equal."""
    both = {currency: left.get(currency, Decimal(0)) - right.get(currency, Decimal(0)) for currency in {*left, *right}}
    return {currency: amount for currency, amount in both.items() if amount}


def same(left: Amounts, right: Amounts) -> bool:
    """Whether they are equal."""
    return not less(left, right)
