"""64-bit ids that carry their business: 19 most significant bits business, 45 bits a per-business number.

`bigint` is signed, so businesses from 2^18 up have negative ids; that is why the range is one function and never
written by hand. The SQL twin is in shard_migrations/shard/0001_baseline.sql; tests hold both to the same answers.
"""

from __future__ import annotations

BUSINESS_BITS = 19
NUMBER_BITS = 45
MAX_BUSINESS = (1 << BUSINESS_BITS) - 1
MAX_NUMBER = (1 << NUMBER_BITS) - 1
_SIGN = 1 << 63


def make_id(business: int, n: int) -> int:
    """The signed 64-bit id of number `n` of `business`.

    Raises:
        ValueError: business outside 0 … 2^19−1 or number outside 0 … 2^45−1.
    """
    if not 0 <= business <= MAX_BUSINESS:
        raise ValueError(f"business {business} is outside 0 … {MAX_BUSINESS}")
    if not 0 <= n <= MAX_NUMBER:
        raise ValueError(f"number {n} is outside 0 … {MAX_NUMBER}")
    unsigned = business << NUMBER_BITS | n
    return unsigned - (1 << 64) if unsigned & _SIGN else unsigned


def business_of(id_: int) -> int:
    """The business in the bits of an id."""
    return id_ >> NUMBER_BITS & MAX_BUSINESS


def id_range(business: int) -> tuple[int, int]:
    """First and last id of a business, both included: the half-open end of the last business would overflow."""
    return make_id(business, 0), make_id(business, MAX_NUMBER)
