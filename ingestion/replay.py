"""Load blocks again from the store, as a new generation that publishes only differences.

For what was loaded with other checks, another natural key or other volatile fields than today's. The vendor is not
asked and no cursor moves; a block that says what raw says already changes nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from uuid import UUID

from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import ConfigError
from ingestion.load import Progress, Work, connect, load_works, stream_of
from ingestion.outcome import Failure, LoadResult
from ingestion.spec import IntegrationSpec


def replay(
    shard_dsn: str,
    schemas: Mapping[str, str],
    manifests: Sequence[Manifest],
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
    progress: Progress | None = None,
) -> LoadResult:
    """Load blocks of one shard again; one that was never loaded there is loaded as usual.

    Parameters and errors as in `load_blocks`. One block's failure stops no other.
    """
    result = LoadResult()
    works: list[Work] = []
    newest = generations(shard_dsn, schemas, [manifest.block_id for manifest in manifests])
    for manifest in manifests:
        try:
            generation = max(newest.get(manifest.block_id, 0) + 1, manifest.generation)
            works.append(Work(manifest.model_copy(update={"generation": generation}), stream_of(manifest, specs)))
        except ConfigError as error:
            result.failures.append(Failure(manifest.business, (manifest.block_id,), error))
    load_works(shard_dsn, schemas, works, store, result, progress)
    return result


def generations(shard_dsn: str, schemas: Mapping[str, str], block_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The newest generation that a shard has of each block; LarderError when the shard cannot be reached."""
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            f'select block_id, max(generation) from "{schemas["raw"]}".loaded_blocks where block_id = any(%s)'
            " group by block_id",
            (list(block_ids),),
        )
        return dict(cur.fetchall())
