"""Minor units to exact major units, for the auditor's arithmetic."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

# ISO 4217: every currency with other than two decimals.
DECIMALS = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "XAF": 0, "XOF": 0} | {"BHD": 3, "KWD": 3, "OMR": 3}


def from_minor(money: dict[str, Any] | None) -> Decimal:
    """`{"amount": 1250, "currency": "USD"}` as Decimal("12.50"); a missing amount is zero."""
    if not money or money.get("amount") is None:
        return Decimal(0)
    return Decimal(money["amount"]).scaleb(-DECIMALS.get(money.get("currency", "USD"), 2))
