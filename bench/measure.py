"""CPU and wall time of a piece of work: this process' own and that of a Postgres server."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """Seconds; `peak_mb` is the most resident memory this process ever had."""

    wall: float = 0.0
    client: float = 0.0
    postgres: float = 0.0
    peak_mb: float = 0.0

    @property
    def cpu(self) -> float:
        """Client and server together."""
        return self.client + self.postgres


def note(line: str) -> None:
    """Say on standard error what is measured now, or was: beside the table, which comes at the end."""
    print(f"… {line}", file=sys.stderr, flush=True)


@contextmanager
def measured(postmaster: int) -> Iterator[Cost]:
    """Fill in the cost of the work when it ends. `postmaster` is the pid of the server, which does only this."""
    cost = Cost()
    wall, client, server = time.perf_counter(), time.process_time(), postgres_cpu(postmaster)
    yield cost
    cost.wall = time.perf_counter() - wall
    cost.client = time.process_time() - client
    cost.postgres = postgres_cpu(postmaster) - server
    cost.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def on_one_core(postmaster: int) -> Iterator[None]:
    """This thread and the server, with the connections it makes inside, share a core.

    A round trip is two switches then. Between cores it is also the waking of one that sleeps: 0.03 to 0.1 ms, by where
    the kernel put the two, and not the same for two connections of one process.
    """
    usual = os.sched_getaffinity(0)
    one = {min(usual)}
    os.sched_setaffinity(0, one)
    os.sched_setaffinity(postmaster, one)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)
        os.sched_setaffinity(postmaster, usual)


def postgres_cpu(postmaster: int) -> float:
    """CPU seconds of a server so far: its own, its living children's, and those of its children that have ended."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        user, system, ended_user, ended_system = (int(field) for field in fields[11:15])
        if int(folder.name) == postmaster:
            total += user + system + ended_user + ended_system
        elif int(fields[1]) == postmaster:
            total += user + system
    return total / _TICKS
