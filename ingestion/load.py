"""Load blocks into raw: check every record, land them by dlt, publish one business at a time.

Blocks of many businesses travel together in batches of at most 64 MB, small (fresh) blocks before big ones. A batch
that cannot be landed is halved until the one block at fault is found; that one is reported, the others load.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg2
import psycopg2.extras
from psycopg2.extensions import connection as Connection

from ingestion import statistics
from ingestion.blocks import BlockStore, Manifest
from ingestion.checks import Accepted, as_text, checker
from ingestion.data.definitions import refresh_views
from ingestion.data.mapping import DEFINITIONS
from ingestion.data.spec import NAME as DATA
from ingestion.drift import Shape
from ingestion.errors import ConfigError, DataError, LarderError
from ingestion.landing import PACKAGE_BYTES, Row, Slot, land, slot, sweep
from ingestion.lanes import BACKLOG
from ingestion.outcome import Failure, LoadResult
from ingestion.publish import LandedBlock, publish
from ingestion.spec import IntegrationSpec, Stream
from ingestion.trouble import is_passing, trouble_of

log = logging.getLogger(__name__)
_TRIES = 3  # of a publish that another session was in the way of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """A block to load: all of its records, or (a retry) those at some ordinals."""

    manifest: Manifest
    stream: Stream
    ordinals: frozenset[int] | None = None


def load_blocks(
    shard_dsn: str,
    schemas: Mapping[str, str],
    manifests: Iterable[Manifest],
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
    progress: Progress | None = None,
) -> LoadResult:
    """Load blocks into one shard; those in its ledger are left alone.

    Args:
        schemas: the shard's names of `raw` and `keys`.
        specs: integrations by name.
        progress: called with (records read, records in all).

    Returns what was published and what failed: one block's or business's failure stops no other.

    Raises:
        LarderError: when the shard cannot be reached.
    """
    result = LoadResult()
    works: list[Work] = []
    for manifest in manifests:
        try:
            works.append(Work(manifest, stream_of(manifest, specs)))
        except ConfigError as error:
            result.failures.append(Failure(manifest.business, (manifest.block_id,), error))
    load_works(shard_dsn, schemas, works, store, result, progress)
    return result


def stream_of(manifest: Manifest, specs: Mapping[str, IntegrationSpec]) -> Stream:
    """The stream of a block; ConfigError if its integration does not have it (any more)."""
    try:
        return specs[manifest.integration].stream(manifest.stream)
    except KeyError:
        raise ConfigError(
            f"block {manifest.block_id} is of {manifest.integration}.{manifest.stream}, which no integration.yml"
            " declares",
            next_command="larder integration list",
        ) from None


def load_works(
    shard_dsn: str,
    schemas: Mapping[str, str],
    works: Sequence[Work],
    store: BlockStore,
    result: LoadResult,
    progress: Progress | None = None,
) -> None:
    """Load whole blocks or some of their records, adding to `result`; see `load_blocks`."""
    with closing(connect(shard_dsn)) as conn:
        known = _in_ledger(conn, schemas["raw"], [work.manifest for work in works if work.ordinals is None])
        result.already.extend(block_id for block_id, _ in known)
        todo = [work for work in works if work.ordinals is not None or _identity(work.manifest) not in known]
        if not todo:
            return
        with slot(conn, schemas["raw"]) as taken:
            loader = _Loader(conn, shard_dsn, schemas, store, taken, result, progress)
            loader.total = sum(work.manifest.records for work in todo)
            for batch in batches(todo):
                loader.load(batch)
        statistics.refresh(conn, schemas["raw"], result.blocks)
        ours = {block.block_id for block in result.blocks if block.integration == DATA}
        if ours:
            from ingestion.data.again import settle  # which needs this module

            manifests = [work.manifest for work in todo if work.manifest.block_id in ours and work.ordinals is None]
            refresh_views(conn, schemas, renew=any(manifest.stream == DEFINITIONS for manifest in manifests))
            settle(conn, shard_dsn, schemas, manifests)


@contextmanager
def landed_only(
    shard_dsn: str, schemas: Mapping[str, str], works: Sequence[Work], store: BlockStore
) -> Iterator[tuple[Connection, Slot, list[LandedBlock]]]:
    """Blocks in a landing table and nowhere else; they go away with the connection. Raises LarderError for a block that
    cannot be landed."""
    from dlt.pipeline.exceptions import PipelineStepFailed

    with closing(connect(shard_dsn)) as conn, slot(conn, schemas["raw"]) as taken:
        try:
            landed, damaged = _Loader(conn, shard_dsn, schemas, store, taken, LoadResult(), None).land(works)
        except PipelineStepFailed as error:
            raise DataError(f"the blocks cannot be landed: {_root(error)}", next_command="larder status") from error
        if damaged:
            raise damaged[0][1]
        yield conn, taken, landed


def connect(dsn: str) -> Connection:
    """A connection to a shard; LarderError when it cannot be had."""
    try:
        conn = psycopg2.connect(
            dsn,
            application_name="larder load",
            connect_timeout=5,
            options="-c client_min_messages=warning -c jit=off -c timezone=UTC -c client_connection_check_interval=5s",
        )
    except psycopg2.OperationalError as error:
        raise _unreachable(error) from error
    psycopg2.extras.register_uuid(conn_or_curs=conn)  # type: ignore[no-untyped-call]
    return conn


def batches(works: Iterable[Work]) -> Iterator[list[Work]]:
    """Works in batches of at most 64 MB of records, or of one bigger block; fresh ones first, businesses together."""
    batch: list[Work] = []
    size = 0
    for work in sorted(works, key=_lane):
        length = work.manifest.bytes
        if batch and size + length > PACKAGE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(work)
        size += length
    if batch:
        yield batch


def _lane(work: Work) -> tuple[bool, int, UUID]:
    manifest = work.manifest
    return manifest.bytes > BACKLOG, manifest.business, manifest.block_id


def _identity(manifest: Manifest) -> tuple[UUID, int]:
    return manifest.block_id, manifest.generation


def _in_ledger(conn: Connection, raw: str, manifests: Sequence[Manifest]) -> set[tuple[UUID, int]]:
    with conn, conn.cursor() as cur:
        cur.execute(
            f'select block_id, generation from "{raw}".loaded_blocks where block_id = any(%s)',
            ([manifest.block_id for manifest in manifests],),
        )
        return {_identity(manifest) for manifest in manifests} & set(cur.fetchall())


@dataclass
class _Loader:
    """One load on one shard: the connection that holds the slot, and what comes of it."""

    conn: Connection
    dsn: str
    schemas: Mapping[str, str]
    store: BlockStore
    slot: Slot
    result: LoadResult
    progress: Progress | None
    total: int = 0
    done: int = 0

    def load(self, batch: Sequence[Work]) -> None:
        """Land and publish a batch; halve it when dlt cannot land it."""
        from dlt.pipeline.exceptions import PipelineStepFailed

        try:
            landed, damaged = self.land(batch)
        except PipelineStepFailed as error:
            self._check_alive()
            sweep(self.conn, self.slot)
            if (trouble := trouble_of(error)) is not None:
                self._fail(batch, trouble)
                return
            if len(batch) > 1:
                self.load(batch[: len(batch) // 2])
                self.load(batch[len(batch) // 2 :])
                return
            block_id = batch[0].manifest.block_id
            cause = f"block {block_id} cannot be loaded: {_root(error)}"
            self._fail(batch, DataError(cause, next_command=f"larder blocks show {block_id}"))
            return
        for work, damage in damaged:
            self._fail([work], damage)
        for business in sorted({block.manifest.business for block in landed}):
            self._publish(business, [block for block in landed if block.manifest.business == business])
        sweep(self.conn, self.slot)

    def land(self, batch: Sequence[Work]) -> tuple[list[LandedBlock], list[tuple[Work, DataError]]]:
        """Land a batch: the blocks that are in the landing table now, and those whose files are damaged."""
        landed: list[LandedBlock] = []
        damaged: list[tuple[Work, DataError]] = []
        land(self.dsn, self.slot, self._rows(batch, landed, damaged))
        return landed, damaged

    def _publish(self, business: int, blocks: Sequence[LandedBlock], tries: int = _TRIES) -> None:
        """Publish, and when the database refuses the whole, the halves: one bad block does not hold the others."""
        try:
            self.result.add(publish(self.conn, self.schemas, self.slot, business, blocks))
        except LarderError as error:
            self._fail(blocks, error)
        except psycopg2.Error as error:
            self._check_alive()
            if is_passing(error) and tries > 1:
                self._publish(business, blocks, tries - 1)
                return
            if (trouble := trouble_of(error)) is not None:
                self._fail(blocks, trouble)
                return
            if len(blocks) > 1:
                self._publish(business, blocks[: len(blocks) // 2])
                self._publish(business, blocks[len(blocks) // 2 :])
                return
            block_id = blocks[0].manifest.block_id
            cause = f"block {block_id} cannot be published: {_root(error)}"
            self._fail(blocks, DataError(cause, next_command=f"larder blocks show {block_id}"))

    def _fail(self, blocks: Sequence[Work] | Sequence[LandedBlock], error: LarderError) -> None:
        log.error("%s", error)
        ids = tuple(block.manifest.block_id for block in blocks)
        self.result.failures.append(Failure(blocks[0].manifest.business, ids, error))

    def _check_alive(self) -> None:
        """LarderError if the shard is gone: then no block is at fault."""
        try:
            self.conn.rollback()
            with self.conn, self.conn.cursor() as cur:
                cur.execute("select 1")
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise _unreachable(error) from error

    def _rows(
        self, batch: Sequence[Work], landed: list[LandedBlock], damaged: list[tuple[Work, DataError]]
    ) -> Iterator[Row]:
        """The rows of a batch. A block is added to `landed` when its bytes proved to be its manifest's, else to
        `damaged`; what was landed of it by then is not published."""
        for number, work in enumerate(batch):
            try:
                counts = [0, 0]
                yield from self._block_rows(number, work, counts)
            except DataError as error:
                damaged.append((work, error))
            else:
                retry = work.ordinals is not None
                landed.append(LandedBlock(number, work.manifest, work.stream, counts[0], counts[1], retry))
            self.done += work.manifest.records
            if self.progress:
                self.progress(min(self.done, self.total), self.total)

    def _block_rows(self, number: int, work: Work, counts: list[int]) -> Iterator[Row]:
        check = checker(work.stream)
        observed_at = work.manifest.observed_at
        shape = self.result.shapes[work.manifest.block_id] = Shape()
        for ordinal, raw in enumerate(self.store.read(work.manifest)):
            if work.ordinals is not None and ordinal not in work.ordinals:
                continue
            counts[0] += 1
            found = check(raw, observed_at)
            if isinstance(found, Accepted):
                shape.add(raw)
                yield Row(number, ordinal, found.natural_key, found.modified_at, found.window_at, found.hash, raw)
            else:
                counts[1] += 1
                yield Row(
                    number, ordinal, found.natural_key, found.modified_at, None, None, None,
                    found.reason, found.detail, as_text(raw),
                )  # fmt: skip


def _root(error: BaseException) -> str:
    """The first cause of an error, on one line."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return " ".join(str(error).split())


def _unreachable(error: Exception) -> LarderError:
    return LarderError(
        f"the shard cannot be reached: {' '.join(str(error).split())}", turn="us", next_command="larder status"
    )
