"""Load what is pending: the blocks of the index that a shard's ledger does not have."""

from collections.abc import Mapping, Sequence
from contextlib import closing

from psycopg2.extensions import connection as Connection

from ingestion import counters, drift, index
from ingestion.blocks import BlockStore, Manifest
from ingestion.gate import GateClosedError
from ingestion.load import Progress, load_blocks
from ingestion.outcome import LoadResult
from ingestion.spec import IntegrationSpec


def load_pending(
    control_dsn: str,
    shard_dsn: str,
    schemas: Mapping[str, str],
    source_ids: Sequence[int],
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
    progress: Progress | None = None,
) -> LoadResult:
    """Load the pending blocks of some sources of one shard; see `load_and_mark`."""
    with closing(index.connect(control_dsn)) as control:
        manifests = index.pending(control, source_ids)
        return load_and_mark(control, shard_dsn, schemas, manifests, store, specs, progress)


def load_and_mark(
    control: Connection,
    shard_dsn: str,
    schemas: Mapping[str, str],
    manifests: Sequence[Manifest],
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
    progress: Progress | None = None,
) -> LoadResult:
    """Load blocks into their shard, and note in the control database which are in, which failed, and what drifted.

    Parameters and errors as in `load_blocks`. A note lost by a crash costs a look into the ledger the next time.
    """
    if not manifests:
        return LoadResult()
    result = load_blocks(shard_dsn, schemas, manifests, store, specs, progress)
    index.mark_loaded(control, result.loaded_block_ids)
    _count(control, result)
    for failure in result.failures:
        if isinstance(failure.error, GateClosedError):
            continue  # a business on its way: nothing failed
        index.mark_failed(control, failure.block_ids, failure.error)
    of_block = {manifest.block_id: manifest for manifest in manifests}
    for block in sorted(result.blocks, key=lambda block: block.block_id):  # as they were extracted
        drift.note(control, of_block[block.block_id], result.shapes[block.block_id])
    return result


_FATES = ("versions", "unchanged", "superseded", "quarantined")  # of a block's records


def _count(control: Connection, result: LoadResult) -> None:
    """Add what was loaded to the totals; where a process dies before this, they lack that load."""
    counts: list[counters.Count] = []
    for block in result.blocks:
        counts.append(("loaded_blocks", block.integration, "", 1))
        counts.append(("tombstones", block.integration, "", block.tombstones))
        counts += [("loaded_records", block.integration, fate, getattr(block, fate)) for fate in _FATES]
    failed = [failure for failure in result.failures if not isinstance(failure.error, GateClosedError)]
    counts += [("load_errors", "", failure.error.turn, len(failure.block_ids)) for failure in failed]
    with control, control.cursor() as cur:
        counters.add(cur, counts)
