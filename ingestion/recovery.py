"""Loads that a shard lost, because it was restored from before them: found by comparing index and ledger, loaded again.

The index of the control database names every block; the ledger of the shard says which it holds. `loaded_at` in the
index is a hint of loads that the shard, as it is now, may never have seen.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing

from psycopg2.extensions import connection as Connection

from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import LarderError
from ingestion.load import connect, load_blocks
from ingestion.outcome import LoadResult
from ingestion.pending import load_and_mark
from ingestion.spec import IntegrationSpec


def lost_loads(
    control: Connection, shard_dsn: str, schemas: Mapping[str, str], source_ids: Sequence[int]
) -> list[Manifest]:
    """Blocks of these sources that were loaded once and are not in the shard's ledger, oldest first."""
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(f'select distinct block_id from "{schemas["raw"]}".loaded_blocks')
        held = {block_id for (block_id,) in cur.fetchall()}
    with control, control.cursor() as cur:
        cur.execute(
            "select manifest from control.blocks where source_id = any(%s) and loaded_at is not null order by block_id",
            (list(source_ids),),
        )
        manifests = [Manifest.model_validate(row[0]) for row in cur.fetchall()]
    return [manifest for manifest in manifests if manifest.block_id not in held]


def load_again(
    control: Connection | None,
    shard_dsn: str,
    schemas: Mapping[str, str],
    lost: Sequence[Manifest],
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
) -> LoadResult:
    """Load what was lost; with `control` also note there what could not be.

    Raises:
        LarderError: the first block that cannot be loaded.
    """
    if control is not None:
        with control, control.cursor() as cur:  # pending until it is in: a kill in between loses nothing
            cur.execute(
                "update control.blocks set loaded_at = null where block_id = any(%s)",
                ([manifest.block_id for manifest in lost],),
            )
        result = load_and_mark(control, shard_dsn, schemas, lost, store, specs)
    else:
        result = load_blocks(shard_dsn, schemas, lost, store, specs)
    if result.failures:
        error = result.failures[0].error
        raise LarderError(
            f"a block that was loaded before cannot be loaded again: {error.cause}", turn=error.turn,
            next_command=error.next_command,
        )  # fmt: skip
    return result
