"""Worker processes for the transform: one per shard at a time, up to N; killed at the deadline, replaced when they die.

A forkserver imports dbt once (3 CPU-seconds) and forks each worker from there. Python's own pool is not used because
one dead worker breaks all of its futures; here it fails only the shard it was building.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from orchestration.results import BuildResult, Job

Progress = Callable[[str, str, str], None]  # shard, node, status
PRELOAD = ["dbt.cli.main", "dbt.task.build", "dbt.adapters.postgres"]


def serve(pipe: Connection, project_dir: Path, work_dir: Path, threads: int) -> None:
    """Body of a worker: jobs in, progress and results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its workers
    from orchestration.dbt_worker import DbtProject

    project = DbtProject(project_dir, work_dir, threads)
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        started = time.monotonic()
        try:
            result = project.build(job, lambda *event: pipe.send(("progress", event)))
        except Exception as error:  # noqa: BLE001  the parent must hear of anything that ends a build
            message = f"{type(error).__name__}: {error}".strip()
            result = BuildResult(job.target.name, error=message, wall_seconds=time.monotonic() - started)
        pipe.send(("done", result))


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    started: float = 0.0

    def end(self) -> None:
        self.pipe.close()
        self.process.join(0.5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@dataclass
class Workers:
    """`with Workers(project_dir, work_dir, count) as w: for result in w.run(jobs): …`

    Args:
        project_dir: where dbt_project.yml is; work_dir: ours to write (parse state, compiled SQL, profiles).
        count: how many shards at once; threads: dbt threads within a shard; deadline: seconds a shard may take.
    """

    project_dir: Path
    work_dir: Path
    count: int = 2
    threads: int = 1
    deadline: float = 1800.0
    _idle: list[_Worker] = field(default_factory=list)
    _context: Any = None

    def __enter__(self) -> Workers:
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._idle:
            worker.end()
        self._idle.clear()

    def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.end()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve, args=(theirs, self.project_dir, self.work_dir, self.threads), daemon=True, name="transform"
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def run(self, jobs: Sequence[Job], progress: Progress | None = None) -> Iterator[BuildResult]:
        """Build every job, yielding each shard's result when it is done; a shard that fails does not stop another."""
        waiting, busy = deque(jobs), dict[Connection, _Worker]()
        try:
            while waiting or busy:
                while waiting and len(busy) < max(1, self.count):
                    worker = self._take()
                    worker.job, worker.started = waiting.popleft(), time.monotonic()
                    with contextlib.suppress(BrokenPipeError):  # died idle: reading from it says so
                        worker.pipe.send(worker.job)
                    busy[worker.pipe] = worker
                for ready in self._ready(busy):
                    result = self._hear(busy[ready], progress)
                    if result is not None:
                        worker = busy.pop(ready)
                        if worker.process.is_alive() and time.monotonic() < worker.started + self.deadline:
                            self._idle.append(worker)
                        else:
                            worker.end()
                        yield result
        finally:
            for worker in busy.values():
                worker.process.kill()
                worker.end()

    def _ready(self, busy: dict[Connection, _Worker]) -> list[Connection]:
        next_deadline = min(w.started + self.deadline for w in busy.values())
        ready = wait(list(busy), timeout=max(0.0, next_deadline - time.monotonic()))
        late = [p for p, w in busy.items() if time.monotonic() >= w.started + self.deadline and p not in ready]
        for pipe in late:
            busy[pipe].process.kill()
        return [p for p in busy if p in ready or p in late]

    def _hear(self, worker: _Worker, progress: Progress | None) -> BuildResult | None:
        assert worker.job is not None
        shard, took = worker.job.target.name, time.monotonic() - worker.started
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            worker.end()
            code = worker.process.exitcode
            if took >= self.deadline:
                return BuildResult(shard, error=f"not finished after {self.deadline:.0f} s; ended", wall_seconds=took)
            return BuildResult(shard, error=f"the transform worker died (exit code {code})", wall_seconds=took)
        if kind == "progress":
            if progress:
                progress(*value)
            return None
        assert isinstance(value, BuildResult)
        return value
