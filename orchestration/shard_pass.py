"""One pass over one shard, in a worker process: load some blocks, build what is new. The shard's lease is held for all
of it, so a shard has one pass at a time, and none beside a build that somebody asked for.

Whatever hangs, hangs here: at the deadline the process is killed, its connections close, its locks are free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ingestion import index
from ingestion.blocks import BlockStore, Manifest
from orchestration.results import Target
from sharding.model import LOADER, Shard, Source

if TYPE_CHECKING:
    from ingestion.quarantine import Group
    from orchestration.dbt_worker import DbtProject
    from orchestration.mark import Look
    from orchestration.transform import Choice, ShardBuild

Tell = Callable[[str, Any], None]


@dataclass(frozen=True)
class Pass:
    """What to do on a shard. `read`: up to when its (source, stream) were read; `build`: whether to build at all;
    `set_aside`: groups of records in quarantine of which somebody was told."""

    target: Target
    shard: Shard
    manifests: tuple[Manifest, ...]
    sources: Mapping[int, Source]
    store: tuple[str, str]
    control_dsn: str = field(repr=False)
    choice: Choice
    code: str
    now: datetime
    read: Mapping[tuple[int, str], datetime]
    build: bool = True
    set_aside: tuple[Group, ...] = ()

    def failed(self, reason: str, wall_seconds: float) -> PassResult:
        """The pass as one that failed as a whole."""
        from orchestration.transform import ShardBuild

        return PassResult(ShardBuild(self.target.name, "failed", " ".join(reason.split()), wall_seconds=wall_seconds))


@dataclass(frozen=True)
class PassResult:
    """What came of it. `waiting`: blocks of businesses that take no writes now. Seconds are of the load alone."""

    build: ShardBuild | None
    waiting: tuple[UUID, ...] = ()
    load_wall: float = 0.0
    load_cpu: float = 0.0


def run_pass(job: Pass, project: DbtProject, tell: Tell) -> PassResult:
    """Load, telling `loaded` for each stream of a source, then `quarantine` where that may have changed, then build,
    telling `progress` for each node."""
    from orchestration.transform import ShardBuild, close_shard, hold, job_of, open_shard

    with ExitStack() as leases:
        conn = hold(job.target, leases)
        if isinstance(conn, ShardBuild):
            return PassResult(conn)
        wall, cpu = time.monotonic(), time.process_time()
        waiting, refused = _load(job, tell) if job.manifests else ((), False)
        spent = time.monotonic() - wall, time.process_time() - cpu
        if not job.build:
            _tell_quarantine(job, tell, refused)
            return PassResult(None, waiting, *spent)
        seen = open_shard(job.target, conn, job.choice, job.code, job.now, job.read)
        if isinstance(seen, ShardBuild):
            _tell_quarantine(job, tell, refused)
            return PassResult(seen, waiting, *spent)
        _tell_quarantine(job, tell, refused or bool(seen.whole) or _news_of_quarantine(seen))
        result = project.build(job_of(job.target, job.choice, seen), lambda *event: tell("progress", event))
        return PassResult(close_shard(job.target, conn, seen, result, job.choice, job.code, job.now), waiting, *spent)


def _news_of_quarantine(seen: Look) -> bool:
    """Whether the models are told that records were set aside, loaded after all or given up, by whomever."""
    return any(feed.endswith(".quarantine") for feeds in seen.stale.values() for feed in feeds)


def _tell_quarantine(job: Pass, tell: Tell, whole: bool) -> None:
    """Look into quarantine where something changed in it (`whole`), else only after what somebody was told of."""
    if whole or job.set_aside:
        from ingestion.quarantine import standing

        shard = job.shard.as_role(LOADER)
        tell("quarantine", standing(shard.dsn, shard.schemas, job.set_aside, whole=whole))


def _load(job: Pass, tell: Tell) -> tuple[tuple[UUID, ...], bool]:
    """The blocks that wait, and whether a record was set aside."""
    from orchestration.loading import load_shard

    waiting: list[UUID] = []
    refused = False
    with closing(index.connect(job.control_dsn)) as control:
        for event in load_shard(job.shard, job.manifests, BlockStore(*job.store), job.sources, control):
            if event.waits:
                waiting.extend(UUID(block) for block in event.blocks)
            else:
                refused = refused or event.quarantined > 0
                tell("loaded", event)
    return tuple(waiting), refused
