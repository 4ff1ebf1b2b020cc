"""Extraction: vendor → blocks, for one source or many, with cursors that move only with their block."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2

from ingestion import index
from ingestion.blocks import BlockStore
from ingestion.data.spec import DataSpec
from ingestion.errors import ConfigError, LarderError
from ingestion.registry import spec_of
from ingestion.run import Clock, Extraction, Options, Outcome, Progress, StreamResult
from ingestion.source import SourceRef, check_source
from ingestion.spec import IntegrationSpec, Stream

__all__ = ["Clock", "Options", "Outcome", "Progress", "StreamResult", "due", "extract_all", "extract_source", "worst"]


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
    options = options or Options()
    specs, results = _specs(sources)
    try:
        idle: set[int] = set() if options.force else _idle(specs, control_dsn, clock, options)
    except LarderError as error:
        return [StreamResult(source, "", "failed", error=error) for source in sources]
    busy = [source for source in sources if source.source_id in specs and source.source_id not in idle]
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        futures = [
            pool.submit(extract_source, source, specs[source.source_id], store, control_dsn, clock, options)
            for source in busy
        ]
    by_source = {source.source_id: future.result() for source, future in zip(busy, futures, strict=True)}
    for source in sources:
        if source.source_id in idle:
            chosen = _chosen(specs[source.source_id], options)
            by_source[source.source_id] = [StreamResult(source, stream.name, "not_due") for stream in chosen]
    return results + [result for source in sources for result in by_source.get(source.source_id, [])]


def _specs(sources: Sequence[SourceRef]) -> tuple[dict[int, IntegrationSpec], list[StreamResult]]:
    specs: dict[int, IntegrationSpec] = {}
    failed: list[StreamResult] = []
    for source in sources:
        try:
            specs[source.source_id] = spec_of(source.integration, source.config, source.check_command)
        except LarderError as error:
            failed.append(StreamResult(source, "", "failed", error=error))
    return specs, failed


def _idle(
    specs: Mapping[int, IntegrationSpec],
    control_dsn: str,
    clock: Clock,
    options: Options,
) -> set[int]:
    """Sources with nothing due, found by one query: an idle cycle over thousands opens no connection for each."""
    now = clock()
    with closing(index.connect(control_dsn)) as conn:
        due_at = index.due_times(conn, list(specs))
    return {
        source_id
        for source_id, spec in specs.items()
        if not any(
            index.is_due(due_at.get((source_id, stream.name)), stream.cadence, now) for stream in _chosen(spec, options)
        )
    }


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
    credentials are to blame. Errors are in the results; nothing is raised for them.
    """
    options = options or Options()
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
        failure = LarderError(
            f"the control database failed while {source.label} was extracted: {' '.join(str(error).split())}",
            turn="us",
            next_command="larder status",
        )
        return [StreamResult(source, "", "failed", error=failure)]


def due(source: SourceRef, spec: IntegrationSpec, control_dsn: str, clock: Clock) -> list[str]:
    """Names of the streams whose time has come."""
    with closing(index.connect(control_dsn)) as conn:
        return [stream.name for stream in index.due_streams(conn, source.source_id, spec, clock())]


def worst(results: Iterable[StreamResult]) -> LarderError | None:
    """The error that a command should end with: settings first, then credentials, then the rest; None if none."""
    order: Mapping[str, int] = {"config": 0, "credentials": 1, "us": 2, "data": 3, "vendor": 4}
    errors = [result.error for result in results if result.error is not None]
    return min(errors, key=lambda error: order.get(error.turn, 5), default=None)
