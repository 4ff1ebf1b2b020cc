"""Minor units to exact major units, for the auditor's arithmetic."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

# ISO 4217: every currency with other than two decimals that a till takes.
NONE = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
)  # fmt: skip
THREE = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
DECIMALS = dict.fromkeys(NONE, 0) | dict.fromkeys(THREE, 3)


def from_minor(money: dict[str, Any] | None) -> Decimal:
    """`{"amount": 1250, "currency": "USD"}` as Decimal("12.50"); a missing amount is zero."""
    if not money or money.get("amount") is None:
        return Decimal(0)
    return Decimal(money["amount"]).scaleb(-_decimals(money.get("currency")))


def rounded(amount: Decimal, currency: str | None) -> Decimal:
    """Half up (away from zero) at the currency's minor unit."""
    return amount.quantize(Decimal(1).scaleb(-_decimals(currency)), ROUND_HALF_UP)


def _decimals(currency: str | None) -> int:
    return DECIMALS.get(currency or "USD", 2)
