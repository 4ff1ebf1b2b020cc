"""Version 7 UUIDs (RFC 9562): the first 48 bits are milliseconds, so ids sort by time. The standard library has them
from Python 3.14."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """A new version 7 UUID, greater than every one this process made before, also within a millisecond."""
    global _last
    with _lock:
        _last = max(_last + 1, (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(10)) >> 6)
        value = _last
    high, low = value >> 62, value & (1 << 62) - 1  # 48 bits of time and 12 random, 62 random
    return uuid.UUID(int=(high >> 12) << 80 | 7 << 76 | (high & 0xFFF) << 64 | 2 << 62 | low)
