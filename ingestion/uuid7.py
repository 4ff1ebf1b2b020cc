"""Version 7 UUIDs (RFC 9562): the first 48 bits are milliseconds, so ids sort by time. The standard library has them
from Python 3.14."""

import os
import time
import uuid


def uuid7() -> uuid.UUID:
    """A new version 7 UUID."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62)
