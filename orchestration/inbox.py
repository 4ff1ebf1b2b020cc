"""What threads tell the one that waits for worker processes: a queue that shows as something to wait for."""

from __future__ import annotations

import multiprocessing as mp
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Put by any thread, emptied by one. `reader` can be waited for; it is ready while there is something."""

    def __init__(self) -> None:
        self.reader, self._writer = mp.Pipe(duplex=False)
        self._items: deque[T] = deque()
        self._lock = threading.Lock()

    def put(self, item: T) -> None:
        """Leave something."""
        with self._lock:
            if not self._items:
                self._writer.send_bytes(b".")
            self._items.append(item)

    def take(self) -> list[T]:
        """All that was left."""
        with self._lock:
            items = list(self._items)
            self._items.clear()
            if items:
                self.reader.recv_bytes()
            return items
