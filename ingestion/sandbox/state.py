"""What a sandbox keeps in `<home>/sandbox`: its clock, its ports, its faults, and the lock of its running process."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Folder:
    """The sandbox's files under the home of an installation."""

    home: Path

    @property
    def path(self) -> Path:
        """`<home>/sandbox`."""
        return self.home / "sandbox"

    @property
    def clock(self) -> Path:
        """`{"now": <ISO time>}`."""
        return self.path / "clock.json"

    @property
    def ports(self) -> Path:
        """`{<vendor>: <port>}`, kept over restarts so that base URLs stay."""
        return self.path / "ports.json"

    @property
    def faults(self) -> Path:
        """`{<vendor>: {"fault": …}}`."""
        return self.path / "faults.json"

    @property
    def lock(self) -> Path:
        """Locked while the servers run; holds their process id."""
        return self.path / "server.lock"

    @property
    def log(self) -> Path:
        """What the servers print."""
        return self.path / "server.log"


def read(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file."""
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return found


def write(file: Path, value: object) -> None:
    """Replace a file's content in one step: a reader sees the old or the new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value))
    partial.replace(file)


def hold(folder: Folder) -> IO[str] | None:
    """Take the lock of the running process and keep it while the file is open; None where another has it.

    The lock ends with its process, however that ends, so a process id is never trusted after a crash.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    file = folder.lock.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def running(folder: Folder) -> int | None:
    """The process id of the running servers; None where none run."""
    try:
        with folder.lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        text = folder.lock.read_text()
        return int(text) if text else None
    return None
