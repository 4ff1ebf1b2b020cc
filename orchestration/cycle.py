"""The cycle: extract what is due, load what is pending, build the shards that have something new. No Dagster here.

`larder cycle` and Dagster's jobs consume the same events. A failing source, shard or model is an event like any other:
what can go on, goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ingestion import backoff, index
from ingestion.blocks import BlockStore
from ingestion.clock import Clock, clock_of
from ingestion.errors import LarderError
from ingestion.extract import Options
from ingestion.limits import Until
from ingestion.registry import spec_of
from ingestion.run import opens_at
from ingestion.source import SourceRef
from ingestion.spec import IntegrationSpec
from ingestion.uploads import start_beside
from orchestration.events import STEPS, CycleReport, Event, StepName
from orchestration.notices.channels import Channels
from orchestration.notices.telling import Run, telling
from orchestration.passes import Passes
from orchestration.project import project_dir as project_dir_of
from orchestration.reading import Reading
from orchestration.tally import Tally
from orchestration.transform import Choice, Transform, target_of
from orchestration.workers import Progress as BuildProgress
from sharding.catalogue import Catalogue
from sharding.model import Source
from sharding.settings import Settings, project_root

TURN = 60.0  # seconds that a stream is read before the next source's turn, at a block's end: catching up takes many


@dataclass(frozen=True)
class Installation:
    """The things that a cycle works with."""

    catalogue: Catalogue
    store: BlockStore
    clock: Clock
    transform: Transform
    channels: Channels = field(default_factory=Channels)  # where failures are told

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
        store = BlockStore(settings.block_store, settings.block_remote)
        return cls(catalogue, store, clock, transform, Channels.of(settings))


@dataclass(frozen=True)
class Scope:
    """What of the cycle to do. None: all. `force` also extracts what is not due and builds where nothing is new."""

    steps: tuple[StepName, ...] = STEPS
    shards: frozenset[str] | None = None
    streams: frozenset[tuple[str, str]] | None = None  # (integration, stream)
    businesses: frozenset[str] | None = None
    sources: frozenset[str] | None = None  # "business/name"
    force: bool = False
    patience: float = 60.0  # seconds a request may wait and retry: the next cycle tries again
    within: float | None = None  # seconds for all of it: what is not done by then is the next cycle's
    choice: Choice = field(default_factory=Choice)
    run: Run | None = None  # of Dagster's, in which it happens

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


def cycle_events(at: Installation, scope: Scope, watch: Watch | None = None) -> Generator[Event]:
    """Run a cycle, yielding what each stream and shard came to as soon as it is known, at last the cost of each step.

    Closed before its end (a cancelled run), it ends its workers and begins nothing more. What failed is told at the
    end.
    """
    yield from telling(at, _events(at, scope, watch or Watch()), scope.run)


def _events(at: Installation, scope: Scope, watch: Watch) -> Generator[Event]:
    shards = [s for s in at.catalogue.shards() if scope.shards is None or s.name in scope.shards]
    until = Until(scope.within)
    reading = None
    if "extract" in scope.steps:
        sources = [s for s in at.catalogue.sources() if scope.has(s) and s.state == "active"]
        options = Options(
            force=scope.force, heed=not scope.force, patience=scope.patience, turn=TURN, until=until,
            progress=watch.extracting,
        )  # fmt: skip
        reading = Reading(at.catalogue, at.store, at.clock, sources, scope.streams, options)
    _upload(at, scope)
    tally = Tally(at.catalogue.dsn, at.clock(), whole="build" in scope.steps and not scope.choice.partial)
    yield from tally.heard(Passes(at, scope, shards, reading, until, watch.building).events())
    _upload(at, scope)


def _upload(at: Installation, scope: Scope) -> None:
    """Copies of blocks go to the object store beside all else."""
    if "extract" in scope.steps:
        start_beside(at.catalogue.dsn, at.store, at.catalogue.home / "logs" / "upload.log")


def due(at: Installation) -> dict[str, str]:
    """Shard → why a cycle would have something to do there, found by probes alone."""
    reasons: dict[str, list[str]] = {}
    now = at.clock()
    sources = {s.id: s for s in at.catalogue.sources()}
    with closing(index.connect(at.catalogue.dsn)) as conn:
        times = index.due_times(conn, list(sources))
        held = backoff.backoffs(conn, list(sources))
        closed = {name for name, one in backoff.breakers(conn).items() if one.probe_at > now}
        pending = index.pending(conn)
    for source in sources.values():
        if source.state != "active" or source.integration in closed:
            continue
        spec = _spec(source)
        if spec is None and not backoff.waits(held, source.id, backoff.WHOLE, now):
            reasons.setdefault(source.shard, []).append(f"due of {source.label}: its settings are wrong")
        if spec is None or opens_at(spec, now) is not None:
            continue
        late = [
            s.name
            for s in spec.streams
            if index.is_due(times.get((source.id, s.name)), s.cadence, now)
            and not backoff.waits(held, source.id, s.name, now)
        ]
        if late:
            reasons.setdefault(source.shard, []).append(f"due of {source.label}: {', '.join(late)}")
    for manifest in pending:
        source = sources[int(manifest.source_id)]
        reasons.setdefault(source.shard, []).append(f"to load of {source.label}: block {manifest.block_id}")
    targets = [target_of(s) for s in at.catalogue.shards() if s.state != "retired"]
    for shard, reason in at.transform.due(targets).items():
        reasons.setdefault(shard, []).append(reason)
    return {shard: "; ".join(why) for shard, why in sorted(reasons.items())}


def _spec(source: Source) -> IntegrationSpec | None:
    """A source's integration; None where it or the mapping cannot be read, which its extract reports."""
    try:
        return spec_of(source.integration, source.config, "larder source list")
    except LarderError:
        return None
