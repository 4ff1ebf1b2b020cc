"""The sandbox as a process of its own: start, stop, status. State is in `<home>/sandbox/`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ingestion.errors import ConfigError

START_SECONDS = 60.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Running:
    """A sandbox that answers: its process and each vendor's base URL."""

    pid: int
    urls: dict[str, str]


def state_file(home: Path) -> Path:
    """Where a serving sandbox says who and where it is."""
    return home / "sandbox" / "serving.json"


def running(home: Path) -> Running | None:
    """The sandbox of this home, None where none runs. A state file of a dead process counts for nothing."""
    try:
        state = json.loads(state_file(home).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    pid = int(state["pid"])
    return Running(pid, state["urls"]) if _is_ours(pid, home) else None


def up(home: Path) -> Running:
    """Start the sandbox where it does not run, and wait until it serves."""
    found = running(home)
    if found:
        return found
    log = home / "logs" / "sandbox.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "ingestion.sandbox", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = running(home)
        if found and found.pid == child.pid:
            return found
        if child.poll() is not None:
            break
        time.sleep(0.05)  # polling another process's readiness; there is nothing to wait on
    last = log.read_text().strip().splitlines()[-1:]
    raise ConfigError(f"the sandbox did not start: {' '.join(last)}", next_command=f"less {log}")


def down(home: Path) -> bool:
    """Stop the sandbox of this home; whether one ran. The state file stays: the next start takes the same ports."""
    found = running(home)
    if not found:
        return False
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_ours(found.pid, home) and time.monotonic() < deadline:
        _reap(found.pid)
        time.sleep(0.05)  # polling another process's end
    if _is_ours(found.pid, home):
        os.kill(found.pid, signal.SIGKILL)
    return True


def _reap(pid: int) -> None:
    """Where it is our own child, take its exit status, else it would look alive for ever."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _is_ours(pid: int, home: Path) -> bool:
    """Whether `pid` is a sandbox of this home, and not another process that was given the number since."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"ingestion.sandbox" in arguments and str(home).encode() in arguments
