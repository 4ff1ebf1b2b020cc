"""Every step of a process that leaves a trace outside it, told before it is done: where it can be killed, or disturbed.

A step is a request to a vendor, a sync or rename of a file, an SQL statement or a commit, in whichever library. Nobody
has to name the steps: a run that nobody disturbs counts them, and a test goes through the numbers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg2
import urllib3
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

Tell = Callable[[str, str], None]
"""Told (stage, step) before a step is done."""

STAGES = ("extract", "keep", "load", "publish", "transform")
# The innermost of these modules on the way to a step says whose step it is. Others (ingestion.index) serve several.
_OWNERS = (
    ("ingestion.publish", "publish"),
    ("ingestion.gate", "publish"),
    ("ingestion.blocks", "keep"),
    ("ingestion.draft", "keep"),
    ("ingestion.landing", "load"),
    ("ingestion.load", "load"),
    ("ingestion.pending", "load"),
    ("ingestion.statistics", "load"),
    ("ingestion.drift", "load"),
    ("orchestration.loading", "load"),
    ("dlt", "load"),
    ("dbt", "transform"),
    ("orchestration", "transform"),
    ("ingestion.run", "extract"),
    ("ingestion.page", "extract"),
    ("ingestion.http", "extract"),
    ("ingestion.extract", "extract"),
)


def stage_of(frame: FrameType | None) -> str:
    """The stage of the way that a step belongs to."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        for name, stage in _OWNERS:
            if module == name or module.startswith(f"{name}."):
                return stage
        frame = frame.f_back
    return "load"  # a thread of dlt's or psycopg2's own: dbt's have its modules on the way


def watch(tell: Tell) -> None:
    """From now on, tell of every step of this process. There is no way back: for a forked child."""

    def told(step: str) -> None:
        tell(stage_of(sys._getframe(2)), step)

    class WatchedCursor(Cursor):
        def execute(self, query: Any, values: Any = None) -> None:
            text = query if isinstance(query, str) else str(query)
            told(f"sql {' '.join(text.split())[:60]}")
            super().execute(query, values)

        def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
            told("copy")
            super().copy_expert(sql, file, size)

    class WatchedConnection(Connection):
        def commit(self) -> None:  # `with connection` ends with it too
            told("commit")
            super().commit()

    true_connect = psycopg2.connect

    def connect(*arguments: Any, **options: Any) -> Connection:
        options = {"connection_factory": WatchedConnection, "cursor_factory": WatchedCursor} | options
        made: Connection = true_connect(*arguments, **options)
        return made

    psycopg2.connect = connect

    def before(owner: Any, name: str, step: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if stage_of(sys._getframe(1)) == "keep" or step == "request":
                told(step)
            return original(*arguments, **options)

        setattr(owner, name, watched)

    before(os, "fsync", "sync")
    before(Path, "replace", "rename")
    before(urllib3.connectionpool.HTTPConnectionPool, "urlopen", "request")


class At:
    """Acts once, before the n-th step of this process; where it has fewer, never. `seen`: the steps by now."""

    def __init__(self, nth: int, act: Callable[[], None]) -> None:
        self._nth, self._act = nth, act
        self._lock = threading.Lock()
        self.seen: list[tuple[str, str]] = []

    def __call__(self, stage: str, step: str) -> None:
        with self._lock:
            self.seen.append((stage, step))
            due = len(self.seen) == self._nth
        if due:
            self._act()
