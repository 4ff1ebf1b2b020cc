"""Extraction: vendor → blocks, for one source or many, with cursors that move only with their block."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import psycopg2
from psycopg2.extensions import connection as Connection

from ingestion import backoff, index
from ingestion.blocks import BlockStore
from ingestion.data.spec import DataSpec
from ingestion.errors import ConfigError, LarderError
from ingestion.registry import spec_of
from ingestion.run import Clock, Extraction, Options, Outcome, Progress, StreamResult
from ingestion.side_by_side import SideBySide
from ingestion.source import SourceRef, check_source
from ingestion.spec import IntegrationSpec, Stream

__all__ = [
    "Clock", "Options", "Outcome", "Progress", "StreamResult", "due", "extract_all", "extract_each", "extract_source",
    "worst",
]  # fmt: skip


def extract_all(
    sources: Sequence[SourceRef],
    store: BlockStore,
    control_dsn: str,
    clock: Clock,
    options: Options | None = None,
    *,
    workers: int = 4,
) -> list[StreamResult]:
    """Extract many sources side by side; the failure of one is in its results and stops no other."""
    results: dict[int, list[StreamResult]] = {source.source_id: [] for source in sources}
    for some in extract_each(sources, store, control_dsn, clock, options, workers=workers):
        for result in some:
            results[result.source.source_id].append(result)
    return [result for of_source in results.values() for result in of_source]


def extract_each(
    sources: Sequence[SourceRef],
    store: BlockStore,
    control_dsn: str,
    clock: Clock,
    options: Options | None = None,
    *,
    workers: int = 4,
) -> Iterator[list[StreamResult]]:
    """`extract_all`, a source's results as soon as its turn is over; with `options.turn` a source can have several.

    Sources are taken in turn between businesses and vendors (ingestion/turns.py). What is backing off, or of a vendor
    whose breaker is open, is left alone unless `options.heed` is False.
    """
    options = options or Options()
    specs, unreadable = _specs(sources)
    for result in unreadable:
        _note(control_dsn, result.source, [result], clock)
        yield [result]
    try:
        with closing(index.connect(control_dsn)) as conn:
            waiting = _waiting(conn, specs, clock, options)
            breakers = backoff.breakers(conn) if options.heed else {}
    except LarderError as error:
        yield from ([StreamResult(source, "", "failed", error=error)] for source in sources)
        return
    todo = []
    for source in sources:
        if source.source_id in waiting:
            chosen = _chosen(specs[source.source_id], options)
            yield [StreamResult(source, stream.name, waiting[source.source_id]) for stream in chosen]
        elif source.source_id in specs:
            todo.append(source)

    def turn(source: SourceRef, streams: frozenset[str] | None) -> list[StreamResult]:
        spec = specs[source.source_id]
        theirs = options if streams is None else replace(options, streams=streams)
        return extract_source(source, spec, store, control_dsn, clock, theirs)

    yield from SideBySide(todo, turn, breakers, control_dsn, clock, options).results(workers)


def _specs(sources: Sequence[SourceRef]) -> tuple[dict[int, IntegrationSpec], list[StreamResult]]:
    specs: dict[int, IntegrationSpec] = {}
    failed: list[StreamResult] = []
    for source in sources:
        try:
            specs[source.source_id] = spec_of(source.integration, source.config, source.check_command)
        except LarderError as error:
            failed.append(StreamResult(source, "", "failed", error=error))
    return specs, failed


def _waiting(
    conn: Connection, specs: Mapping[int, IntegrationSpec], clock: Clock, options: Options
) -> dict[int, Outcome]:
    """Sources with nothing to ask now, found by two queries: an idle cycle over thousands opens no connection for
    each."""
    now = clock()
    due_at = {} if options.force else index.due_times(conn, list(specs))
    held = backoff.backoffs(conn, list(specs)) if options.heed else {}
    waiting: dict[int, Outcome] = {}
    for source_id, spec in specs.items():
        due = [
            stream.name
            for stream in _chosen(spec, options)
            if options.force or index.is_due(due_at.get((source_id, stream.name)), stream.cadence, now)
        ]
        if not due:
            waiting[source_id] = "not_due"
        elif all(backoff.waits(held, source_id, stream, now) for stream in due):
            waiting[source_id] = "backing_off"
    return waiting


def _chosen(spec: IntegrationSpec, options: Options) -> list[Stream]:
    return [stream for stream in spec.streams if options.streams is None or stream.name in options.streams]


def extract_source(
    source: SourceRef,
    spec: IntegrationSpec,
    store: BlockStore,
    control_dsn: str,
    clock: Clock,
    options: Options | None = None,
) -> list[StreamResult]:
    """Extract what is due of one source, stream by stream in the spec's order.

    `clock` is the vendor's: real time, or the sandbox's. A failing stream does not stop the next, unless settings or
    credentials are to blame. Errors are in the results, and noted for the next time; nothing is raised for them.
    """
    results = _extracted(source, spec, store, control_dsn, clock, options or Options())
    _note(control_dsn, source, results, clock)
    return results


def _extracted(
    source: SourceRef, spec: IntegrationSpec, store: BlockStore, control_dsn: str, clock: Clock, options: Options
) -> list[StreamResult]:
    try:
        check_source(source, spec)
        unknown = sorted((options.streams or frozenset()) - {stream.name for stream in spec.streams})
        if unknown:
            raise ConfigError(
                f"{spec.title} has no stream {unknown[0]!r}; known: {', '.join(s.name for s in spec.streams)}",
                next_command="larder integration list",
            )
        with closing(index.connect(control_dsn)) as conn:
            if isinstance(spec, DataSpec):
                from ingestion.data.run import DataExtraction  # SQLAlchemy, for those who need it

                return DataExtraction(source, spec, store, conn, clock, options).run()
            return Extraction(source, spec, store, conn, clock, options).run()
    except LarderError as error:
        return [StreamResult(source, "", "failed", error=error)]
    except psycopg2.Error as error:
        return [StreamResult(source, "", "failed", error=_control_failed(source, error))]


def _note(control_dsn: str, source: SourceRef, results: Sequence[StreamResult], clock: Clock) -> None:
    """Remember who failed. Where the control database fails, that is what the results tell already."""
    asked = {r.stream: r.error for r in results if r.outcome in ("block", "empty", "failed")}
    if not asked or any(error is not None and error.turn == "us" for error in asked.values()):
        return
    with closing(index.connect(control_dsn)) as conn:
        backoff.note(conn, source.source_id, asked, clock())


def _control_failed(source: SourceRef, error: psycopg2.Error) -> LarderError:
    return LarderError(
        f"the control database failed while {source.label} was extracted: {' '.join(str(error).split())}",
        turn="us",
        next_command="larder status",
    )


def due(source: SourceRef, spec: IntegrationSpec, control_dsn: str, clock: Clock) -> list[str]:
    """Names of the streams whose time has come."""
    with closing(index.connect(control_dsn)) as conn:
        return [stream.name for stream in index.due_streams(conn, source.source_id, spec, clock())]


def worst(results: Iterable[StreamResult]) -> LarderError | None:
    """The error that a command should end with: settings first, then credentials, then the rest; None if none."""
    order: Mapping[str, int] = {"config": 0, "credentials": 1, "us": 2, "data": 3, "vendor": 4}
    errors = [result.error for result in results if result.error is not None]
    return min(errors, key=lambda error: order.get(error.turn, 5), default=None)
