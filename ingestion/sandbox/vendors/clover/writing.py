"""How Clover writes ids and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b

MERCHANT = "PH1LADE1PHA13"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cid(*key: object) -> str:
    """One of Clover's ids, thirteen letters and digits, which depends on `key` alone."""
    number = int.from_bytes(blake2b("\x1f".join(map(str, key)).encode(), digest_size=9).digest(), "big")
    return "".join(ALPHABET[number >> 5 * n & 31] for n in range(13))


def ref(*key: object) -> dict[str, str]:
    """A reference to another object."""
    return {"id": cid(*key)}


def ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return (at - EPOCH) // timedelta(milliseconds=1)
