"""A window of a source read from the vendor once more: what would change, and then the change.

The vendor is asked as always (its longest window, allowed hours, rate budget), in windows of a day, so that the blocks
stay small. They are kept aside until it is known what they change; then they are adopted: into the store and the index,
as bulk, while the stream's cursor stays where it is. From there on they are blocks like any other. Where the vendor's
window is read completely, a record that is no longer in it is taken for deleted, by the rule of every load.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from ingestion import cursors, index
from ingestion.blocks import BlockStore, Manifest
from ingestion.cursors import Position, Span
from ingestion.data.spec import DataSpec
from ingestion.draft import Aside
from ingestion.errors import ConfigError, LarderError, VendorError
from ingestion.reader import Lines
from ingestion.run import Clock, Extraction, Options, StreamRun, opens_at
from ingestion.source import SourceRef, check_source
from ingestion.spec import IntegrationSpec, Stream

_CHUNK = 1 << 20
MAX_RECORDS = 10_000  # of a block, where the stream can be cut: other businesses' news go between two of them
_WAIT_MS = 60_000  # for an extract that reads the stream now


@dataclass(frozen=True)
class Asked:
    """What to read again: [start, end), and the days, both included, for vendors that count in days."""

    start: datetime
    end: datetime
    first_day: date
    last_day: date

    def of(self, stream: Stream) -> tuple[datetime, datetime]:
        """The instants between which a stream is asked."""
        if stream.cursor is None or stream.cursor.grain != "date":
            return self.start, self.end
        first, last = (datetime.combine(day, time(), UTC) for day in (self.first_day, self.last_day))
        return first, last + timedelta(days=1)


@dataclass(frozen=True)
class Reread:
    """One stream that was read again: its blocks, kept aside."""

    stream: Stream
    manifests: tuple[Manifest, ...]
    windows: int
    requests: int


def streams_of(spec: IntegrationSpec, names: Sequence[str] | None = None) -> list[Stream]:
    """The streams that can be read again by window: all of them, or those named (also one without windows, whole).

    Raises ConfigError: no such stream, or none that has windows.
    """
    if isinstance(spec, DataSpec):
        raise ConfigError(
            "files and tables of one's own are read again when they change, and as they are now",
            next_command="larder files list",
        )
    known = {stream.name: stream for stream in spec.streams}
    if unknown := sorted(set(names or ()) - set(known)):
        raise ConfigError(
            f"{spec.title} has no stream {unknown[0]!r}; known: {', '.join(known)}",
            next_command="larder integration list",
        )
    chosen = [s for s in spec.streams if (s.name in names if names else s.cursor is not None)]
    if not chosen:
        raise ConfigError(
            f"{spec.title} has no stream with windows: each extract reads all of it", next_command="larder extract"
        )
    return chosen


def read_again(
    source: SourceRef,
    spec: IntegrationSpec,
    streams: Iterable[Stream],
    asked: Asked,
    aside: BlockStore,
    control_dsn: str,
    clock: Clock,
    options: Options,
) -> list[Reread]:
    """Read a window of some streams into blocks of a store of their own; nothing else is written.

    Raises:
        LarderError: of any kind; nothing is half done then, as nothing was adopted.
    """
    check_source(source, spec)
    with closing(index.connect(control_dsn)) as conn:
        extraction = Extraction(source, spec, aside, conn, clock, options)
        return [_Rerun(extraction, stream).read(*asked.of(stream)) for stream in streams]


def adopt(control_dsn: str, store: BlockStore, aside: BlockStore, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Take blocks into the store and the index, where they are pending; the cursors stay.

    Each block is taken whole or not at all: a kill in between leaves those that were taken, and an intent that the next
    extract settles.
    """
    adopted: list[Manifest] = []
    with closing(index.connect(control_dsn)) as conn:
        for manifest in manifests:
            key = (int(manifest.source_id), manifest.stream)
            if not index.lock_stream(conn, *key, wait_ms=_WAIT_MS):
                raise LarderError(
                    f"{manifest.stream} is being extracted, for longer than a minute; {len(adopted)} of"
                    f" {len(manifests)} blocks were taken in and are pending",
                    turn="us",
                    next_command="larder reimport …, again later",
                )
            try:
                index.recover(conn, store, key)
                cursor = index.read_cursor(conn, *key)
                told = manifest.model_copy(update={"cursor_before": cursor, "cursor_after": cursor or {}})
                index.declare_intent(conn, told.path, told.data_path, told.block_id, key)
                with aside.open_data(told) as source, store.open_write(told.data_path) as sink:
                    shutil.copyfileobj(source, sink, _CHUNK)
                store.write_bytes(told.path, told.model_dump_json(indent=1).encode() + b"\n")
                entry = index.LogEntry(*key, datetime.now(UTC), message="read again by request")
                index.record_block(conn, told, entry)
                adopted.append(told)
            finally:
                index.unlock_stream(conn, *key)
    return adopted


class _Rerun(StreamRun):
    """One stream read again: windows that are given, blocks that stay aside, and no word of it in the control
    database."""

    def __init__(self, extraction: Extraction, stream: Stream) -> None:
        super().__init__(extraction, stream)
        self.last = None
        self.draft = Aside(extraction.conn, extraction.store, extraction.source, extraction.spec, stream)

    def read(self, start: datetime, end: datetime) -> Reread:
        stream, now = self.stream, self.x.clock()
        end = min(end, now)
        if start >= end:
            raise ConfigError(f"the window begins at {start:%Y-%m-%d %H:%M} UTC, which is not before its end or now",
                              next_command="larder reimport --help")  # fmt: skip
        oldest = now - stream.cursor.max_age if stream.cursor and stream.cursor.max_age else None
        if oldest is not None and start < oldest:
            raise VendorError(
                f"{self.x.spec.title} serves nothing of {stream.name} before {oldest:%Y-%m-%d}",
                next_command=f"larder reimport … --from {oldest:%Y-%m-%d}",
            )
        spans = [Span(None, None, now)] if stream.cursor is None else list(cursors.pieces(stream, start, end))
        for sites, _ in cursors.batches(stream, None, self.x.sites(stream)):
            for span in spans:
                opening = opens_at(self.x.spec, self.x.clock())
                if opening is not None:
                    raise ConfigError(
                        f"{self.x.spec.title} may be asked from {opening:%Y-%m-%d %H:%M} UTC on: it has allowed hours",
                        next_command="larder reimport …, with fewer days, when it opens",
                    )
                self._read_span(sites, Position(), span)
        return Reread(stream, tuple(self.manifests), len(spans), self.requests)

    def _finish(self, sites: tuple[str, ...], span: Span, lines: Lines) -> None:
        """A block, also an empty one where that says that nothing is left."""
        if self.draft.records or self.stream.deletes == "complete_window":
            self._commit(sites, span, lines)
        else:
            self._empty(sites, span, lines, None)

    def _empty(self, sites: tuple[str, ...], span: Span, lines: Lines, message: str | None) -> None:
        evidence = self.x.client.take_evidence()
        self.requests += evidence.requests
        self.retries += evidence.retries

    def _after(self, sites: tuple[str, ...], span: Span, lines: Lines) -> index.Cursor:
        return self.cursor or {}

    def _commit(self, sites: tuple[str, ...], span: Span, lines: Lines) -> None:
        cursor = self.cursor
        super()._commit(sites, span, lines)
        self.cursor, self.last = cursor, None
