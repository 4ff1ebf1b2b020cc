"""The block that an extract is writing: opened with its first record, committed with its cursor or given up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from psycopg2.extensions import connection as Connection

from ingestion.blocks import BlockStore, BlockWriter, HttpEvidence, Manifest, Window
from ingestion.index import LogEntry, declare_intent, forget_intent, record_block
from ingestion.manifest import REIMPORT
from ingestion.source import SourceRef
from ingestion.spec import IntegrationSpec, Stream


class Draft:
    """At most one open block of one stream. The order of its steps is what makes a kill harmless:

    intent → data file → manifest (the commit) → index row, cursor and log row in one transaction, intent removed.
    """

    created_by: ClassVar[str] = "larder extract"
    lane: ClassVar[Literal["fresh", "bulk"]] = "fresh"

    def __init__(
        self, conn: Connection, store: BlockStore, source: SourceRef, spec: IntegrationSpec, stream: Stream
    ) -> None:
        self._conn, self._store, self._source, self._spec, self._stream = conn, store, source, spec, stream
        self._writer: BlockWriter | None = None

    @property
    def records(self) -> int:
        """Records in the open block."""
        return self._writer.records if self._writer else 0

    @property
    def size(self) -> int:
        """Uncompressed bytes in the open block."""
        return self._writer.bytes if self._writer else 0

    @property
    def sha256(self) -> str | None:
        """Hash of the open block's bytes; None if no block is open."""
        return self._writer.sha256 if self._writer else None

    def append(self, lines: bytes, count: int) -> None:
        """Add `count` records, each ended by a line feed; opens the block if need be."""
        self._open().write_lines(lines, count)

    def commit(
        self,
        *,
        started_at: datetime,
        window: Window,
        sites: Sequence[str],
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any],
        observed_at: datetime,
        http: HttpEvidence,
    ) -> Manifest:
        """Make the open block (an empty one, if none is open) permanent together with the cursor `after`."""
        writer = self._open()
        writer.close()
        manifest = writer.manifest(
            integration=self._spec.name,
            integration_version=self._spec.version,
            window=window,
            sites=tuple(sites),
            cursor_before=None if before is None else dict(before),
            cursor_after=dict(after),
            observed_at=observed_at,
            http=http,
            created_by=self.created_by,
            lane=self.lane,
        )
        writer.commit(manifest)
        self._writer = None
        self._record(manifest, started_at)
        return manifest

    def discard(self) -> None:
        """Give up the open block, if there is one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()
            self._forget()

    def _open(self) -> BlockWriter:
        if self._writer is None:
            writer = self._store.writer(self._source.business, self._source.source_id, self._stream.name)
            self._announce(writer)
            self._writer = writer.__enter__()
        return self._writer

    def _announce(self, writer: BlockWriter) -> None:
        key = (self._source.source_id, self._stream.name)
        declare_intent(self._conn, writer.manifest_path, writer.data_path, writer.block_id, key)

    def _record(self, manifest: Manifest, started_at: datetime) -> None:
        record_block(self._conn, manifest, LogEntry(self._source.source_id, self._stream.name, started_at))

    def _forget(self) -> None:
        forget_intent(self._conn, (self._source.source_id, self._stream.name))


class Aside(Draft):
    """A draft of a reimport: its blocks stay in a store of their own, unknown to the index, until they are adopted."""

    created_by, lane = REIMPORT, "bulk"

    def _announce(self, writer: BlockWriter) -> None:
        pass

    def _record(self, manifest: Manifest, started_at: datetime) -> None:
        pass

    def _forget(self) -> None:
        pass
