"""Rate budgets: one per credential, shared by every thread and source that uses it."""

import threading
import time
from collections import deque
from collections.abc import Callable


class Budget:
    """At most `requests` in any span of `seconds`. Callers are served in the order they ask."""

    def __init__(self, requests: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sent: deque[float] = deque(maxlen=requests)  # when the last requests were, or will be, sent
        self._seconds = seconds
        self._clock = clock
        self._not_before = clock()
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take one request; returns the seconds to wait before it may be sent."""
        with self._lock:
            now = self._clock()
            at = max(now, self._not_before)
            if len(self._sent) == self._sent.maxlen:
                at = max(at, self._sent[0] + self._seconds)
            self._sent.append(at)
            return at - now

    def pause(self, seconds: float) -> None:
        """Nobody may send for that long: the vendor said so."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)


_budgets: dict[tuple[str, str, int, float], Budget] = {}
_lock = threading.Lock()


def shared_budget(integration: str, credential: str, requests: int, seconds: float) -> Budget:
    """The process's budget for a credential (given as a fingerprint, not as the secret)."""
    with _lock:
        return _budgets.setdefault((integration, credential, requests, seconds), Budget(requests, seconds))
