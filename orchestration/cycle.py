"""The cycle: extract what is due, load what is pending, build the shards that have something new. No Dagster here.

`larder cycle` and Dagster's jobs consume the same events. A failing source, shard or model is an event like any other:
what can go on, goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ingestion import index
from ingestion.blocks import BlockStore, Manifest
from ingestion.clock import Clock, clock_of
from ingestion.errors import LarderError
from ingestion.extract import Options, StreamResult, extract_all
from ingestion.registry import discover, spec_of
from ingestion.source import SourceRef
from ingestion.spec import Stream
from orchestration.events import STEPS, CycleReport, Event, Extracted, Failure, StepCost, StepName
from orchestration.loading import load_shard
from orchestration.project import project_dir as project_dir_of
from orchestration.sources import source_ref
from orchestration.transform import Choice, Transform, target_of
from orchestration.workers import Progress as BuildProgress
from sharding.catalogue import Catalogue
from sharding.errors import LarderError as ShardingError
from sharding.model import Shard, Source
from sharding.settings import Settings, project_root

IDLE_OUTCOMES = ("not_due", "busy")


@dataclass(frozen=True)
class Installation:
    """The things that a cycle works with."""

    catalogue: Catalogue
    store: BlockStore
    clock: Clock
    transform: Transform

    @classmethod
    def of(cls, settings: Settings, catalogue: Catalogue, project_dir: Path | None = None) -> Installation:
        """An installation by its settings. `project_dir` is where dbt_project.yml is."""
        clock = clock_of(settings.home, settings.clock)
        transform = Transform(
            project_dir or project_dir_of(project_root(), settings.home / "dbt"),
            settings.home / "dbt",
            workers=settings.workers or os.cpu_count() or 1,
            deadline=settings.shard_deadline,
            clock=clock,
        )
        return cls(catalogue, BlockStore(settings.block_store), clock, transform)


@dataclass(frozen=True)
class Scope:
    """What of the cycle to do. None: all. `force` also extracts what is not due and builds where nothing is new."""

    steps: tuple[StepName, ...] = STEPS
    shards: frozenset[str] | None = None
    streams: frozenset[tuple[str, str]] | None = None  # (integration, stream)
    businesses: frozenset[str] | None = None
    sources: frozenset[str] | None = None  # "business/name"
    force: bool = False
    patience: float = (
        60.0  # seconds a request may wait and retry: loading waits for all, and the next cycle tries again
    )
    choice: Choice = field(default_factory=Choice)

    def has(self, source: Source) -> bool:
        """Whether a source is in scope."""
        return (
            (self.shards is None or source.shard in self.shards)
            and (self.businesses is None or source.business_name in self.businesses)
            and (self.sources is None or source.label in self.sources)
            and (self.streams is None or any(i == source.integration for i, _ in self.streams))
        )


@dataclass(frozen=True)
class Watch:
    """Called while a cycle runs: records extracted so far of a source's stream, and each finished dbt node."""

    extracting: Callable[[SourceRef, str, int], None] | None = None
    building: BuildProgress | None = None


def run_cycle(at: Installation, scope: Scope | None = None, watch: Watch | None = None) -> CycleReport:
    """Run a cycle to its end and report it."""
    now = at.clock()
    return CycleReport.of(now, cycle_events(at, scope or Scope(), watch or Watch()))


def cycle_events(at: Installation, scope: Scope, watch: Watch | None = None) -> Iterator[Event]:
    """Run a cycle, yielding what each stream and shard came to as soon as it is known, and the cost of each step."""
    watch = watch or Watch()
    shards = [s for s in at.catalogue.shards() if s.state != "retired" and _in(s.name, scope.shards)]
    sources = [s for s in at.catalogue.sources() if scope.has(s)]
    if "extract" in scope.steps:
        yield from _costed("extract", _extract(at, scope, sources, watch))
    if "load" in scope.steps:
        yield from _costed("load", _load(at, scope, shards, sources))
    if "build" in scope.steps:
        choice = scope.choice if not scope.force else Choice(**{**vars(scope.choice), "force": True})
        targets = [target_of(s) for s in shards]
        yield from _costed("build", at.transform.build(targets, choice, watch.building, _read(at, sources)))


def due(at: Installation) -> dict[str, str]:
    """Shard → why a cycle would have something to do there, found by probes alone."""
    reasons: dict[str, list[str]] = {}
    now = at.clock()
    sources = {s.id: s for s in at.catalogue.sources()}
    with closing(index.connect(at.catalogue.dsn)) as conn:
        times = index.due_times(conn, list(sources))
        for source in sources.values():
            streams = _streams(source)
            late = [s.name for s in streams if index.is_due(times.get((source.id, s.name)), s.cadence, now)]
            if late and source.state == "active":
                reasons.setdefault(source.shard, []).append(f"due of {source.label}: {', '.join(late)}")
        pending = index.pending(conn)
    for manifest in pending:
        source = sources[int(manifest.source_id)]
        reasons.setdefault(source.shard, []).append(f"to load of {source.label}: block {manifest.block_id}")
    targets = [target_of(s) for s in at.catalogue.shards() if s.state != "retired"]
    for shard, reason in at.transform.due(targets).items():
        reasons.setdefault(shard, []).append(reason)
    return {shard: "; ".join(why) for shard, why in sorted(reasons.items())}


def _streams(source: Source) -> Sequence[Stream]:
    """A source's streams; none of one whose integration or mapping cannot be read, which its extract reports."""
    try:
        return spec_of(source.integration, source.config, "larder source list").streams
    except LarderError:
        return ()


def _extract(at: Installation, scope: Scope, sources: Sequence[Source], watch: Watch) -> Iterator[Event]:
    shard_of = {s.id: s.shard for s in sources}
    refs: list[SourceRef] = []
    for source in sources:
        if source.state != "active":
            continue
        try:
            refs.append(source_ref(at.catalogue, source))
        except ShardingError as error:  # the secret cannot be read: its owner's turn, and nobody else's delay
            failure = Failure.of(error)
            yield Extracted(source.shard, source.business_name, source.label, source.integration, "", "failed",
                            failure=failure)  # fmt: skip
    by_streams: dict[frozenset[str] | None, list[SourceRef]] = {}
    for ref in refs:
        streams = None if scope.streams is None else frozenset(s for i, s in scope.streams if i == ref.integration)
        by_streams.setdefault(streams, []).append(ref)
    for streams, group in by_streams.items():
        options = Options(streams=streams, force=scope.force, patience=scope.patience, progress=watch.extracting)
        for result in extract_all(group, at.store, at.catalogue.dsn, at.clock, options):
            if result.outcome not in IDLE_OUTCOMES:
                yield _extracted(shard_of[result.source.source_id], result)


def _load(at: Installation, scope: Scope, shards: Sequence[Shard], sources: Sequence[Source]) -> Iterator[Event]:
    of_shard: dict[str, list[Manifest]] = {}
    by_id = {s.id: s for s in sources}
    with closing(index.connect(at.catalogue.dsn)) as conn:
        for manifest in index.pending(conn, list(by_id)):
            if scope.streams is None or (manifest.integration, manifest.stream) in scope.streams:
                of_shard.setdefault(by_id[int(manifest.source_id)].shard, []).append(manifest)
        for shard in shards:
            if manifests := of_shard.get(shard.name):
                yield from load_shard(shard, manifests, at.store, by_id, conn)


def _read(at: Installation, sources: Sequence[Source]) -> dict[str, dict[tuple[int, str], datetime]]:
    """Up to when streams of events were read, by shard."""
    specs, of_source = discover(), {s.id: s for s in sources}
    read: dict[str, dict[tuple[int, str], datetime]] = {}
    with closing(index.connect(at.catalogue.dsn)) as conn:
        for (source_id, stream), when in index.read_through(conn, list(of_source)).items():
            source = of_source[source_id]
            spec = specs.get(source.integration)
            if spec and any(s.name == stream and s.tells_events for s in spec.streams):
                read.setdefault(source.shard, {})[source_id, stream] = when
    return read


def _extracted(shard: str, result: StreamResult) -> Extracted:
    ref = result.source
    return Extracted(
        shard, ref.business_name, ref.label, ref.integration, result.stream, result.outcome,
        tuple(str(b) for b in result.blocks), result.records, result.bytes, result.requests, result.retries,
        round(result.seconds, 3), Failure.of(result.error) if result.error else None,
    )  # fmt: skip


def _costed(step: StepName, events: Iterator[Event]) -> Iterator[Event]:
    """The step's events, then its cost; the time that the consumer takes between events is not the step's."""
    wall = cpu = 0.0
    while True:
        started, busy = time.monotonic(), time.process_time()
        event = next(events, None)
        wall += time.monotonic() - started
        cpu += time.process_time() - busy
        if event is None:
            break
        result = getattr(event, "result", None)
        cpu += result.cpu_seconds if result else 0.0  # spent in the worker process
        yield event
    yield StepCost(step, round(wall, 3), round(cpu, 3))


def _in(name: str, chosen: frozenset[str] | Mapping[str, object] | None) -> bool:
    return chosen is None or name in chosen
