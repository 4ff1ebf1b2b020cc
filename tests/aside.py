"""What is done in a forked process: it can be killed, and begins at once, since all that it needs is imported here."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from ingestion import http

LONGEST = 300  # seconds: a forked process that hangs is ended, and says where it hung


@dataclass(frozen=True)
class Ended:
    """A forked process's exit code, that of a signal being negative; where it is 1, `said` is the error."""

    code: int
    said: str


@dataclass(frozen=True)
class Aside:
    """A forked process at work."""

    process_id: int
    said: IO[str]

    def ended(self) -> Ended:
        """Wait for its end."""
        late = threading.Timer(LONGEST, os.kill, (self.process_id, signal.SIGABRT))
        late.start()
        try:
            _, status = os.waitpid(self.process_id, 0)
        finally:
            late.cancel()
        with self.said:
            self.said.seek(0)
            return Ended(os.waitstatus_to_exitcode(status), self.said.read())


def begin_aside(work: Callable[[], Any]) -> Aside:
    """Begin something in a forked process. It has to open its own connections to a database: those here are its
    parent's too. It cannot parse models: dbt's parser has threads, which a fork has not."""
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed when it has ended
    child = os.fork()
    if child:
        return Aside(child, said)
    code = 1
    try:
        faulthandler.enable(said)  # told of SIGABRT, it writes what each thread is at
        gc.freeze()  # what is here already is not copied by a collection
        http._pool.clear()  # connections that the parent uses too
        work()
        code = 0
    except BaseException:  # noqa: BLE001  the parent is to read it
        traceback.print_exc(file=said)
        said.flush()
    finally:
        os._exit(code)


def aside(work: Callable[[], Any]) -> Ended:
    """Do something in a forked process, as `begin_aside` does, and wait for its end."""
    return begin_aside(work).ended()


def was_killed(ended: Ended) -> bool:
    """Whether a forked process was killed; False if it came to its end. Anything else fails the test."""
    assert ended.code in (0, -signal.SIGKILL), f"exit code {ended.code}\n{ended.said}"
    return ended.code != 0


def killed(work: Callable[[], Any]) -> bool:
    """Do something in a forked process that is killed on its way; False if it came to its end."""
    return was_killed(aside(work))


def die() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
