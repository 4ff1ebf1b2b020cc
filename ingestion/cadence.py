"""When a stream is read next, and when a source is asked again after failures: pure functions of time.

Streams that are read once an hour or less often have a phase of their own, drawn from their name: of 400 sources that
were connected on one morning, a sixth is due at each ten minutes of the hour, not all at its beginning. Streams of
every cycle have none: they are due in each, and taken in turn (ingestion/turns.py).
"""

import hashlib
from datetime import UTC, datetime, timedelta

from ingestion.errors import Turn

TICK = timedelta(minutes=10)  # between two cycles
GRACE = 10  # a tenth of its cadence may a stream be early
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# First wait and longest wait by whose turn it is. A refused credential waits for a person: asking again and again gets
# accounts locked, and some vendors count refusals against everyone's limits.
_WAITS: dict[Turn, tuple[timedelta, timedelta]] = {
    "vendor": (timedelta(minutes=10), timedelta(hours=6)),
    "data": (timedelta(minutes=10), timedelta(hours=6)),
    "credentials": (timedelta(hours=6), timedelta(hours=24)),
    "config": (timedelta(hours=6), timedelta(hours=24)),
}
_BREAKER = (timedelta(minutes=10), timedelta(hours=2))


def share(name: object) -> float:
    """A number in [0, 1) that is a name's own: the same in every process."""
    return int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=6).digest()) / 2**48


def next_due(source_id: int, stream: str, cadence: timedelta, now: datetime) -> datetime:
    """When a stream that was read at `now` is due again: at its own phase of its cadence, never much sooner than a
    quarter of it. A stream read late stays on its phase: lateness does not add up."""
    if cadence <= TICK:
        return now + cadence
    phase = cadence * share(f"{source_id} {stream}")
    latest = now + cadence + cadence / GRACE  # early by the grace, it must not be due again at once
    aligned = latest - (latest - _EPOCH - phase) % cadence
    return max(aligned, now + cadence / 4)


def wait_after(failures: int, turn: Turn, source_id: int) -> timedelta | None:
    """How long a source waits after so many failures in a row; None: a fault of ours, for which no source waits.

    The first failure waits for the next cycle only: most are over by then. From the second on the wait doubles up to a
    cap, a tenth more or less for each source, so that those that failed together do not come back together.
    """
    if turn not in _WAITS:
        return None
    return _doubled(*_WAITS[turn], failures - 1) * (0.9 + 0.2 * share(source_id))


def breaker_wait(trips: int) -> timedelta:
    """How long a vendor is left alone after so many trips in a row."""
    return _doubled(*_BREAKER, trips)


def _doubled(first: timedelta, longest: timedelta, times: int) -> timedelta:
    return min(longest, first * 2 ** min(times - 1, 20)) if times > 0 else timedelta(0)
