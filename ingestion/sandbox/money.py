"""Whole cents: rounding half up, and sharing an amount out so that the parts add up to it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal


def half_up(amount: Decimal) -> int:
    """Cents, rounded half up."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def apportioned(amount: int, weights: Sequence[int]) -> list[int]:
    """`amount` split pro rata in whole cents; what rounding leaves goes to the largest part."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    parts = [amount * w // total for w in weights]
    parts[max(range(len(weights)), key=lambda n: weights[n])] += amount - sum(parts)
    return parts
