"""One run over one source's streams, window by window, each batch of sites from its own position."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from psycopg2.extensions import connection as Connection

from ingestion import backoff, cursors, index, vendor_clock
from ingestion.blocks import BlockStore, Manifest, Window
from ingestion.cadence import next_due
from ingestion.cursors import Position, Span
from ingestion.draft import Draft
from ingestion.errors import ConfigError, CredentialsError, LarderError, PutOffError, VendorError
from ingestion.http import Client, CursorExpiredError
from ingestion.limits import Until
from ingestion.nested import NestedLists
from ingestion.page import Page
from ingestion.paging import Pager, TooManyError
from ingestion.reader import Lines, calls, field_values
from ingestion.source import SourceRef, since
from ingestion.spec import IntegrationSpec, Stream
from ingestion.times import format_time

MAX_RECORDS, MAX_BYTES = 50_000, 128 * 1024 * 1024  # of a block, where the stream can be cut
_RESTARTS = 3  # of a window whose page cursor expired

Clock = Callable[[], datetime]
Progress = Callable[[SourceRef, str, int], None]  # source, stream, records so far
# put_off: the run's time was over. backing_off, breaker: it, or its vendor, is left alone for a while.
Outcome = Literal["block", "empty", "failed", "not_due", "busy", "put_off", "backing_off", "breaker"]


@dataclass(frozen=True)
class StreamResult:
    """What became of one stream of one source."""

    source: SourceRef
    stream: str
    outcome: Outcome
    blocks: tuple[UUID, ...] = ()
    records: int = 0
    bytes: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    error: LarderError | None = None
    more: bool = False  # its turn was over, or the run: there is more to read


@dataclass(frozen=True)
class Options:
    """How to extract. `patience`: seconds of waiting and retrying that one request may cost."""

    streams: frozenset[str] | None = None  # None: all
    force: bool = False  # also what is not due
    heed: bool = True  # leave alone what is backing off
    patience: float = 300.0
    turn: float | None = None  # seconds of reading after which a stream lets others go first, at a block's end
    until: Until = field(default_factory=Until)  # the end of the whole run
    progress: Progress | None = None
    max_records: int = MAX_RECORDS


class Extraction:
    """One run over one source's streams."""

    def __init__(
        self,
        source: SourceRef,
        spec: IntegrationSpec,
        store: BlockStore,
        conn: Connection,
        clock: Clock,
        options: Options,
    ) -> None:
        self.source, self.spec, self.store, self.conn, self.clock, self.options = (
            source,
            spec,
            store,
            conn,
            clock,
            options,
        )
        self.client = Client(spec, source, patience=options.patience, until=options.until)
        self._values: dict[tuple[str, str], list[str]] = {}  # (stream, field) → what this run read there

    def run(self) -> list[StreamResult]:
        opening = opens_at(self.spec, self.clock())
        if opening is not None and self.options.force:
            raise ConfigError(
                f"{self.spec.title} may be asked from {opening:%Y-%m-%d %H:%M} UTC on: it has allowed hours",
                next_command=self.source.extract_command,
            )
        due_now = index.due_streams(self.conn, self.source.source_id, self.spec, self.clock())
        held = backoff.backoffs(self.conn, [self.source.source_id])
        results: list[StreamResult] = []
        for stream in self.spec.streams:
            if self.options.streams is not None and stream.name not in self.options.streams:
                continue
            idle = idle_outcome(self.source, stream, stream in due_now, held, self.options, self.clock())
            if idle is not None:
                results.append(StreamResult(self.source, stream.name, idle, more=idle == "put_off"))
                continue
            results.append(self._one(stream))
            if isinstance(results[-1].error, CredentialsError) and all(result.error for result in results):
                break  # refused for one stream only, it would be a permission that is missing
        return results

    def _one(self, stream: Stream) -> StreamResult:
        key = (self.source.source_id, stream.name)
        started = time.monotonic()
        if not index.lock_stream(self.conn, *key):
            return StreamResult(self.source, stream.name, "busy")
        try:
            index.recover(self.conn, self.store, key)
            run = StreamRun(self, stream)
            run.read_all()
            result = run.result()
        finally:
            if not self.conn.closed:
                index.unlock_stream(self.conn, *key)
        return replace(result, seconds=time.monotonic() - started)

    def values(self, stream: Stream, field: str) -> list[str]:
        """The values of a field over all records of another stream, read from the vendor once in a run."""
        key = (stream.name, field)
        if key not in self._values:
            found: dict[str, None] = {}
            for call in calls(
                self.spec,
                stream,
                self.client.address_of(stream),
                self.source.config,
                sites=self.sites(stream),
                parents=self.parents(stream),
                window=(None, None),
            ):
                for page in self.pager(stream).pages(call.request):
                    found.update(dict.fromkeys(field_values(page, stream, self.spec, field)))
            self._values[key] = list(found)
        return self._values[key]

    def remember(self, stream: Stream, field: str, values: Iterable[str]) -> None:
        """Keep what the run just read of a stream, for the streams that fan out over it."""
        self._values[(stream.name, field)] = list(values)

    def sites(self, stream: Stream) -> list[str]:
        """The sites that a stream fans out over; none if it does not."""
        if stream.sites is None:
            return []
        if stream.sites.config is not None:
            return [str(site) for site in self.source.config[stream.sites.config]]
        assert stream.sites.stream is not None and stream.sites.field is not None
        return self.values(self.spec.stream(stream.sites.stream), stream.sites.field)

    def parents(self, stream: Stream) -> list[str]:
        """The parent keys that a stream is asked for one by one; none if it is not."""
        return [] if stream.parent is None else self.values(self.spec.stream(stream.parent.stream), stream.parent.field)

    def pager(self, stream: Stream) -> Pager:
        """A pager for the stream."""

        def count(page: Page) -> int:
            return sum(1 for _ in page.records(stream.records, may_be_absent=self.spec.omits_empty))

        return Pager(self.client, stream.paging, count, self.source.extract_command, both_ways=stream.complete)


def idle_outcome(
    source: SourceRef,
    stream: Stream,
    due: bool,
    held: Mapping[tuple[int, str], backoff.Backoff],
    options: Options,
    now: datetime,
) -> Outcome | None:
    """Why a stream is not asked now; None: it is."""
    if not options.force and not due:
        return "not_due"
    if options.heed and backoff.waits(held, source.source_id, stream.name, now):
        return "backing_off"
    return "put_off" if options.until.over else None


def opens_at(spec: IntegrationSpec, now: datetime) -> datetime | None:
    """When a vendor with allowed hours may be asked next; None: now."""
    if spec.allowed_hours is None:
        return None
    opening = spec.allowed_hours.opens_at(now)
    return None if opening == now else opening


class _TurnOver(Exception):
    """No error: a block is done, and others wait."""


class StreamRun:
    """One stream, window by window, each batch of sites from its own position."""

    def __init__(self, extraction: Extraction, stream: Stream) -> None:
        self.x, self.stream = extraction, stream
        self.key = (extraction.source.source_id, stream.name)
        self.cursor = index.read_cursor(extraction.conn, *self.key)
        self.last = index.last_block(extraction.conn, *self.key)
        self.observed = index.last_observed(extraction.conn, *self.key)
        self.draft = Draft(extraction.conn, extraction.store, extraction.source, extraction.spec, stream)
        self.pager = extraction.pager(stream)
        self.nested = NestedLists(
            extraction.client,
            extraction.spec,
            stream,
            extraction.source.config,
            extraction.source.extract_command,
        )
        self.manifests: list[Manifest] = []
        self.cut_at: Position | None = None  # of the window that is being read
        self.swept: Stream | None = None  # the stream whose sweep is being read as a snapshot
        self.records = self.requests = self.retries = 0
        self.error: LarderError | None = None
        self.started_at = datetime.now(UTC)
        self.more = False
        self._began = time.monotonic()

    @property
    def _over(self) -> bool:
        """Whether to stop at the next block's end; the cursor is there, and the stream stays due."""
        turn = self.x.options.turn
        return self.x.options.until.over or (turn is not None and time.monotonic() - self._began > turn)

    def read_all(self) -> None:
        """Read every batch of sites up to now. The failure of one batch stops no other."""
        now = self.x.clock()
        finished = True
        try:
            batches = cursors.batches(self.stream, self.cursor, self.x.sites(self.stream))
        except PutOffError:
            self.more = True
            return
        except LarderError as error:
            self._fail(error)
            return
        if self.cursor is None and cursors.is_sweep_due(self.stream, None, now):
            batches = []  # the first extract is the first sweep
        read = 0
        for sites, position in batches:
            try:
                for span in cursors.spans(self.stream, position, now, since(self.x.source)):
                    if opens_at(self.x.spec, self.x.clock()) is not None:
                        finished = False  # the rest when the vendor opens again; the stream stays due
                        break
                    if read and self._over:
                        raise _TurnOver
                    position = self._read_span(sites, position, span)
                    read += 1
            except (_TurnOver, PutOffError):
                self.more = True
                break
            except LarderError as error:
                self._fail(error)
                if isinstance(error, CredentialsError) and not read:
                    break  # refused for one site only, it would be a permission that is missing
            except OSError as error:
                self._fail(self._unwritable(error))
                break
        finished = finished and not self.more
        if finished and cursors.is_sweep_due(self.stream, self.cursor, now) and opens_at(self.x.spec, now) is None:
            self._sweep(now)
        if self.error is None and finished and not self.more:
            index.set_read(self.x.conn, *self.key, now, next_due(*self.key, self.stream.cadence, now))

    def _sweep(self, now: datetime) -> None:
        """Read the stream whole, whatever became of its windows: the cursor stays where they left it."""
        stream = self.swept = self.stream
        self.stream = stream.as_snapshot
        try:
            self._read_span(tuple(self.x.sites(stream)), Position(), Span(None, None, now))
        except PutOffError:
            self.more = True
        except LarderError as error:
            self._fail(error)
        except OSError as error:
            self._fail(self._unwritable(error))
        finally:
            self.swept, self.stream = None, stream

    def _unwritable(self, error: OSError) -> LarderError:
        return LarderError(
            f"the block store {self.x.store.url} cannot be written: {error}",
            turn="us",
            next_command=self.x.source.extract_command,
        )

    def result(self) -> StreamResult:
        """What came of it."""
        nothing: Outcome = "put_off" if self.more else "empty"
        outcome: Outcome = "failed" if self.error else "block" if self.manifests else nothing
        return StreamResult(
            source=self.x.source,
            stream=self.stream.name,
            outcome=outcome,
            blocks=tuple(manifest.block_id for manifest in self.manifests),
            records=sum(manifest.records for manifest in self.manifests),
            bytes=sum(manifest.bytes for manifest in self.manifests),
            requests=self.requests,
            retries=self.retries,
            error=self.error,
            more=self.more,
        )

    def _fail(self, error: LarderError) -> None:
        self.error = self.error or error
        evidence = self.x.client.take_evidence()
        self.requests += evidence.requests
        self.retries += evidence.retries
        index.record_failure(
            self.x.conn,
            index.LogEntry(
                *self.key, self.started_at, requests=evidence.requests, retries=evidence.retries, error=error
            ),
        )

    def _read_span(self, sites: tuple[str, ...], position: Position, span: Span) -> Position:
        """Read one window; when the vendor forgets the page cursor, ask anew for what is not in a block yet."""
        for restart in range(_RESTARTS + 1):
            self.cut_at = None
            try:
                return self._read_once(sites, position, span)
            except CursorExpiredError:
                if restart == _RESTARTS:
                    raise
                if self.cut_at is not None:
                    position, span = self.cut_at, replace(span, start=self.cut_at.value)
            except TooManyError:
                self.draft.discard()
                return self._read_halves(sites, position, span)
            finally:
                self.draft.discard()
        raise AssertionError("unreachable")

    def _read_halves(self, sites: tuple[str, ...], position: Position, span: Span) -> Position:
        """Read a window that has more records than the vendor serves for one request."""
        halves = cursors.halves(self.stream, span)
        if halves is None:
            raise VendorError(
                f"{self.x.spec.title} has more records of {self.stream.name} from {span.start} to {span.end} "
                "than it serves",
                next_command=self.x.source.extract_command,
            )
        for half in halves:
            position = self._read_span(sites, position, half)
        return position

    def _read_once(self, sites: tuple[str, ...], position: Position, span: Span) -> Position:
        self.observed = max(self.x.clock(), self.observed + timedelta(microseconds=1))
        lines = Lines(self.x.spec, self.stream, position.seen, span, self.nested.completed)
        requests = list(
            calls(
                self.x.spec,
                self.stream,
                self.x.client.address_of(self.stream),
                self.x.source.config,
                sites=sites,
                parents=self.x.parents(self.stream),
                window=(span.start, span.end),
            )
        )
        start, first = span.start, True
        wanted = self._wanted()
        found: dict[str, dict[str, None]] = {field: {} for field in wanted}
        for call in requests:
            for page in self.pager.pages(call.request):
                if first:
                    span, first = vendor_clock.within(span, self.stream, page.headers), False
                for name in wanted:
                    found[name].update(dict.fromkeys(field_values(page, self.stream, self.x.spec, name)))
                content, count = lines.of(page, call.context)
                if count:
                    self.draft.append(content, count)
                    self.records += count
                if self.x.options.progress:
                    self.x.options.progress(self.x.source, self.stream.name, self.records)
                if self.stream.ascending and len(requests) == 1 and self._full() and start and lines.cut() > start:
                    cut = lines.cut()
                    self._commit(sites, replace(span, start=start, end=cut, resume=cut), lines)
                    start, self.cut_at = cut, Position(cut, frozenset(lines.overlap(cut)))
                    if self._over:
                        raise _TurnOver
                if lines.passed:
                    break
        self._finish(sites, replace(span, start=start), lines)
        for name in wanted:
            self.x.remember(self.stream, name, found[name])
        return Position(span.resume, frozenset(lines.overlap(span.resume)))

    def _wanted(self) -> list[str]:
        """Fields of this stream that later streams fan out over."""
        wanted: list[str] = []
        for other in self.x.spec.streams:
            if other.parent and other.parent.stream == self.stream.name:
                wanted.append(other.parent.field)
            if other.sites and other.sites.stream == self.stream.name and other.sites.field:
                wanted.append(other.sites.field)
        return wanted

    def _full(self) -> bool:
        return self.draft.records >= self.x.options.max_records or self.draft.size >= MAX_BYTES

    def _finish(self, sites: tuple[str, ...], span: Span, lines: Lines) -> None:
        """End a window: a block, or a cursor that moves over nothing."""
        window = self._window(span)
        if self.stream.complete and self.draft.records and self._same_as_last(window):
            self.draft.discard()
            self._empty(sites, span, lines, f"the same as block {self.last.block_id if self.last else ''}")
        elif self.draft.records:
            self._commit(sites, span, lines)
        elif self.stream.deletes == "complete_window" and self.last and self.last.records:
            self._commit(sites, span, lines)  # nothing is left in a window that may have had records: that is news
        elif self.stream.deletes == "snapshot" and self.last and self.last.records:
            self._empty(sites, span, lines, "an empty list is not taken for the deletion of everything")
        else:
            self._empty(sites, span, lines, None)

    def _same_as_last(self, window: Window) -> bool:
        return self.last is not None and self.last.window == window and self.last.sha256 == self.draft.sha256

    def _window(self, span: Span) -> Window:
        cursor = self.stream.cursor
        if cursor is None or span.start is None or span.end is None:
            return Window(complete=self.stream.complete)
        return Window(
            start=format_time(span.start, cursor.format),
            end=format_time(span.end, cursor.format),
            complete=self.stream.complete,
        )

    def _after(self, sites: tuple[str, ...], span: Span, lines: Lines) -> index.Cursor:
        if self.swept is not None:
            return cursors.swept(self.swept, self.cursor, sites, span.resume)
        return cursors.moved(self.stream, self.cursor, sites, span.resume, lines.overlap(span.resume))

    def _commit(self, sites: tuple[str, ...], span: Span, lines: Lines) -> None:
        after = self._after(sites, span, lines)
        evidence = self.x.client.take_evidence()
        self.requests += evidence.requests
        self.retries += evidence.retries
        manifest = self.draft.commit(
            started_at=self.started_at,
            window=self._window(span),
            sites=sites,
            before=self.cursor,
            after=after,
            observed_at=self.observed,
            http=evidence,
        )
        self.manifests.append(manifest)
        self.last, self.cursor = manifest, after
        self.observed += timedelta(microseconds=1)

    def _empty(self, sites: tuple[str, ...], span: Span, lines: Lines, message: str | None) -> None:
        after = self._after(sites, span, lines)
        evidence = self.x.client.take_evidence()
        self.requests += evidence.requests
        self.retries += evidence.retries
        window = self._window(span)
        index.record_empty(
            self.x.conn,
            after,
            index.LogEntry(
                *self.key,
                self.started_at,
                window_from=window.start,
                window_to=window.end,
                requests=evidence.requests,
                retries=evidence.retries,
                message=message,
            ),
        )
        self.cursor = after
