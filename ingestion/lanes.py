"""What is loaded first: what is fresh before a backlog and what was read again, businesses in turn.

Blocks go to a shard in passes, each followed by a build. While all that is fresh fits in one pass it is one: a source's
orders and their payments stay together, and no build is spent twice. Where it does not fit, sources with little waiting
go first, whole; a tenant with a thousand blocks has the passes after.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ingestion.manifest import Manifest

Lane = Literal["fresh", "bulk"]
FRESH_PASS = 64 << 20  # bytes of records in a pass
BACKLOG = 8 << 20  # of one source: beyond it, it waits for the others where not all fit
BULK_PASS = 16 << 20  # fresh blocks that come meanwhile wait for it: some seconds of load and build


def lane_of(manifests: Sequence[Manifest]) -> Lane:
    """The lane of a pass."""
    return "bulk" if any(m.is_reimport for m in manifests) or _size(manifests) > BACKLOG else "fresh"


def in_turn(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """The oldest block of each business, then the second of each, …."""
    lines: dict[int, deque[Manifest]] = {}
    for manifest in sorted(manifests, key=lambda one: one.block_id):
        lines.setdefault(manifest.business, deque()).append(manifest)
    while lines:
        for business in list(lines):
            yield lines[business].popleft()
            if not lines[business]:
                del lines[business]


def next_pass(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The blocks to load now, out of all that wait: never some that are fresh and some that were read again."""
    fresh = [manifest for manifest in manifests if not manifest.is_reimport]
    if fresh and _size(fresh) <= FRESH_PASS:
        return list(in_turn(fresh))
    return _small_sources(fresh) or _slice(fresh or manifests)


def _small_sources(fresh: Sequence[Manifest]) -> list[Manifest]:
    """Sources with little waiting, each whole, those with the oldest block first, until the pass is full."""
    by_source: dict[str, list[Manifest]] = defaultdict(list)
    for manifest in in_turn(fresh):
        by_source[manifest.source_id].append(manifest)
    taken: list[Manifest] = []
    for blocks in by_source.values():
        if _size(blocks) <= BACKLOG and _size(taken) + _size(blocks) <= FRESH_PASS:
            taken += blocks
    return taken


def _slice(manifests: Sequence[Manifest]) -> list[Manifest]:
    """What of a backlog fits in a pass; a block that is bigger than one goes alone."""
    taken: list[Manifest] = []
    for manifest in in_turn(manifests):
        if taken and _size(taken) + manifest.bytes > BULK_PASS:
            break
        taken.append(manifest)
    return taken


def _size(manifests: Iterable[Manifest]) -> int:
    return sum(manifest.bytes for manifest in manifests)
