"""The extract step of a cycle, in a thread beside all else: what each source gave is told as soon as it is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime

from ingestion import backoff, index
from ingestion.blocks import BlockStore
from ingestion.errors import CredentialsError
from ingestion.extract import Options, StreamResult, extract_each
from ingestion.source import SourceRef
from orchestration.events import Extracted, Failure
from orchestration.sources import source_ref
from sharding.catalogue import Catalogue
from sharding.errors import LarderError as ShardingError
from sharding.model import Source

IDLE_OUTCOMES = ("not_due", "busy", "put_off", "backing_off", "breaker")
WORKERS = 8  # sources side by side; they wait for vendors most of the time


@dataclass(frozen=True)
class Told:
    """What became of a source, or (`over` and no source) that all have been read; `error` is a fault of ours."""

    source_id: int | None = None
    events: tuple[Extracted, ...] = ()
    over: bool = True
    error: BaseException | None = None


@dataclass(frozen=True)
class Reading:
    """Extraction of some sources. `streams`: (integration, stream) to read, None: all."""

    catalogue: Catalogue
    store: BlockStore
    clock: Callable[[], datetime]
    sources: Sequence[Source]
    streams: frozenset[tuple[str, str]] | None
    options: Options

    def start(self, tell: Callable[[Told], None]) -> None:
        """Begin; `tell` is called from threads, with each source at least once, at last with the end of all."""

        def read() -> None:
            try:
                for told in self._read():
                    tell(told)
                tell(Told())
            except BaseException as error:  # noqa: BLE001  whoever waits is to have it
                tell(Told(error=error))

        threading.Thread(target=read, daemon=True, name="extract").start()

    def _read(self) -> Iterator[Told]:
        by_id = {source.id: source for source in self.sources}
        groups: dict[frozenset[str] | None, list[SourceRef]] = {}
        for source in self.sources:
            try:
                ref = source_ref(self.catalogue, source)
            except ShardingError as error:  # the secret cannot be read: its owner's turn, and nobody else's delay
                yield self._unreadable(source, error)
                continue
            streams = None if self.streams is None else frozenset(s for i, s in self.streams if i == ref.integration)
            groups.setdefault(streams, []).append(ref)
        for streams, refs in groups.items():
            options = replace(self.options, streams=streams)
            for results in extract_each(refs, self.store, self.catalogue.dsn, self.clock, options, workers=WORKERS):
                if results:
                    read = by_id[results[0].source.source_id]
                    events = tuple(_event(read, r) for r in results if r.outcome not in IDLE_OUTCOMES)
                    yield Told(read.id, events, not any(r.more for r in results))

    def _unreadable(self, source: Source, error: ShardingError) -> Told:
        now = self.clock()
        with closing(index.connect(self.catalogue.dsn)) as conn:
            held = backoff.backoffs(conn, [source.id])
            if self.options.heed and backoff.waits(held, source.id, backoff.WHOLE, now):
                return Told(source.id)
            refused = CredentialsError(error.cause, next_command=error.next_command)
            backoff.note(conn, source.id, {backoff.WHOLE: refused}, now)
        failed = Extracted(source.shard, source.business_name, source.label, source.integration, "", "failed",
                           failure=Failure.of(error))  # fmt: skip
        return Told(source.id, (failed,))


def _event(source: Source, result: StreamResult) -> Extracted:
    return Extracted(
        source.shard, source.business_name, source.label, source.integration, result.stream, result.outcome,
        tuple(str(b) for b in result.blocks), result.records, result.bytes, result.requests, result.retries,
        round(result.seconds, 3), Failure.of(result.error) if result.error else None,
    )  # fmt: skip
