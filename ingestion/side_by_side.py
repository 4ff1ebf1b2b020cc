"""Many sources side by side: places given in turn, and vendors that fail everybody left alone.

Threads, since reading is waiting. They are daemons: a run that is cut off ends with its process, and what a thread was
at is picked up by the next run, as after a kill.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing

import psycopg2

from ingestion import backoff, index
from ingestion.backoff import TRIP, Breaker
from ingestion.errors import LarderError, OutageError
from ingestion.run import Clock, Options, StreamResult
from ingestion.source import SourceRef
from ingestion.turns import Turns

Turn = Callable[[SourceRef, frozenset[str] | None], list[StreamResult]]
_ASKED = ("block", "empty", "failed")


class SideBySide:
    """One run over many sources."""

    def __init__(
        self,
        sources: Sequence[SourceRef],
        turn: Turn,
        breakers: Mapping[str, Breaker],
        control_dsn: str,
        clock: Clock,
        options: Options,
    ) -> None:
        self._turns, self._turn = Turns(sources), turn
        self._dsn, self._clock, self._options = control_dsn, clock, options
        self._open = set(breakers)
        self._tripped: set[str] = set()  # in this run
        self._failing: dict[str, set[int]] = {}  # by vendor, since the last source that it answered
        self._more: dict[int, frozenset[str]] = {}  # streams that a source has not read to their end
        self._change = threading.Condition()
        self._told: queue.SimpleQueue[list[StreamResult] | BaseException | None] = queue.SimpleQueue()
        for integration, breaker in breakers.items():
            self._half_open(integration, breaker)

    def results(self, workers: int) -> Iterator[list[StreamResult]]:
        """Each source's results when its turn is over. Ended before its end, it begins nothing more."""
        threads = [threading.Thread(target=self._work, daemon=True, name=f"extract {n}") for n in range(workers)]
        for thread in threads:
            thread.start()
        try:
            left = len(threads)
            while left:
                told = self._told.get()
                if told is None:
                    left -= 1
                elif isinstance(told, BaseException):
                    raise told
                else:
                    yield told
        finally:
            with self._change:
                late = self._turns.drop()
                self._change.notify_all()
        yield from ([StreamResult(source, "", "put_off", more=True)] for source in late)

    def _work(self) -> None:
        try:
            while (source := self._next()) is not None:
                results: list[StreamResult] = []
                try:
                    results = self._turn(source, self._more.get(source.source_id))
                    self._told.put(results)
                finally:
                    self._give_back(source, results)
        except BaseException as error:  # noqa: BLE001  a fault of ours: whoever reads the results is to have it
            self._told.put(error)
        finally:
            self._told.put(None)

    def _next(self) -> SourceRef | None:
        with self._change:
            while not self._turns.empty:
                if self._options.until.over:
                    return None
                source = self._turns.take()
                if source is not None:
                    return source
                self._change.wait()  # for the source that asks whether its vendor is back
            return None

    def _give_back(self, source: SourceRef, results: Sequence[StreamResult]) -> None:
        more = frozenset(r.stream for r in results if r.more)
        with self._change:
            if more:
                self._more[source.source_id] = more
            self._turns.give_back(source, again=bool(more) and not self._options.until.over)
            self._heard(source, results)
            self._change.notify_all()

    # -- breakers ----------------------------------------------------------------------------------------------------

    def _half_open(self, integration: str, breaker: Breaker) -> None:
        """A vendor that was left alone: where its time has come one source asks, and the others wait for it."""
        now = self._clock()
        if breaker.probe_at <= now and self._turns.has(integration):
            with closing(index.connect(self._dsn)) as conn:
                if backoff.claim_probe(conn, integration, now):
                    self._turns.one_of(integration)
                    return
        self._leave_alone(integration)

    def _heard(self, source: SourceRef, results: Sequence[StreamResult]) -> None:
        """Count sources that fail by their vendor's fault; one that is answered proves the vendor well."""
        asked = [r for r in results if r.outcome in _ASKED]
        vendor = source.integration
        outages = [r.error for r in asked if isinstance(r.error, OutageError)]
        if not asked or not self._options.heed:
            self._turns.release(vendor)
            return
        if len(outages) < len(asked):  # it answered, though it be to refuse
            self._failing.pop(vendor, None)
            self._turns.release(vendor)
            if vendor in self._open:
                self._open.discard(vendor)
                self._tripped.discard(vendor)
                self._keep(lambda conn: backoff.close_breaker(conn, vendor))
            return
        failing = self._failing.setdefault(vendor, set())
        failing.add(source.source_id)
        if vendor not in self._tripped and (vendor in self._open or len(failing) >= TRIP):
            self._open.add(vendor)
            self._tripped.add(vendor)
            cause, now = outages[0].cause, self._clock()
            self._keep(lambda conn: backoff.open_breaker(conn, vendor, cause, now))
            self._leave_alone(vendor)
            self._turns.release(vendor)

    def _keep(self, write: Callable[[psycopg2.extensions.connection], object]) -> None:
        """Tell the control database; where it fails the next run finds out for itself what this one has."""
        try:
            with closing(index.connect(self._dsn)) as conn:
                write(conn)
        except (LarderError, psycopg2.Error) as error:
            self._told.put(error)

    def _leave_alone(self, integration: str) -> None:
        for source in self._turns.drop(integration):
            self._told.put([StreamResult(source, "", "breaker")])
