"""The load step of a cycle: pending blocks of one shard into its raw schemas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg2.extensions import connection as Connection

from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import LarderError
from ingestion.gate import GateClosedError
from ingestion.registry import discover
from orchestration.events import Failure, Loaded
from sharding.errors import LarderError as ShardingError
from sharding.migrate import require_usable
from sharding.model import LOADER, Shard, Source

if TYPE_CHECKING:
    from ingestion.publish import BlockCount

Progress = Callable[[int, int], None]  # records read, records in all


def load_shard(
    shard: Shard,
    manifests: Sequence[Manifest],
    store: BlockStore,
    sources: Mapping[int, Source],
    control: Connection,
    progress: Progress | None = None,
) -> Iterator[Loaded]:
    """Load blocks of one shard and mark them as loaded in the control database.

    Yields one event a source and stream, and one for what failed of it. An unreachable shard fails each of its streams;
    the blocks stay pending.
    """
    from ingestion.pending import load_and_mark  # dlt takes 1.5 s to import; an idle cycle does without

    stream_of = {m.block_id: (int(m.source_id), m.stream) for m in manifests}
    try:
        require_usable(shard)
        result = load_and_mark(
            control, shard.as_role(LOADER).dsn, shard.schemas, manifests, store, discover(), progress
        )
    except (LarderError, ShardingError) as error:
        yield from not_loaded(shard, manifests, sources, Failure.of(error))
        return
    published: dict[tuple[int, str], list[BlockCount]] = defaultdict(list)
    for block in result.blocks:
        published[stream_of[block.block_id]].append(block)
    for key, blocks in published.items():
        yield _event(shard, sources, key, [b.block_id for b in blocks], blocks)
    for failed in result.failures:
        ids: dict[tuple[int, str], list[UUID]] = defaultdict(list)
        for block_id in failed.block_ids:
            ids[stream_of[block_id]].append(block_id)
        for key, block_ids in ids.items():
            if isinstance(failed.error, GateClosedError):
                yield _event(shard, sources, key, block_ids, waits=True)
            else:
                yield _event(shard, sources, key, block_ids, failure=Failure.of(failed.error))


def not_loaded(
    shard: Shard, manifests: Sequence[Manifest], sources: Mapping[int, Source], failure: Failure
) -> Iterator[Loaded]:
    """One event for each stream of a shard that cannot be reached, or that was not done in time."""
    for key in dict.fromkeys((int(m.source_id), m.stream) for m in manifests):
        yield _event(shard, sources, key, failure=failure)


def _event(
    shard: Shard,
    sources: Mapping[int, Source],
    key: tuple[int, str],
    block_ids: Sequence[UUID] = (),
    counts: Sequence[BlockCount] = (),
    failure: Failure | None = None,
    waits: bool = False,
) -> Loaded:
    source = sources[key[0]]
    return Loaded(
        shard.name,
        source.business_name,
        source.label,
        source.integration,
        key[1],
        tuple(str(b) for b in block_ids),
        records=sum(c.records for c in counts),
        versions=sum(c.versions for c in counts),
        unchanged=sum(c.unchanged for c in counts),
        superseded=sum(c.superseded for c in counts),
        quarantined=sum(c.quarantined for c in counts),
        tombstones=sum(c.tombstones for c in counts),
        failure=failure,
        waits=waits,
    )
