"""What is loaded first: small fresh blocks before big ones and what was read again, businesses in turn.

Blocks go to a shard in passes, each followed by a build. A pass takes what fits: of a tenant with a thousand blocks,
and of the other with one, the first pass has the other's one.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ingestion.manifest import Manifest

Lane = Literal["fresh", "bulk"]
BULK_BYTES = 8 << 20  # above it a block is a backfill
FRESH_PASS = 64 << 20  # of records in a pass; one bigger block is a pass by itself
BULK_PASS = 16 << 20  # fresh blocks that come meanwhile wait for it: some seconds of load and build


def lane_of(manifest: Manifest) -> Lane:
    """The lane of a block."""
    return "bulk" if manifest.is_reimport or manifest.bytes > BULK_BYTES else "fresh"


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
    """The blocks to load now, out of all that wait: of one lane."""
    fresh = [manifest for manifest in manifests if lane_of(manifest) == "fresh"]
    most = FRESH_PASS if fresh else BULK_PASS
    taken: list[Manifest] = []
    size = 0
    for manifest in in_turn(fresh or manifests):
        if taken and size + manifest.bytes > most:
            break
        taken.append(manifest)
        size += manifest.bytes
    return taken
