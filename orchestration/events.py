"""What a cycle reports, step by step: flat values, ready for tables, JSON and Dagster's metadata."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from ingestion.errors import LarderError as IngestionError
from orchestration.notices.classes import Class, class_of, class_of_text
from orchestration.transform import ShardBuild
from sharding.errors import LarderError as ShardingError

StepName = Literal["extract", "load", "build"]
STEPS: tuple[StepName, ...] = ("extract", "load", "build")


@dataclass(frozen=True)
class Failure:
    """An error as people act on it: cause, whose turn it is, what to run next, and of what class it is."""

    cause: str
    turn: str
    next_command: str
    kind: Class

    @classmethod
    def of(cls, error: IngestionError | ShardingError) -> Failure:
        """An error of ingestion or of sharding, without its traceback."""
        return cls(error.cause, error.turn, error.next_command, class_of(error))

    @classmethod
    def told(cls, cause: str, turn: str, next_command: str) -> Failure:
        """What is no error of Python's: its class is that of its text."""
        return cls(cause, turn, next_command, class_of_text(turn, cause))


@dataclass(frozen=True)
class Extracted:
    """One stream of one source that was asked for. `blocks` are ids; `outcome` as extraction names it."""

    shard: str
    business: str
    source: str
    integration: str
    stream: str
    outcome: str
    blocks: tuple[str, ...] = ()
    records: int = 0
    bytes: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass(frozen=True)
class Loaded:
    """One stream of one source whose blocks went to raw. records = versions + unchanged + superseded + quarantined +
    discarded; tombstones are keys found gone."""

    shard: str
    business: str
    source: str
    integration: str
    stream: str
    blocks: tuple[str, ...] = ()
    records: int = 0
    versions: int = 0
    unchanged: int = 0
    superseded: int = 0
    quarantined: int = 0
    tombstones: int = 0
    failure: Failure | None = None
    waits: bool = False  # not loaded, and nothing failed: the business takes no writes now, and the blocks wait


@dataclass(frozen=True)
class SetAside:
    """Records of a source's stream that are in quarantine for one reason, told where that may have changed. `block` is
    that of the newest; none any more: `ended` says what became of them."""

    shard: str
    business: str
    source: str
    integration: str
    stream: str
    reason: str
    records: int
    block: str | None = None
    ended: str | None = None


@dataclass(frozen=True)
class ShardDone:
    """All that this cycle does on a shard is done."""

    shard: str


@dataclass(frozen=True)
class StepCost:
    """What a step cost: seconds on the wall, and of this machine's CPU outside the database servers. Loads and builds
    are summed over the shards, which run side by side, and beside the extraction."""

    step: StepName
    wall_seconds: float
    cpu_seconds: float


Event = Extracted | Loaded | SetAside | ShardBuild | ShardDone | StepCost


@dataclass(frozen=True)
class CycleReport:
    """Everything that one cycle did. `now` is the vendors' clock."""

    now: datetime
    extracted: tuple[Extracted, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    builds: tuple[ShardBuild, ...] = ()
    costs: tuple[StepCost, ...] = field(default=())

    @classmethod
    def of(cls, now: datetime, events: Iterable[Event]) -> CycleReport:
        """Collect the events of a cycle, those of each source together."""
        seen = list(events)
        return cls(
            now,
            tuple(sorted((e for e in seen if isinstance(e, Extracted)), key=lambda e: (e.shard, e.source))),
            tuple(sorted((e for e in seen if isinstance(e, Loaded)), key=lambda e: (e.shard, e.source))),
            tuple(e for e in seen if isinstance(e, ShardBuild)),
            tuple(e for e in seen if isinstance(e, StepCost)),
        )

    @property
    def idle(self) -> bool:
        """No block came, none was loaded, no shard was built, and nothing failed."""
        quiet = not any(e.blocks or e.failure for e in self.extracted) and not self.loaded
        return quiet and all(b.state == "skipped" for b in self.builds)

    @property
    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """What failed, as (for whom, why); extraction first."""
        streams: list[Extracted | Loaded] = [*self.extracted, *self.loaded]
        of_sources = [(e.source, e.failure) for e in streams if e.failure]
        return (*of_sources, *((b.shard, failure_of(b)) for b in self.builds if b.state == "failed"))

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "now": self.now.isoformat(), "idle": self.idle}


def failure_of(build: ShardBuild) -> Failure:
    """A failed build as an error. A broken model or test is ours; a shard that does not answer is configuration."""
    nodes = build.result.failed if build.result else ()
    if not nodes:
        return Failure.told(build.reason, "config", "larder status")
    first = nodes[0]
    turn = "data" if first.kind == "test" else "us"
    return Failure.told(build.reason, turn, f"larder build --shard {build.shard} --select {first.name}")
