"""What a cycle's events say of failures: which causes, whom they affect, and what is well again. Pure functions.

A cause is what somebody mends once. A vendor that is down is one cause for all its sources, a model that fails one for
all shards; a refused credential is its owner's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestration.events import Event, Extracted, Failure, Loaded, SetAside
from orchestration.notices.classes import SET_ASIDE, Class, class_of_text
from orchestration.notices.scrub import normal, scrub
from orchestration.results import GOOD, NodeResult
from orchestration.transform import NOTHING_NEW, ShardBuild

Step = Literal["extract", "load", "quarantine", "shard", "model", "test", "fresh", "slow", "reconcile", "export", "run"]


OUTSIDE = "larder cycle"  # in place of a job's name


@dataclass(frozen=True)
class Cause:
    """A failure as it was met once. `said` is the error's text as it came; `names` may stand in it.

    `subject`: the vendor, model, test or job. `who`: a source (`business/name`), a shard, a business or a job; `part`:
    the source's stream. `command` shows or reproduces it. Of records that were set aside: `reason`, and how many.
    """

    step: Step
    kind: Class
    subject: str
    who: str
    said: str
    command: str
    part: str = ""
    names: frozenset[str] = frozenset()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    reason: str = ""
    records: int | None = None

    @property
    def text(self) -> str:
        """What it said, as it may be mailed."""
        return scrub(self.said, self.names, self.secrets)

    @property
    def fingerprint(self) -> str:
        """The same for each retry, and for whoever else is affected by the same."""
        parts: tuple[str, ...]
        match self.kind, self.step:
            case "database down", _:
                parts = ()
            case _, "quarantine":
                parts = (self.step, self.subject, self.part, self.reason)
            case "vendor down", _:
                parts = (self.subject,)
            case "capacity", _:
                parts = (normal(self.text, self.names),)
            case _, "test" | "fresh" | "slow" | "reconcile":
                parts = (self.step, self.subject)
            case _:
                parts = (self.step, self.subject, normal(self.text, self.names))
        return hashlib.sha256("\0".join((self.kind, *parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Well:
    """What was seen working: shards, (shard, model or test), and (step, who) of what is looked at as a whole. `gone`:
    causes of which nothing is left, and what became of them."""

    shards: frozenset[str] = frozenset()
    nodes: frozenset[tuple[str, str]] = frozenset()
    others: frozenset[tuple[Step, str]] = frozenset()
    gone: tuple[tuple[Cause, str], ...] = ()


@dataclass
class Heard:
    """What of a cycle's events matters here, kept while it runs."""

    failed: list[Extracted | Loaded | ShardBuild] = field(default_factory=list)
    newest: dict[str, tuple[str, ...]] = field(default_factory=dict)  # shard → blocks loaded, the last first
    shards: set[str] = field(default_factory=set)
    nodes: set[tuple[str, str]] = field(default_factory=set)
    wrong: set[tuple[str, str]] = field(default_factory=set)
    set_aside: dict[tuple[str, str, str], SetAside] = field(default_factory=dict)  # by source, stream and reason
    dead: set[str] = field(default_factory=set)  # shards that failed as a whole

    def hear(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case Extracted(failure=Failure()) | Loaded(failure=Failure()):
                self.failed.append(event)
            case Loaded(waits=False):
                self.newest[event.shard] = (*reversed(event.blocks), *self.newest.get(event.shard, ()))[:20]
                self.shards.add(event.shard)
            case SetAside():
                self.set_aside[event.source, event.stream, event.reason] = event
            case ShardBuild():
                self._hear_build(event)

    def _hear_build(self, build: ShardBuild) -> None:
        if build.state == "failed":
            self.failed.append(build)
        if build.state == "built" or build.reason == NOTHING_NEW or (build.result and build.result.failed):
            self.shards.add(build.shard)
            self.dead.discard(build.shard)
        elif build.state == "failed":
            self.dead.add(build.shard)
        for node in build.result.nodes if build.result else ():
            key = build.shard, node.name
            if node.status in GOOD and not node.skipped:
                self.nodes.add(key)
                self.wrong.discard(key)  # a later pass of the same cycle
            elif node in build.result.failed if build.result else ():
                self.nodes.discard(key)
                self.wrong.add(key)

    def well(self, titles: Mapping[str, str]) -> Well:
        """What worked at last. `titles` as for `causes`."""
        over = [event for event in self.set_aside.values() if event.ended]
        gone = tuple((of_quarantine(event, titles), event.ended or "") for event in over)
        return Well(frozenset(self.shards - self.dead), frozenset(self.nodes), gone=gone)

    def causes(self, titles: Mapping[str, str]) -> list[Cause]:
        """The causes, each as often as it was met. `titles`: what vendors are called, by integration."""
        found: list[Cause] = []
        for event in self.failed:
            match event:
                case Extracted():
                    found.append(_of_extract(event, titles.get(event.integration, event.integration)))
                case Loaded():
                    found.append(_of_load(event, titles.get(event.integration, event.integration)))
                case ShardBuild():
                    found += self._of_build(event)
        return found + [of_quarantine(event, titles) for event in self.set_aside.values() if not event.ended]

    def _of_build(self, build: ShardBuild) -> list[Cause]:
        nodes = [n for n in build.result.failed if (build.shard, n.name) in self.wrong] if build.result else []
        own = [n for n in nodes if not _lacks_parent(n)]
        nodes = own if any(n.kind == "model" for n in own) else nodes
        if build.result is not None and build.result.failed:
            return [self._of_node(build, node) for node in nodes]
        if build.shard not in self.dead:
            return []  # a later pass went well
        kind = class_of_text("config", build.reason)
        kind = "our bug" if kind == "settings" and build.result is not None else kind
        return [_of_shard(build.shard, kind, build.reason, self._again(build.shard, kind))]

    def _again(self, shard: str, kind: Class) -> str:
        """What to run where a shard failed as a whole: of one whose worker died or did not end, what that was at."""
        if kind != "capacity":
            return "larder status"
        blocks = self.newest.get(shard)
        return f"larder reproduce {blocks[0]}" if blocks else f"larder cycle --shard {shard}"

    def _of_node(self, build: ShardBuild, node: NodeResult) -> Cause:
        is_test = node.kind in ("test", "unit_test")
        said = node.message or node.status
        blocks = self.newest.get(build.shard, ())
        command = f"larder build --shard {build.shard} --select {node.name}"
        if blocks and node.kind != "unit_test":
            command = f"larder reproduce {blocks[0]} --model {node.name}"
        usual: Class = "data" if node.kind == "test" else "our bug"
        kind = class_of_text("us", said)
        return Cause(
            "test" if is_test else "model", usual if kind == "our bug" else kind, node.name, build.shard, said, command,
            names=frozenset({build.shard, node.name}),
        )  # fmt: skip


def _lacks_parent(node: NodeResult) -> bool:
    """Whether a node failed for want of another one's table: where a model failed too, that one is the cause."""
    return (node.kind == "test" and node.status != "fail") or "does not exist" in (node.message or "")


def _of_extract(event: Extracted, title: str) -> Cause:
    assert event.failure is not None
    return Cause(
        "extract", event.failure.kind, title, event.source, event.failure.cause, event.failure.next_command,
        event.stream, _names(event) | {title},
    )  # fmt: skip


def _of_load(event: Loaded, title: str) -> Cause:
    """A block that cannot be loaded; or a whole shard, where no block is named or none is to blame."""
    assert event.failure is not None
    kind, said, names = event.failure.kind, event.failure.cause, _names(event) | {title}
    if not event.blocks or kind in ("database down", "capacity"):
        return _of_shard(event.shard, kind, said, event.failure.next_command, names)
    command = f"larder reproduce {event.blocks[0]} --load-only"
    return Cause("load", kind, title, event.source, said, command, event.stream, names)


def of_quarantine(event: SetAside, titles: Mapping[str, str]) -> Cause:
    """Records that were set aside for one reason, of which nothing is told but that and how many."""
    kind, said = SET_ASIDE[event.reason]
    command = f"larder reproduce {event.block} --load-only" if event.block else ""
    title = titles.get(event.integration, event.integration)
    return Cause(
        "quarantine", kind, title, event.source, said, command, event.stream, reason=event.reason, records=event.records
    )


def _of_shard(shard: str, kind: Class, said: str, command: str, names: frozenset[str] = frozenset()) -> Cause:
    return Cause("shard", kind, "", shard, said, command, names=names | {shard})


def _names(event: Extracted | Loaded) -> frozenset[str]:
    return frozenset({event.shard, event.business, event.source, event.integration, event.stream} - {""})
