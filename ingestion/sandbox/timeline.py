"""Records that change: each has states, and what a vendor shows is the newest one not after the sandbox's clock."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encoded(record: object) -> bytes:
    """A record as the bytes that go over the wire; Decimals as exact JSON numbers."""
    return _encode(record)


@dataclass(frozen=True, slots=True)
class State:
    """A record as it is from `since` on. `group` is what a vendor filters by (a site).

    Its JSON is made when it is asked for: making all of it at the start would take seconds and hundreds of megabytes.
    """

    since: datetime
    key: str
    group: str
    record: Callable[[], object]

    @property
    def body(self) -> bytes:
        """The record as it goes over the wire."""
        return encoded(self.record())


class Timeline:
    """All states of one kind of record, oldest first."""

    def __init__(self, states: Iterable[State]) -> None:
        self._states = sorted(states, key=lambda s: (s.since, s.key))
        self._times = [s.since for s in self._states]
        self._visible: Callable[[datetime], list[State]] = lru_cache(maxsize=4)(self._at)

    def between(
        self, start: datetime, end: datetime, now: datetime, groups: frozenset[str] | None = None
    ) -> list[State]:
        """Current states last changed in [start, end), in order of change."""
        visible = self._visible(now)
        low = bisect.bisect_left(visible, start, key=lambda s: s.since)
        high = bisect.bisect_left(visible, end, key=lambda s: s.since)
        return [s for s in visible[low:high] if groups is None or s.group in groups]

    def all(self, now: datetime) -> list[State]:
        """Every record that exists at `now`."""
        return self._visible(now)

    def _at(self, now: datetime) -> list[State]:
        newest: dict[str, State] = {}
        for state in self._states[: bisect.bisect_right(self._times, now)]:
            newest[state.key] = state
        return sorted(newest.values(), key=lambda s: (s.since, s.key))
