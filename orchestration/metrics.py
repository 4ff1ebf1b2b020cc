"""Metrics for Prometheus, collected from the control database when they are asked for.

Cycles are short-lived processes and keep no counters of their own: what they did stands in the control database, and so
outlives them. Labels are integrations, shards, states and kinds; no location, and of sources only the latest few.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg2
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingestion.errors import LarderError
from orchestration.freshness import STATES
from orchestration.overview import Overview

WORST = 10
"""Sources that are told one by one."""

Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True)
class Family:
    """A metric: what it tells, its labels, and where its values come from."""

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    labels: tuple[str, ...]
    of: Callable[[Overview], Iterator[Sample]]

    def __call__(self, overview: Overview) -> Metric:
        """The metric with its values."""
        make = GaugeMetricFamily if self.kind == "gauge" else CounterMetricFamily
        metric = make(self.name, self.about, labels=self.labels)
        for labels, value in self.of(overview):
            metric.add_metric(labels, value)
        return metric

    @property
    def exposed(self) -> str:
        """Its name as queries have it."""
        return self.name if self.kind == "gauge" else f"{self.name}_total"


def _counted(metric: str, *, by_what: bool, by_label: bool = True) -> Callable[[Overview], Iterator[Sample]]:
    """A total of the control database. `by_label`, `by_what`: which of its two names are labels."""

    def found(overview: Overview) -> Iterator[Sample]:
        for name, label, what, value in overview.counted:
            if name == metric:
                yield (*((label,) if by_label else ()), *((what,) if by_what else ())), value

    return found


def _sources(overview: Overview) -> Iterator[Sample]:
    told = {(c.integration, c.kind): dict.fromkeys(STATES, 0) for c in overview.fresh.counts}
    for count in overview.fresh.counts:
        told[count.integration, count.kind][count.state] = count.sources
    for (integration, kind), states in told.items():
        for state, sources in states.items():
            yield (integration, kind, state), sources


def _oldest(overview: Overview) -> Iterator[Sample]:
    oldest: dict[tuple[str, str], float] = {}
    for count in overview.fresh.counts:
        if count.oldest is not None and count.state != "paused":
            key = (count.integration, count.kind)
            oldest[key] = max(oldest.get(key, 0.0), count.oldest.total_seconds())
    yield from oldest.items()


def _latest(overview: Overview) -> Iterator[Sample]:
    for one in overview.fresh.worst[:WORST]:
        if one.late and one.age is not None:
            yield (one.source, one.integration), one.age.total_seconds()


def _since(now: datetime, then: datetime | None) -> float:
    return 0.0 if then is None else max(0.0, (now - then).total_seconds())


def _slow(overview: Overview) -> Iterator[Sample]:
    for reader in overview.slow[:WORST]:
        yield (reader.business or reader.reader, reader.shard, reader.because), reader.mean


_SHARD = ("shard",)
_VENDOR = ("integration",)

FAMILIES: Sequence[Family] = (
    Family("larder_sources", "gauge", "Sources by how fresh their data are.", ("integration", "kind", "state"),
           _sources),
    Family("larder_data_age_seconds", "gauge", "Age of the oldest data of any source that is not paused.",
           ("integration", "kind"), _oldest),
    Family("larder_late_source_age_seconds", "gauge", f"Age of the data of the latest {WORST} sources that are late.",
           ("source", "integration"), _latest),
    Family("larder_businesses", "gauge", "Businesses that have a source.", (),
           lambda o: iter([((), o.fresh.businesses)])),
    Family("larder_businesses_late", "gauge", "Businesses with a source whose data are late.", (),
           lambda o: iter([((), o.fresh.late_businesses)])),
    Family("larder_breaker_open", "gauge", "Vendors that are left alone.", _VENDOR,
           lambda o: (((name,), 1.0) for name in o.breakers)),
    Family("larder_sources_backing_off", "gauge", "Sources that wait after failures, by whose turn it is.", ("turn",),
           lambda o: (((turn,), n) for turn, n in o.backing_off.items())),
    Family("larder_extracts", "counter", "Windows of streams that were asked for, by what came.",
           ("integration", "outcome"), _counted("extracts", by_what=True)),
    Family("larder_extract_errors", "counter", "Extracts that failed, by whose turn it was.", ("integration", "turn"),
           _counted("extract_errors", by_what=True)),
    Family("larder_extracted_records", "counter", "Records received.", _VENDOR,
           _counted("extracted_records", by_what=False)),
    Family("larder_extracted_bytes", "counter", "Bytes received, unpacked.", _VENDOR,
           _counted("extracted_bytes", by_what=False)),
    Family("larder_requests", "counter", "Requests to vendors.", _VENDOR, _counted("requests", by_what=False)),
    Family("larder_retries", "counter", "Requests that were sent again.", _VENDOR, _counted("retries", by_what=False)),
    Family("larder_loaded_blocks", "counter", "Blocks loaded into raw.", _VENDOR,
           _counted("loaded_blocks", by_what=False)),
    Family("larder_loaded_records", "counter", "Records loaded, by what became of them.", ("integration", "fate"),
           _counted("loaded_records", by_what=True)),
    Family("larder_tombstones", "counter", "Records found gone at the vendor.", _VENDOR,
           _counted("tombstones", by_what=False)),
    Family("larder_load_errors", "counter", "Blocks whose load failed, by whose turn it was.", ("turn",),
           _counted("load_errors", by_what=True, by_label=False)),
    Family("larder_passes", "counter", "Passes over a shard, by how they ended.", ("shard", "state"),
           _counted("passes", by_what=True)),
    Family("larder_pass_seconds", "counter", "Seconds that builds of a shard took.", _SHARD,
           _counted("pass_seconds", by_what=False)),
    Family("larder_rows_changed", "counter", "Rows of models that builds inserted and deleted.", ("shard", "change"),
           _counted("rows_changed", by_what=True)),
    Family("larder_build_errors", "counter", "Models and tests that failed, and shards that failed as a whole.",
           ("shard", "what"), _counted("build_errors", by_what=True)),
    Family("larder_quarantined_records", "gauge", "Records that wait for a decision.", _VENDOR,
           lambda o: (((name,), n) for name, n in o.quarantined.items())),
    Family("larder_pending_blocks", "gauge", "Blocks that wait for their load.", _SHARD,
           lambda o: (((s.shard,), s.blocks) for s in o.shards)),
    Family("larder_pending_bytes", "gauge", "Their bytes, unpacked.", _SHARD,
           lambda o: (((s.shard,), s.bytes) for s in o.shards)),
    Family("larder_pending_oldest_seconds", "gauge", "How long the oldest of them has waited.", _SHARD,
           lambda o: (((s.shard,), _since(o.at, s.oldest)) for s in o.shards)),
    Family("larder_failing_blocks", "gauge", "Blocks whose last load failed.", (),
           lambda o: iter([((), o.failing_blocks)])),
    Family("larder_uploads_waiting_blocks", "gauge", "Blocks without a verified copy in the object store.", (),
           lambda o: iter([] if o.uploads is None else [((), o.uploads.waiting)])),
    Family("larder_uploads_waiting_bytes", "gauge", "Their bytes, packed.", (),
           lambda o: iter([] if o.uploads is None else [((), o.uploads.bytes)])),
    Family("larder_shard_up", "gauge", "1: the shard answered when it was last looked at; 0: it did not.", _SHARD,
           lambda o: (((s.shard,), float(s.up)) for s in o.shards if s.up is not None)),
    Family("larder_shard_sampled_timestamp_seconds", "gauge", "When it was last looked at.", _SHARD,
           lambda o: (((s.shard,), s.sampled_at.timestamp()) for s in o.shards if s.sampled_at is not None)),
    Family("larder_shard_answer_seconds", "gauge", "How long it took to answer.", _SHARD,
           lambda o: (((s.shard,), s.milliseconds / 1000) for s in o.shards if s.milliseconds is not None)),
    Family("larder_shard_businesses", "gauge", "Businesses that live on a shard.", _SHARD,
           lambda o: (((s.shard,), s.businesses) for s in o.shards)),
    Family("larder_cycle_seconds", "gauge", "From the beginning of the last cycle to the end of the shard's part.",
           _SHARD, lambda o: (((s.shard,), s.seconds) for s in o.shards if s.seconds is not None)),
    Family("larder_cycle_ended_timestamp_seconds", "gauge", "When that part ended.", _SHARD,
           lambda o: (((s.shard,), s.ended_at.timestamp()) for s in o.shards if s.ended_at is not None)),
    Family("larder_cycle_failed", "gauge", "1: that part failed.", _SHARD,
           lambda o: (((s.shard,), float(s.cycle == "failed")) for s in o.shards if s.cycle is not None)),
    Family("larder_models_behind_seconds", "gauge", "How long a shard's models have not had what was loaded.", _SHARD,
           lambda o: (((s.shard,), _since(o.now, s.behind_since)) for s in o.shards)),
    Family("larder_moves", "gauge", "Businesses on their way to another shard.", ("state",),
           lambda o: (((state,), n) for state, n in o.moves.items())),
    Family("larder_reader_requests", "counter", "Statements of a reader since the server's statistics began.",
           ("shard", "reader"), lambda o: (((r.shard, r.reader), r.calls) for r in o.readers)),
    Family("larder_reader_seconds", "counter", "Seconds that these took.", ("shard", "reader"),
           lambda o: (((r.shard, r.reader), r.seconds) for r in o.readers)),
    Family("larder_slow_reader_seconds", "gauge",
           f"Mean of the {WORST} slowest readers, where that is longer than expected.",
           ("reader", "shard", "because"), _slow),
)  # fmt: skip
UP = "larder_control_up"


class Installation(Collector):
    """Asks `look` at each scrape, one scrape after the other. Where the control database does not answer, the scrape
    says that and nothing else.

    What was seen is told again for `keep` times as long as it took to see: however often it is scraped and however big
    the installation, the database has no more than that share of its time to do with it.
    """

    def __init__(self, look: Callable[[], Overview], keep: float = 9.0) -> None:
        self._look, self._keep, self._lock = look, keep, threading.Lock()
        self._seen: Overview | None = None
        self._until = 0.0

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering it asks no database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        about = "1: the control database answered this scrape."
        try:
            overview = self._overview()
        except (LarderError, psycopg2.OperationalError):
            yield GaugeMetricFamily(UP, about, value=0)
            return
        yield GaugeMetricFamily(UP, about, value=1)
        for family in FAMILIES:
            yield family(overview)

    def _overview(self) -> Overview:
        with self._lock:
            began = time.monotonic()
            if self._seen is None or began >= self._until:
                self._seen = self._look()
                now = time.monotonic()
                self._until = now + self._keep * (now - began)
            return self._seen


def registry_of(look: Callable[[], Overview], keep: float = 9.0) -> CollectorRegistry:
    """A registry with these metrics alone; `keep` as in `Installation`."""
    registry = CollectorRegistry()
    registry.register(Installation(look, keep))
    return registry
