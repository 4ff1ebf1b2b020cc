"""What is done in a forked process: it can be killed, and begins at once, since all that it needs is imported here."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingestion import http

LONGEST = 600  # seconds until SIGALRM ends a forked process: one that hangs is not waited for


@dataclass(frozen=True)
class Ended:
    """A forked process's exit code, that of a signal being negative; where it is 1, `said` is the error."""

    code: int
    said: str


def aside(work: Callable[[], Any]) -> Ended:
    """Do something in a forked process. It has to open its own connections to a database: those here are its parent's
    too. It cannot parse models: dbt's parser has threads, which a fork has not."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(LONGEST)
                gc.freeze()  # what is here already is not copied by a collection
                http._pool.clear()  # connections that the parent uses too
                work()
                code = 0
            except BaseException:  # noqa: BLE001  the parent is to read it
                traceback.print_exc(file=said)
                said.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), said.read())


def killed(work: Callable[[], Any]) -> bool:
    """Do something in a forked process that is killed on its way; False if it came to its end."""
    ended = aside(work)
    assert ended.code in (0, -signal.SIGKILL), ended.said or f"exit code {ended.code}"
    return ended.code != 0


def die() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
