"""The middle of a cycle: sources are read beside, and each shard takes what is there in passes of its own.

A shard's pass loads the blocks that wait and builds what is new, in a worker process. It begins when the shard's
sources have been read, or some seconds after the cycle or its newest block began to wait: one slow vendor keeps
nobody's numbers back, and what it gives later is in the next pass. Whatever can hang (a shard, a vendor) hangs in a
process or thread of its own, and the cycle ends at its time whether or not that has come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg2.extensions import connection as Connection

from ingestion import index
from ingestion.lanes import lane_of, next_pass
from ingestion.limits import Until
from ingestion.manifest import Manifest
from ingestion.registry import discover
from orchestration.events import Event, Extracted, Failure, SetAside, ShardDone, StepCost
from orchestration.inbox import Inbox
from orchestration.loading import not_loaded
from orchestration.mark import code_fingerprint
from orchestration.notices import state as notices
from orchestration.reading import Reading, Told
from orchestration.shard_pass import Pass, PassResult
from orchestration.transform import ShardBuild, hold, open_shard, target_of
from orchestration.workers import Progress, Workers
from sharding.model import Shard, Source

if TYPE_CHECKING:
    from ingestion.quarantine import Standing
    from orchestration.cycle import Installation, Scope

GATHER = 15.0  # seconds that a first block waits for others of its shard: a build costs a second whatever it builds
GATE_PATIENCE, GATE_PAUSE = 60.0, 1.0  # a business on its way is paused for a second or two
_LOOKS = 8
_GRACE = 5.0  # for vendors' answers to be cut off once the time is over


@dataclass
class _State:
    """One shard in this cycle. Moments are of time.monotonic()."""

    shard: Shard
    since: float  # when the oldest of what waits began to wait
    reading: set[int] = field(default_factory=set)  # sources not read to their end
    first: set[int] = field(default_factory=set)  # of them those that have told nothing yet
    waiting: bool = True  # a first pass, or blocks
    not_before: float = 0.0
    passes: int = 0
    busy: bool = False
    began: float | None = None  # of the pass that a worker is at
    over: bool = False
    told: bool = False  # that it is done
    gone: bool = False  # it failed as a whole: the next cycle's
    taken: list[Manifest] = field(default_factory=list)
    untested: set[str] = field(default_factory=set)  # models that its passes changed and did not test

    def moment(self) -> float | None:
        """When the next pass begins; None: not before something happens."""
        if self.busy or self.over or not self.waiting:
            return None
        return max(self.since + GATHER, self.not_before) if self.reading else self.not_before

    @property
    def done(self) -> bool:
        return self.over or not (self.busy or self.waiting or self.reading)


@dataclass(frozen=True)
class _Looked:
    shard: str
    ended: ShardBuild | None  # None: there is something to do


class Passes:
    """One cycle over shards and sources; `events` runs it. `within`: seconds that it may take in all."""

    def __init__(
        self, at: Installation, scope: Scope, shards: Sequence[Shard], reading: Reading | None, until: Until,
        building: Progress | None,
    ) -> None:  # fmt: skip
        self._at, self._scope, self._reading, self._until, self._building = at, scope, reading, until, building
        self._choice = scope.choice if not scope.force else replace(scope.choice, force=True)
        self._loads, self._builds = "load" in scope.steps, "build" in scope.steps
        self._started, self._cpu = time.monotonic(), time.process_time()
        works = self._loads or self._builds
        self._states = {shard.name: _State(shard, self._started, waiting=works) for shard in shards}
        self._inbox: Inbox[Told | _Looked] = Inbox()
        self._queue: list[_State] = []
        self._tried: set[UUID] = set()  # each block once in a cycle, unless it met a closed gate
        self._closed: dict[UUID, float] = {}  # since when
        self._code, self._now = code_fingerprint(at.transform.project_dir), at.clock()
        self._looks = threading.Semaphore(_LOOKS)
        self._costs = {step: StepCost(step, 0.0, 0.0) for step in scope.steps}
        self._reading_over = reading is None
        self._over_since: float | None = None

    def events(self) -> Generator[Event]:
        """What each stream and shard came to as soon as it is known, then the costs. Closed early, it ends its workers
        and begins nothing more."""
        transform = self._at.transform
        workers = Workers(transform.project_dir, transform.work_dir, transform.workers, transform.threads,
                          transform.deadline)  # fmt: skip
        try:
            with workers, closing(index.connect(self._at.catalogue.dsn)) as control:
                self._sources = self._in_scope()
                self._set_aside = notices.set_aside(control)
                for source in self._reading.sources if self._reading else ():
                    if source.shard in self._states:
                        self._states[source.shard].reading.add(source.id)
                        self._states[source.shard].first.add(source.id)
                if self._reading is not None:
                    self._reading.start(self._inbox.put)
                while not self._finished(workers):
                    self._begin_passes(control)
                    self._start_queued(workers, control)
                    for job, kind, value in workers.hear(self._inbox.reader, self._patience()):
                        yield from self._heard(job, kind, value)
                    for told in self._inbox.take():
                        yield from self._told(told)
                    yield from self._over()
            yield from self._late()
        finally:
            self._until.end()
        yield from self._costs.values()

    def _in_scope(self) -> dict[int, Source]:
        return {source.id: source for source in self._at.catalogue.sources() if self._scope.has(source)}

    def _finished(self, workers: Workers) -> bool:
        if not self._until.over:
            return self._reading_over and all(state.done for state in self._states.values())
        self._over_since = self._over_since or time.monotonic()
        read = self._reading_over or time.monotonic() > self._over_since + _GRACE
        return read and not workers.busy  # which end at that moment too

    def _patience(self) -> float | None:
        if self._until.over:
            return _GRACE
        now = time.monotonic()
        moments = [state.moment() for state in self._states.values()]
        waits = [max(0.0, moment - now) for moment in moments if moment is not None]
        return min([*waits, self._until.left]) if waits or self._until.left != float("inf") else None

    # -- beginning ---------------------------------------------------------------------------------------------------

    def _begin_passes(self, control: Connection) -> None:
        """Take the blocks of shards whose moment has come. A first pass looks first whether the shard answers and has
        anything to do: that needs no worker, and a dead shard takes the place of nobody."""
        for state in self._states.values():
            moment = state.moment()
            if moment is None or moment > time.monotonic() or self._until.over:
                continue
            state.taken = self._take(control, state)
            if state.taken or not state.passes:
                state.busy = True
                if state.passes:
                    self._queue.append(state)
                else:
                    self._look(state, self._read_through(control, state))

    def _take(self, control: Connection, state: _State) -> list[Manifest]:
        state.waiting = False
        ids = [source.id for source in self._sources.values() if source.shard == state.shard.name]
        if not self._loads or not ids:
            return []
        streams = self._scope.streams
        pending = [
            manifest
            for manifest in index.pending(control, ids)
            if manifest.block_id not in self._tried
            and int(manifest.source_id) not in state.first  # told when its turn is over: its streams belong together
            and (streams is None or (manifest.integration, manifest.stream) in streams)
        ]
        taken = next_pass(pending)
        if len(taken) < len(pending):  # at once after this one
            state.waiting, state.since = True, 0.0
        return taken

    def _look(self, state: _State, read: dict[tuple[int, str], datetime]) -> None:
        target, name = target_of(state.shard), state.shard.name

        def looked() -> ShardBuild | None:
            with self._looks, ExitStack() as leases:
                conn = hold(target, leases)
                if isinstance(conn, ShardBuild):
                    return conn
                if state.taken or not self._builds:
                    return None
                seen = open_shard(target, conn, self._choice, self._code, self._now, read)
                return seen if isinstance(seen, ShardBuild) else None

        def work() -> None:
            try:
                self._inbox.put(_Looked(name, looked()))
            except BaseException as error:  # noqa: BLE001  the cycle is to have it
                self._inbox.put(Told(error=error))

        threading.Thread(target=work, daemon=True, name=f"look {name}").start()

    def _start_queued(self, workers: Workers, control: Connection) -> None:
        """Give passes to workers, as many as may run: fresh blocks first, shards that have had none first."""
        self._queue.sort(key=lambda state: (lane_of(state.taken) == "bulk", state.passes))
        while self._queue and workers.room and not self._until.over:
            state = self._queue.pop(0)
            read = self._read_through(control, state)
            ids = {int(manifest.source_id) for manifest in state.taken}
            store = self._at.store
            # Where more waits, orders may be here without their payments: what must agree is tested in the pass after.
            tests = self._choice.tests and not (state.waiting and state.taken)
            choice = replace(self._choice, tests=tests, untested=tuple(sorted(state.untested)))
            job = Pass(
                target_of(state.shard), state.shard, tuple(state.taken), {i: self._sources[i] for i in ids},
                (store.url, store.remote.url if store.remote else ""), self._at.catalogue.dsn, choice,
                self._code, self._now, read, self._builds, self._set_aside.get(state.shard.name, ()),
            )  # fmt: skip
            state.began = time.monotonic()
            left = self._until.left
            workers.start(job, None if left == float("inf") else left)

    def _read_through(self, control: Connection, state: _State) -> dict[tuple[int, str], datetime]:
        """Up to when the shard's streams of events were read."""
        specs = discover()
        mine = {source.id: source for source in self._sources.values() if source.shard == state.shard.name}
        telling = {
            (source.id, stream.name)
            for source in mine.values()
            if source.integration in specs
            for stream in specs[source.integration].streams
            if stream.tells_events
        }
        return {key: at for key, at in index.read_through(control, list(mine)).items() if key in telling}

    # -- hearing -----------------------------------------------------------------------------------------------------

    def _told(self, told: Told | _Looked) -> Iterator[Event]:
        if isinstance(told, _Looked):
            yield from self._looked(self._states[told.shard], told.ended)
            return
        if told.error is not None:
            raise told.error
        yield from told.events
        if told.source_id is None:
            self._reading_over = True
            self._add("extract", time.monotonic() - self._started, time.process_time() - self._cpu)
            for state in self._states.values():
                state.reading.clear()
                state.first.clear()
            return
        for state in self._states.values():
            state.first.discard(told.source_id)
            if told.over:
                state.reading.discard(told.source_id)
        if any(isinstance(event, Extracted) and event.blocks for event in told.events) and self._loads:
            self._came(self._sources[told.source_id].shard)

    def _came(self, shard: str, not_before: float = 0.0) -> None:
        """Blocks wait for a shard."""
        state = self._states.get(shard)
        if state is None or state.gone:
            return
        if not state.waiting:
            state.waiting, state.since = True, time.monotonic()
        state.over = state.told = False
        state.not_before = max(state.not_before, not_before)

    def _looked(self, state: _State, ended: ShardBuild | None) -> Iterator[Event]:
        if ended is None and (state.taken or self._builds):
            self._queue.append(state)
            return
        state.busy, state.passes = False, 1
        if ended is None:
            return
        self._tried.update(manifest.block_id for manifest in state.taken)
        if ended.state == "failed":
            state.over = state.gone = True
            failure = Failure.told(ended.reason, "config", "larder status")
            yield from not_loaded(state.shard, state.taken, self._sources, failure)
        if self._builds:
            yield ended

    def _heard(self, job: Pass, kind: str, value: Any) -> Iterator[Event]:
        state = self._states[job.target.name]
        if kind == "progress":
            if self._building:
                self._building(*value)
        elif kind == "loaded":
            yield value
        elif kind == "quarantine":
            yield from self._quarantine(job.shard, value)
        else:
            result = value if kind == "done" else job.failed(value, time.monotonic() - (state.began or 0.0))
            if isinstance(result.build, ShardBuild) and result.build.result is not None:
                changed = {n.name for n in result.build.result.models if n.kind == "model" and n.changed}
                state.untested = set() if job.choice.tests else state.untested | changed
            yield from self._ended(state, result)

    def _quarantine(self, shard: Shard, found: Sequence[Standing]) -> Iterator[Event]:
        """Of all sources of the shard: what changed there is told once, whatever the scope."""
        ids = sorted({one.group[0] for one in found})
        sources = {source.id: source for source in self._at.catalogue.sources_of(ids)}
        for one in found:
            source_id, stream, reason = one.group
            if (of := sources.get(source_id)) is not None:
                yield SetAside(shard.name, of.business_name, of.label, of.integration, stream, reason, one.records,
                               one.block, one.ended)  # fmt: skip

    def _ended(self, state: _State, result: PassResult) -> Iterator[Event]:
        now = time.monotonic()
        state.not_before = now + 2 * (now - (state.began or now)) if state.reading else 0.0  # builds, a third of it
        state.busy, state.began, state.passes = False, None, state.passes + 1
        self._tried.update(manifest.block_id for manifest in state.taken)
        self._add("load", result.load_wall, result.load_cpu)
        if result.waiting:
            self._gate_closed(state, result.waiting)
        build = result.build
        if build is None or (build.state == "skipped" and state.passes > 1):
            return
        if build.result is not None:
            self._add("build", build.wall_seconds, build.result.cpu_seconds)
        elif build.state == "failed":
            state.over = state.gone = True
        if self._builds or build.state == "failed":
            yield build

    def _gate_closed(self, state: _State, blocks: Sequence[UUID]) -> None:
        """Businesses on their way: try again in a moment, on the shard where they are then."""
        now = time.monotonic()
        self._sources = self._in_scope()
        for manifest in state.taken:
            if manifest.block_id not in blocks or now > self._closed.setdefault(manifest.block_id, now) + GATE_PATIENCE:
                continue
            source = self._sources.get(int(manifest.source_id))
            if source is not None:
                self._tried.discard(manifest.block_id)
                self._came(source.shard, now + GATE_PAUSE)

    # -- ending ------------------------------------------------------------------------------------------------------

    def _over(self) -> Iterator[Event]:
        for state in self._states.values():
            if state.done and not state.told and not self._until.over:
                state.over = state.told = True
                yield ShardDone(state.shard.name)

    def _late(self) -> Iterator[Event]:
        """Shards that were not done when the time was over."""
        for state in self._states.values():
            if state.told:
                continue
            seconds = f"{time.monotonic() - self._started:.0f} s"
            if self._builds and not state.gone and (state.busy or state.waiting):
                hangs = state.busy and state not in self._queue
                reason = "did not answer in" if hangs else "its turn did not come in"
                yield ShardBuild(state.shard.name, "failed" if hangs else "skipped", f"{reason} {seconds}")
            yield ShardDone(state.shard.name)

    def _add(self, step: str, wall: float, cpu: float) -> None:
        for name, cost in self._costs.items():
            if name == step:
                self._costs[name] = StepCost(name, round(cost.wall_seconds + wall, 3), round(cost.cpu_seconds + cpu, 3))
