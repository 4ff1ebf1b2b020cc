"""A cycle's events as Dagster's: one materialization and check result per finished shard, never for another shard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration.events import Event, Extracted, Loaded, ShardDone
from orchestration.keys import block_key, raw_key
from orchestration.results import GOOD, NodeResult
from orchestration.specs import EVERY_SOURCE_ANSWERED, NOTHING_QUARANTINED, Graph
from orchestration.transform import ShardBuild

Output = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation
UNCHANGED = "unchanged: the change stopped here"
_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def outputs(graph: Graph, events: Iterator[Event], businesses: Mapping[str, Sequence[str]]) -> Iterator[Output]:
    """Translate a cycle as it runs.

    `businesses`: who lives on each shard, by display name. A shard's models come out after each of its passes, its
    streams when all of it is done: a stream and shard together whatever the number of its sources and passes.
    """
    extracted: dict[str, list[Extracted]] = defaultdict(list)
    loaded: dict[str, list[Loaded]] = defaultdict(list)
    for event in events:
        match event:
            case Extracted():
                extracted[event.shard].append(event)
            case Loaded():
                loaded[event.shard].append(event)
            case ShardBuild():
                yield from _of_build(graph, event, businesses.get(event.shard, ()))
            case ShardDone():
                yield from _of_extract(graph, extracted.pop(event.shard, ()))
                yield from _of_load(loaded.pop(event.shard, ()))
    for left in {**extracted, **loaded}:  # read or loaded once more after that
        yield from _of_extract(graph, extracted[left])
        yield from _of_load(loaded[left])


def _of_extract(graph: Graph, events: Sequence[Extracted]) -> Iterator[Output]:
    groups: dict[tuple[str, str, str], list[Extracted]] = defaultdict(list)
    for event in events:
        # a source that fails as a whole (no credentials) fails each of its streams
        streams = (
            [event.stream] if event.stream else [s for _, i, s in graph.streams.values() if i == event.integration]
        )
        for stream in dict.fromkeys(streams):
            groups[event.shard, event.integration, stream].append(event)
    for (shard, integration, stream), group in groups.items():
        key = block_key(integration, stream)
        with_blocks = [e for e in group if e.blocks]
        if with_blocks:
            rows = [
                {"business": e.business, "source": e.source, "records": e.records, "blocks": "\n".join(e.blocks),
                 "requests": e.requests, "retries": e.retries, "seconds": e.seconds}
                for e in with_blocks
            ]  # fmt: skip
            yield dg.AssetMaterialization(
                key,
                partition=shard,
                metadata={
                    "businesses": _names(with_blocks),
                    "records": sum(e.records for e in with_blocks),
                    "bytes": sum(e.bytes for e in with_blocks),
                    "blocks": _block_ids(with_blocks),
                    "seconds": round(sum(e.seconds for e in with_blocks), 3),
                    "sources": _table(rows),
                },
            )
        failed = [e for e in group if e.failure]
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=EVERY_SOURCE_ANSWERED,
            passed=not failed,
            severity=_ERROR,
            partition=shard,
            description=f"{shard}: {len(failed)} of {len(group)} sources failed"
            if failed
            else f"{shard}: all answered",
            metadata={"failures": _failures(failed)} if failed else {},
        )


def _of_load(events: Sequence[Loaded]) -> Iterator[Output]:
    groups: dict[tuple[str, str, str], list[Loaded]] = defaultdict(list)
    for event in events:
        groups[event.shard, event.integration, event.stream].append(event)
    for (shard, integration, stream), group in groups.items():
        key = raw_key(integration, stream)
        good = [e for e in group if not e.failure]
        if good:
            counts = ("records", "versions", "unchanged", "superseded", "quarantined", "tombstones")
            rows = [{"business": e.business, "source": e.source, **{c: getattr(e, c) for c in counts}} for e in good]
            yield dg.AssetMaterialization(
                key,
                partition=shard,
                metadata={
                    "businesses": _names(good),
                    **{c: sum(getattr(e, c) for e in good) for c in counts},
                    "blocks": _block_ids(good),
                    "sources": _table(rows),
                },
            )
            set_aside = sum(e.quarantined for e in good)
            yield dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=NOTHING_QUARANTINED,
                passed=not set_aside,
                severity=_WARN,
                partition=shard,
                description=f"{shard}: {set_aside} records set aside; larder quarantine list --shard {shard}"
                if set_aside
                else f"{shard}: none",
            )


def _of_build(graph: Graph, build: ShardBuild, businesses: Sequence[str]) -> Iterator[Output]:
    if build.result is None:
        return
    for node in build.result.nodes:
        if node.kind in ("model", "seed", "snapshot", "python"):
            key = graph.key_of.get(node.unique_id)
            if key is None or node.status not in GOOD:
                continue
            if node.skipped:
                # an observation, not a materialization: nothing was made, and lineage must not say that it was
                yield dg.AssetObservation(key, partition=build.shard, metadata={"skipped": node.skipped})
            else:
                yield dg.AssetMaterialization(key, partition=build.shard, metadata=_rows(node, build, businesses))
        elif (check := graph.tests.get(node.unique_id)) and node.status != "skipped":
            yield dg.AssetCheckEvaluation(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=node.status == "pass",
                severity=_WARN if node.status == "warn" else _ERROR,
                partition=build.shard,
                description=f"{build.shard}: {node.message or node.status}",
                metadata={"failing_rows": node.failures or 0, "seconds": node.seconds},
            )


def _rows(node: NodeResult, build: ShardBuild, businesses: Sequence[str]) -> dict[str, Any]:
    known = {} if node.changed is None else {"rows_inserted": node.inserted or 0, "rows_deleted": node.deleted or 0}
    change = {} if node.changed is None else {"change": UNCHANGED if node.changed == 0 else "passed on"}
    return {
        "businesses": ", ".join(businesses),
        **known,
        **change,
        "seconds": node.seconds,
        "built_because": build.reason,
        **({"said": node.message} if node.message else {}),
    }


def _names(events: Sequence[Extracted] | Sequence[Loaded]) -> str:
    return ", ".join(sorted({e.business for e in events}))


def _block_ids(events: Sequence[Extracted] | Sequence[Loaded]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.json({e.source: list(e.blocks) for e in events})


def _failures(events: Sequence[Extracted]) -> dg.MetadataValue[Any]:
    return _table(
        [
            {"business": e.business, "source": e.source, "cause": e.failure.cause, "turn": e.failure.turn,
             "next": e.failure.next_command}
            for e in events
            if e.failure
        ]
    )  # fmt: skip


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])
