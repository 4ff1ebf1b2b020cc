"""Publish landed blocks of one business into raw: one transaction, everything or nothing.

What ends up current does not depend on the order in which blocks are loaded. A key's current version is the greatest by
(modified_at, observed_at, block_id, ordinal, generation); a key is gone when a completely read window that covers it
was observed after the key was last seen in any block, quarantined records included. Both are recomputed for every key
that a publish touches.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from ingestion import publish_sql as sql
from ingestion import replay_sql as again
from ingestion.blocks import Manifest
from ingestion.errors import LarderError
from ingestion.gate import open_gate
from ingestion.landing import Slot
from ingestion.spec import Stream
from ingestion.windows import bounds

_ANALYZE_FROM = 1000  # rows; below, Postgres' guesses are good enough and analyze costs more than it saves


@dataclass(frozen=True)
class LandedBlock:
    """A block whose records are in the landing table: `landed` of them, `rejected` with a reason.

    `retry`: only quarantined records of a block that was published before.
    """

    number: int
    manifest: Manifest
    stream: Stream
    landed: int
    rejected: int
    retry: bool = False


@dataclass(frozen=True)
class BlockCount:
    """What became of a published block's records (of a retry: of those retried)."""

    block_id: UUID
    generation: int
    source_id: int
    integration: str
    stream: str
    records: int
    versions: int
    unchanged: int
    superseded: int
    quarantined: int
    tombstones: int


@dataclass(frozen=True)
class Change:
    """A key whose current row would change: `was` and `becomes` are its payloads, None where it is not there. `at`:
    when it happened, by the stream's window field, else when it was last modified."""

    stream: str
    natural_key: str
    was: bytes | None
    becomes: bytes | None
    at: datetime | None


@dataclass(frozen=True)
class Published:
    """One publish: the blocks, and how many keys of each stream changed (I, U or D in the feed)."""

    business: int
    blocks: tuple[BlockCount, ...]
    already: tuple[UUID, ...]
    changed: Mapping[tuple[int, str], int]


def publish(
    conn: Connection, schemas: Mapping[str, str], slot: Slot, business: int, blocks: Sequence[LandedBlock]
) -> Published:
    """Publish one business's landed blocks in one transaction.

    `schemas` maps `raw` and `keys` to the shard's schema names. Raises LarderError when the business takes no writes
    here (SQLSTATE LD001) or the landing rows are not those that were landed; psycopg2.Error for the rest.
    """
    streams = _streams(blocks)
    with conn, conn.cursor() as cur:
        work = _Work(cur, schemas, slot, business)
        already = work.compare(blocks)
        for (integration, stream), links in streams:
            work.write_versions(integration, stream, links)
        work.move_heads()
        work.overtake()
        changed = work.feed()
        counts = work.ledger()
        work.read_through([block.number for block in blocks if block.stream.tells_events])
    return Published(business, counts, already, changed)


def previewed(
    conn: Connection, schemas: Mapping[str, str], slot: Slot, business: int, blocks: Sequence[LandedBlock]
) -> Iterator[Change | BlockCount]:
    """What a publish of one business's landed blocks would change, key by key, and then what would become of each
    block: the publish itself, taken back before it writes a version. Other publishes of the business wait until the
    last change was read. Raises as `publish`.
    """
    try:
        with conn.cursor() as cur:
            work = _Work(cur, schemas, slot, business)
            work.compare(blocks)
            for (integration, stream), _ in _streams(blocks):
                yield from work.changes(integration, stream)
            work.run(sql.COUNT)
            yield from work.counts()
    finally:
        conn.rollback()


def _streams(blocks: Sequence[LandedBlock]) -> list[tuple[tuple[str, str], list[str]]]:
    """The streams of the blocks, (integration, stream), each with its links."""
    return sorted({(b.manifest.integration, b.manifest.stream): b.stream.link_paths for b in blocks}.items())


class _Work:
    """The steps of one publish, on one cursor, in order."""

    def __init__(self, cur: Cursor, schemas: Mapping[str, str], slot: Slot, business: int) -> None:
        self._cur = cur
        self._names = {"{" + name + "}": f'"{schema}"' for name, schema in schemas.items()}
        self._names["{landing}"] = slot.table
        self._raw, self._keys = schemas["raw"], schemas["keys"]
        self._attempt = slot.attempt
        self._business = business

    def _fill(self, text: str) -> str:
        for name, real in self._names.items():
            text = text.replace(name, real)
        return text

    def run(self, text: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> int:
        """Execute; the number of rows."""
        self._cur.execute(self._fill(text), parameters or None)
        return self._cur.rowcount

    def reserve(self, how_many: int) -> int:
        """The first of as many new ids of the business."""
        self.run("select {keys}.reserve(%s, %s)", (self._business, how_many))
        row = self._cur.fetchone()
        assert row is not None
        return int(row[0])

    def compare(self, blocks: Sequence[LandedBlock]) -> tuple[UUID, ...]:
        """Everything up to what becomes of each key; returns the blocks that are in the ledger already."""
        self.prepare()
        for (integration, stream), links in _streams(blocks):
            self.run("select {raw}.ensure_stream(%s, %s, %s::text[])", (integration, stream, links))
        already = self.take(blocks)
        self.read_landing()
        self.quarantine()
        if any(block.manifest.generation > 1 and not block.retry for block in blocks):
            self.settle_earlier_generations()
        self.complete_windows()
        self.compare_with_heads()
        return already

    def changes(self, integration: str, stream: str) -> Iterator[Change]:
        """The keys of one stream whose current row would change, with the payloads of before and after."""
        table = f'"{self._raw}_{integration}"."{stream}"'
        with self._cur.connection.cursor("previewed") as cur:  # on the server: there may be more than memory holds
            cur.execute(self._fill(sql.CHANGES.replace("{table}", table)), (self._attempt, integration, stream))
            for row in cur:
                key, was, becomes, at = row
                yield Change(stream, key, was and was.encode(), becomes and becomes.encode(), at)

    def prepare(self) -> None:
        """The write gate first; one publish of a business at a time; then the temporary tables."""
        open_gate(self._cur, self._keys, self._business)
        self.run(sql.TEMPORARY)

    def take(self, blocks: Sequence[LandedBlock]) -> tuple[UUID, ...]:
        """Note the blocks to publish; returns those that are in the ledger already, which are left out."""
        execute_values(self._cur, "insert into publish_block values %s", [_block_row(block) for block in blocks])
        foreign = self.run("select from publish_block where {keys}.business_of(source_id) <> %s", (self._business,))
        if foreign:
            raise LarderError(
                f"a block of business {self._business} names a source of another business",
                turn="us",
                next_command="larder blocks list",
            )
        self.run(sql.FORGET_ALREADY_LOADED)
        return tuple(row[0] for row in self._cur.fetchall())

    def read_landing(self) -> None:
        """Put the landed rows, without payloads, in the order of the stream; all of them must be there."""
        rows = self.run(sql.READ_LANDING, (self._attempt,))
        if rows >= _ANALYZE_FROM:
            self.run("analyze publish_row")
        if self.run(sql.COUNT_MISSING, ()):
            row = self._cur.fetchone()
            assert row is not None
            raise LarderError(
                f"of block {row[0]}, {row[1]} of {row[2]} records are in the landing table: another process took its"
                " slot, or the database was recovered after a crash",
                turn="us",
                next_command="larder load",
            )
        self.run(sql.FORGET_DECIDED)
        self._rows = rows

    def quarantine(self) -> None:
        """Write the rejected records; resolve or renew those of a retry."""
        rejected = self.run("select from publish_row inner join publish_block using (block_no) where is_rejected")
        if rejected:
            self.run(sql.QUARANTINE, {"attempt": self._attempt, "first_id": self.reserve(rejected)})
        self.run(sql.QUARANTINE_AGAIN, (self._attempt,))
        self.run(sql.RESOLVE)

    def settle_earlier_generations(self) -> None:
        """Of blocks loaded again: keep out what a person gave up, and settle what was set aside before."""
        self.run(again.GIVE_UP_AGAIN)
        given_up = self.run(again.ACCEPTED_BUT_GIVEN_UP)
        if given_up:
            self.run(again.KEEP_OUT, {"first_id": self.reserve(given_up)})
        self.run(again.SETTLE_EARLIER)

    def complete_windows(self) -> None:
        """Note the windows that were read completely, and whose records can all be told apart."""
        self.run(sql.COMPLETE_WINDOWS)

    def compare_with_heads(self) -> None:
        """One row per touched key: what becomes of its newest record, and whether it is visible before and after."""
        if self._rows:
            self.run(sql.TOUCH_KEYS, {"first_id": self.reserve(self._rows)})
        if self.run("select from publish_block where tracks_absence limit 1"):
            self.run(sql.TOUCH_UNSEEN_KEYS)
            self.run(sql.JUDGE_ABSENCE)
        if self._rows >= _ANALYZE_FROM:
            self.run("analyze publish_key")

    def write_versions(self, integration: str, stream: str, links: Sequence[str]) -> None:
        """Append the new versions of one stream with their links, and a row of operation D for each key gone."""
        table = f'"{self._raw}_{integration}"."{stream}"'
        self.run(sql.VERSIONS.replace("{table}", table), (self._attempt, integration, stream))
        if links:
            self.run(sql.LINKS.replace("{table}", table), (list(links), integration, stream))
        gone = "select from publish_key where stream = %s and integration = %s and was_visible and not is_visible"
        number = self.run(gone, (stream, integration))
        if number:
            self.run(
                sql.DELETIONS.replace("{table}", table),
                {"first_id": self.reserve(number), "integration": integration, "stream": stream},
            )

    def move_heads(self) -> None:
        """Let heads name the current versions and their positions."""
        self.run(sql.UPDATE_HEADS)
        self.run(sql.INSERT_HEADS)

    def overtake(self) -> None:
        """Let what was set aside go where a later state of its record is known."""
        self.run(sql.OVERTAKE)

    def feed(self) -> dict[tuple[int, str], int]:
        """Publish the keys whose current row changed; returns their number by source and stream."""
        self.run(sql.FEED)
        self.run(sql.COUNT_FEED)
        return {(row[0], row[1]): row[2] for row in self._cur.fetchall()}

    def ledger(self) -> tuple[BlockCount, ...]:
        """Account for every record of every block."""
        self.run(sql.COUNT)
        self.run(sql.LEDGER)
        self.run(sql.LEDGER_OF_RETRIES)
        self.run(again.LEDGER_OF_GIVEN_UP)
        return self.counts()

    def counts(self) -> tuple[BlockCount, ...]:
        """What was counted, block by block."""
        self.run("select * from publish_count order by block_id")
        return tuple(BlockCount(*row) for row in self._cur.fetchall())

    def read_through(self, numbers: Sequence[int]) -> None:
        """Note up to when the streams of these blocks have been read."""
        self.run(sql.READ_THROUGH, (list(numbers),))


def _block_row(block: LandedBlock) -> tuple[object, ...]:
    manifest = block.manifest
    start, end = bounds(manifest, block.stream)
    return (
        block.number,
        str(manifest.block_id),
        manifest.generation,
        int(manifest.source_id),
        manifest.integration,
        manifest.stream,
        manifest.observed_at,
        block.stream.tells_absence,
        block.stream.tells_absence and manifest.window.complete,
        start,
        end,
        manifest.records,
        block.landed,
        block.rejected,
        block.retry,
    )
