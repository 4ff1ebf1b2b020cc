"""Threads of a move, each with its own connections."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Generic, TypeVar

from psycopg2.extensions import connection as Connection

T = TypeVar("T")


def share_out(
    items: Sequence[T], workers: int, open_: Callable[[], Connection], act: Callable[[Connection, T], None]
) -> None:
    """Act on items side by side, each worker with its own connection. The first failure stops all and is raised."""
    work = Work(items)

    def worker() -> None:
        with closing(open_()) as conn:
            for item in work.taken():
                act(conn, item)

    side_by_side([worker] * min(workers, len(items)), work.failed, "move")


class Work(Generic[T]):
    """What several workers take from, each item once, until nothing is left or one of them has failed."""

    def __init__(self, items: Iterable[T]) -> None:
        self.failed = threading.Event()
        self._waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
        for item in items:
            self._waiting.put(item)

    def taken(self) -> Iterator[T]:
        """The items that one worker gets."""
        while not self.failed.is_set():
            try:
                yield self._waiting.get_nowait()
            except queue.Empty:
                return


def side_by_side(tasks: Sequence[Callable[[], None]], failed: threading.Event, name: str) -> None:
    """Run tasks in threads of their own until all have ended; then the first failure, of which `failed` told the others
    at once, is raised. They are daemons: a process that is told to end does not wait for them."""
    failures: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
            failures.append(error)
            failed.set()

    threads = [threading.Thread(target=run, args=(task,), name=name, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
