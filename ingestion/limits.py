"""How long a run may take: a moment that the whole run shares, and that can be brought forward to end it."""

import threading
import time


class Until:
    """A moment after which nothing is begun any more; without `seconds` there is none until `end`."""

    def __init__(self, seconds: float | None = None) -> None:
        self._moment = None if seconds is None else time.monotonic() + seconds
        self._ended = threading.Event()

    @property
    def left(self) -> float:
        """Seconds left; infinite where there is no end, never below 0."""
        if self._ended.is_set():
            return 0.0
        return float("inf") if self._moment is None else max(0.0, self._moment - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the moment has come."""
        return self.left <= 0

    def end(self) -> None:
        """It is over now; whoever sleeps is woken."""
        self._ended.set()

    def sleep(self, seconds: float) -> None:
        """Sleep, at most until it is over."""
        self._ended.wait(min(seconds, self.left))
