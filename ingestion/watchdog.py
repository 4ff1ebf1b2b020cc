"""Ends an exchange that takes too long as a whole.

A socket's timeout runs anew with each byte: a vendor that sends one byte every few seconds would hold a place for
hours, in its headers as in its body. Here a timer shuts the socket of the exchange down, which ends the read.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_now = threading.local()


class Watch:
    """One exchange; `late` says that it was ended."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.late = False

    def cut(self) -> None:
        """End it."""
        self.late = True
        if self.socket is not None:
            with contextlib.suppress(OSError):  # it ended by itself meanwhile
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


@contextmanager
def watched(seconds: float) -> Iterator[Watch]:
    """Whatever this thread's exchange does within the block ends after so many seconds."""
    watch = _now.watch = Watch()
    if seconds == float("inf"):
        yield watch
        return
    timer = threading.Timer(seconds, watch.cut)
    timer.daemon = True
    timer.start()
    try:
        yield watch
    finally:
        timer.cancel()


class _Told:
    """A connection that tells which socket it uses."""

    sock: socket.socket | None

    def request(self, *args: Any, **more: Any) -> None:
        super().request(*args, **more)  # type: ignore[misc]
        watch: Watch | None = getattr(_now, "watch", None)
        if watch is not None:
            watch.socket = self.sock
            if watch.late:  # while it connected
                watch.cut()


class _Http(_Told, HTTPConnection):
    pass


class _Https(_Told, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


def pool(**settings: Any) -> urllib3.PoolManager:
    """A pool of connections whose exchanges can be watched."""
    made = urllib3.PoolManager(**settings)
    made.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return made
