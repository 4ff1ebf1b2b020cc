"""Worker processes: one per shard at a time, up to N; killed at the deadline, replaced when they die.

A forkserver imports dbt and dlt once (4 CPU-seconds) and forks each worker from there. Python's own pool is not used
because one dead worker breaks all of its futures; here it fails only the shard it was at.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.results import BuildResult, Job
from orchestration.shard_pass import Pass, run_pass

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

Progress = Callable[[str, str, str], None]  # shard, node, status
INTEGRATIONS = "LARDER_INTEGRATIONS_PATH"
PRELOAD = ["dbt.cli.main", "dbt.task.build", "dbt.adapters.postgres", "orchestration.dbt_worker",
           "orchestration.loading", "ingestion.landing_postgres", "dlt.common.libs.pyarrow", "sqlalchemy"]  # fmt: skip
# A worker at a shard for longer than that waits on its database more than it computes, and another may start beside it:
# a shard whose tables are locked takes a place of nobody. The memory of all of them (170 MB each) sets the other limit.
OVERTIME = 30.0
MOST_OVERTIME = 4


def serve(pipe: Connection, project_dir: Path, work_dir: Path, threads: int, integrations: str | None) -> None:
    """Body of a worker: jobs in, progress and results out, until the pipe closes. `integrations`: where its parent
    looks for more of them; the forkserver knows what was said when it began."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its workers
    if integrations is None:
        os.environ.pop(INTEGRATIONS, None)
    else:
        os.environ[INTEGRATIONS] = integrations
    from orchestration.dbt_worker import DbtProject

    project = DbtProject(project_dir, work_dir, threads)
    while True:
        try:
            job: Job | Pass = pipe.recv()
        except EOFError:
            return
        with _parent_watched(pipe):
            result = _work(project, job, pipe)
        pipe.send(("done", result))


def _work(project: DbtProject, job: Job | Pass, pipe: Connection) -> Any:
    started = time.monotonic()
    try:
        if isinstance(job, Pass):
            return run_pass(job, project, lambda kind, value: pipe.send((kind, value)))
        return project.build(job, lambda *event: pipe.send(("progress", event)))
    except Exception as error:  # noqa: BLE001  the parent must hear of anything that ends a build
        message = f"{type(error).__name__}: {error}".strip()
        if isinstance(job, Pass):
            return job.failed(message, time.monotonic() - started)
        return BuildResult(job.target.name, error=message, wall_seconds=time.monotonic() - started)


@contextlib.contextmanager
def _parent_watched(pipe: Connection) -> Iterator[None]:
    """End with the parent: a killed cycle must leave nobody at its shards. Nothing is sent to a worker at work, so a
    pipe that can be read has been closed."""
    done, ended = os.pipe()

    def watch() -> None:
        if pipe in wait([pipe, done]):
            os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(ended)
        watcher.join()
        os.close(done)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | Pass | None = None
    started: float = 0.0
    ends: float = 0.0

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
    _busy: dict[Connection, _Worker] = field(default_factory=dict)
    _context: Any = None

    def __enter__(self) -> Workers:
        # What forks has one thread: of another's locks a fork gets copies that nobody opens. Arrow's allocator starts
        # one on import, unless it is told not to.
        os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
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
        arguments = (theirs, self.project_dir, self.work_dir, self.threads, os.environ.get(INTEGRATIONS))
        process = self._context.Process(target=serve, args=arguments, daemon=True, name="transform")
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def run(self, jobs: Sequence[Job], progress: Progress | None = None) -> Iterator[BuildResult]:
        """Build every job, yielding each shard's result when it is done; a shard that fails does not stop another."""
        waiting = deque(jobs)
        try:
            while waiting or self.busy:
                while waiting and self.room:
                    self.start(waiting.popleft())
                for job, kind, value in self.hear():
                    if kind == "progress":
                        if progress:
                            progress(*value)
                    elif kind == "ended":
                        yield BuildResult(job.target.name, error=value, wall_seconds=0.0)
                    else:
                        yield value
        finally:
            self.stop()

    @property
    def busy(self) -> int:
        """How many are at work."""
        return len(self._busy)

    @property
    def room(self) -> bool:
        """Whether another job can be started now."""
        recent = time.monotonic() - OVERTIME
        counted = sum(worker.started > recent for worker in self._busy.values())
        return counted < max(1, self.count) and len(self._busy) < max(1, self.count) + MOST_OVERTIME

    def start(self, job: Job | Pass, within: float | None = None) -> None:
        """Give a job to a worker; `within`: seconds it may take, where that is less than the deadline."""
        worker = self._take()
        worker.job, worker.started = job, time.monotonic()
        worker.ends = worker.started + min(self.deadline, self.deadline if within is None else within)
        with contextlib.suppress(BrokenPipeError):  # died idle: reading from it says so
            worker.pipe.send(job)
        self._busy[worker.pipe] = worker

    def hear(self, also: Connection | None = None, timeout: float | None = None) -> Iterator[tuple[Any, str, Any]]:
        """What the workers tell: (job, kind, value). The kinds are a job's own, then `done` with its result, or `ended`
        with the reason why there is none. Waits until there is something, `also` can be read, the time is over, or
        there may be room for one more."""
        for pipe in self._ready(also, timeout):
            worker = self._busy[pipe]
            assert worker.job is not None
            job = worker.job
            try:
                kind, value = pipe.recv()
            except (EOFError, ConnectionResetError):
                kind, value = "ended", self._end_of(worker)
            if kind in ("done", "ended"):
                del self._busy[pipe]
                if kind == "done" and worker.process.is_alive() and time.monotonic() < worker.ends:
                    self._idle.append(worker)
                else:
                    worker.end()
            yield job, kind, value

    def stop(self) -> None:
        """End whoever is at work."""
        for worker in self._busy.values():
            worker.process.kill()
            worker.end()
        self._busy.clear()

    def _ready(self, also: Connection | None, timeout: float | None) -> list[Connection]:
        now = time.monotonic()
        moments = [worker.ends for worker in self._busy.values()]
        moments += [w.started + OVERTIME for w in self._busy.values() if w.started + OVERTIME > now]
        moments += [] if timeout is None else [now + timeout]
        pipes = [*self._busy, *([also] if also else [])]
        until = max(0.0, min(moments) - now) if moments else None
        ready = wait(pipes, timeout=until) if pipes else []
        late = [p for p, w in self._busy.items() if time.monotonic() >= w.ends and p not in ready]
        for pipe in late:
            self._busy[pipe].process.kill()
        return [p for p in self._busy if p in ready or p in late]

    def _end_of(self, worker: _Worker) -> str:
        took = time.monotonic() - worker.started
        late = time.monotonic() >= worker.ends
        worker.end()
        if late:
            return f"not finished after {took:.0f} s; ended"
        code = worker.process.exitcode
        why = "; killed from outside, as a machine does that is out of memory" if code == -signal.SIGKILL else ""
        return f"the worker died (exit code {code}{why})"
