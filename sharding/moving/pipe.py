"""Binary COPY from one server into another, without an early end."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

_BUFFER = 2**18
"""Bytes at once. COPY gives them row by row: handed on like that, two million narrow rows take 6 s instead of 1."""
_PATIENCE = 600.0


def transfer(
    source: Connection,
    into: Cursor,
    query: sql.Composable,
    target: sql.Composable,
    breath: Callable[[], None] | None = None,
) -> int:
    """Binary COPY of a query's rows into a table of another server; returns how many there were.

    The target's COPY ends only after the source has said that it gave all: one that was cut off at a row's end would
    else be taken for complete.

    Args:
        breath: called after every piece; where it waits, both servers do.
    """
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=_BUFFER) as end, source.cursor() as cursor:
                cursor.copy_expert(sql.SQL("copy ({}) to stdout (format binary)").format(query), end)
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
            failures.append(error)

    with os.fdopen(reading, "rb", buffering=0) as end:
        reader = threading.Thread(target=read, name="move reader", daemon=True)
        reader.start()
        pieces = _Pieces(end, reader, failures, breath or (lambda: None))
        try:
            into.copy_expert(sql.SQL("copy {} from stdin (format binary)").format(target), pieces, size=_BUFFER)
        except psycopg2.Error as error:
            if pieces.saw_failure:
                raise failures[0] from error  # the cause; COPY only says that it could not read
            raise
        finally:
            end.close()  # ends the reader too, where it is not at its end
            reader.join(_PATIENCE)
    return int(into.rowcount)


class _Pieces(io.RawIOBase):
    """What comes out of a pipe, with the writer's error instead of an early end."""

    def __init__(
        self, end: io.FileIO, writer: threading.Thread, failures: list[BaseException], breath: Callable[[], None]
    ) -> None:
        super().__init__()
        self._end, self._writer, self._failures, self._breath = end, writer, failures, breath
        self.saw_failure = False

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes; none only where the writer has given all."""
        self._breath()
        piece = self._end.read(size)
        if not piece:
            self._writer.join(_PATIENCE)
            if self._failures:
                self.saw_failure = True
                raise self._failures[0]
        return piece or b""
