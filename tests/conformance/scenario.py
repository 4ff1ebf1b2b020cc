"""What every vendor is put through, each part with a source of its own. The tests only look at what came of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg2

from ingestion.blocks import BlockStore, Manifest
from ingestion.checks import Accepted, checker
from ingestion.errors import CredentialsError, LarderError
from ingestion.extract import Options, StreamResult, extract_source
from ingestion.index import pending
from ingestion.probe import Probe, probe
from ingestion.sandbox.data import OPENS_AT
from ingestion.sandbox.http import Answer, Request
from ingestion.source import SourceRef
from ingestion.spec import LoginAuth, OAuthRefreshAuth, Stream
from sharding.catalogue import Catalogue
from tests.aside import Aside, begin_aside
from tests.conformance.vendors import Stage
from tests.ingestion.killed_extract import STEPS, kill_at

FIRST = OPENS_AT
SECOND = FIRST + timedelta(days=1)
"""A day later: of each kind of thing that a vendor may change afterwards, something has changed."""
KILLS = [("after the intent", 1), ("while writing", 2), ("after the file has its name", 1), ("after the manifest", 2),
         ("after the index", 1), ("before the due time", 2)]  # fmt: skip
WRONG = "wr0ng-secret"
EXACT = {"larder_exact": ["12.10", "-0.00", "9007199254740993", "0.1000000000000000055511151231257827", "100", "1.234"]}
"""Numbers that floats, or a currency's usual two decimals, would not survive: literally as here."""

State = dict[str, dict[str, str]]
"""Stream → natural key → hash of the record without what is volatile."""


@dataclass(repr=False)
class Played:
    """What came of one vendor's parts."""

    stage: Stage
    sources: dict[str, SourceRef] = field(default_factory=dict)
    results: dict[str, list[StreamResult]] = field(default_factory=dict)
    first: State = field(default_factory=dict)  # told by the first extract
    again: State = field(default_factory=dict)  # told by a second one at the same time
    killed: State = field(default_factory=dict)
    kills: int = 0
    bumpy: State = field(default_factory=dict)
    bumps: dict[str, int] = field(default_factory=dict)
    waited: list[float] = field(default_factory=list)  # seconds between "come back in one second" and the next request
    probes: dict[str, Probe | LarderError] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)  # stream → key of the record that the vendor let vanish
    marked: dict[str, str] = field(default_factory=dict)  # stream → key of a record whose deleted flag was set
    drifted: dict[str, tuple[str, str | None, str]] = field(default_factory=dict)  # stream → (key, missing, retyped)
    errors: list[str] = field(default_factory=list)  # what people were told
    pages: dict[str, int] = field(default_factory=dict)


class Play:
    """Plays the parts of one vendor, in order; `number` is its business."""

    def __init__(self, stage: Stage, catalogue: Catalogue, store: BlockStore, number: int) -> None:
        self.stage, self.catalogue, self.store, self.number = stage, catalogue, store, number
        self.done = Played(stage)
        catalogue.add_business(stage.name, stage.spec.title, "shard_1", business=number)
        self.victim = self.source("killed")

    # -- helpers -----------------------------------------------------------------------------------------------------

    def source(self, part: str, **secret: str) -> SourceRef:
        added = self.catalogue.add_source(self.stage.name, self.stage.name, part, dict(self.stage.config))
        made = SourceRef(
            added.id, self.number, self.stage.name, self.stage.name, part, self.stage.config,
            {**self.stage.secret, **secret},
        )  # fmt: skip
        self.done.sources[part] = made
        return made

    def extract(self, source: SourceRef, *, patience: float = 20.0) -> list[StreamResult]:
        results = extract_source(
            source, self.stage.spec, self.store, self.catalogue.dsn, self.stage.clock.now,
            Options(force=True, patience=patience),
        )  # fmt: skip
        self.done.results.setdefault(source.name, []).extend(results)
        self.done.errors += [str(result.error) for result in results if result.error]
        return results

    def manifests(self, source: SourceRef) -> list[Manifest]:
        with closing(psycopg2.connect(self.catalogue.dsn)) as conn:
            return pending(conn, [source.source_id])

    def told(self, source: SourceRef, after: frozenset[Any] = frozenset()) -> State:
        """What the blocks of a source tell, of those that are not in `after`; later blocks count."""
        state: State = {}
        for manifest in sorted(self.manifests(source), key=lambda m: m.observed_at):
            if manifest.block_id in after:
                continue
            check = checker(self.stage.spec.stream(manifest.stream))
            of_stream = state.setdefault(manifest.stream, {})
            for record in self.store.read(manifest):
                found = check(record, manifest.observed_at)
                assert isinstance(found, Accepted), found
                of_stream[found.natural_key] = found.hash
        return state

    @contextmanager
    def hand(self, hand: Any) -> Iterator[None]:
        self.stage.server.hand = hand
        try:
            yield
        finally:
            self.stage.server.hand = None

    # -- parts -------------------------------------------------------------------------------------------------------

    def start_killed(self, step: str, occurrence: int) -> Aside:
        """Begin an extract that dies at a step of its way. Call it while no other thread is busy."""
        assert step in STEPS

        def work() -> None:
            kill_at(step, occurrence)
            extract_source(
                self.victim, self.stage.spec, self.store, self.catalogue.dsn, self.stage.clock.now,
                Options(force=True, max_records=PER_BLOCK),
            )  # fmt: skip

        return begin_aside(work)

    def _after_kills(self) -> None:
        """What the killed extracts left to do."""
        self.stage.clock.moment = FIRST
        self.extract(self.victim)
        self.done.killed = self.told(self.victim)

    def play(self) -> Played:
        self._after_kills()
        self._credentials()
        self._whole()
        self._bumpy()
        self._moving()
        self._changed()
        self.stage.clock.moment = SECOND
        self.extract(self.source("anew"))
        return self.done

    def _credentials(self) -> None:
        good = self.source("good")
        for name in ("", *self.stage.secret):
            source = good if not name else SourceRef(
                good.source_id, good.business, good.business_name, good.integration, good.name, good.config,
                {**good.secret, name: WRONG},
            )  # fmt: skip
            try:
                self.done.probes[name] = probe(source, self.stage.spec, FIRST, patience=2.0)
            except LarderError as error:
                self.done.probes[name] = error
                self.done.errors.append(str(error))

    def _whole(self) -> None:
        self.stage.clock.moment = FIRST
        source = self.source("whole")
        self.extract(source)
        self.done.first = self.told(source)
        known = frozenset(manifest.block_id for manifest in self.manifests(source))
        self.done.pages = {result.stream: result.requests for result in self.done.results["whole"]}
        self.extract(source)
        self.done.again = self.told(source, known)
        self.stage.clock.moment = SECOND
        self.extract(source)

    def _bumpy(self) -> None:
        """Throttled, failing, silent, cut off and slow, one after the other."""
        server, bumps = self.stage.server, self.done.bumps
        self.stage.clock.moment = FIRST
        asked = 0
        throttled_at = 0.0

        def hand(request: Request, answer: Callable[[], Answer]) -> Answer | None:
            nonlocal asked, throttled_at
            if throttled_at:
                self.done.waited.append(time.monotonic() - throttled_at)
                throttled_at = 0.0
            asked += 1
            match asked:
                case 2:
                    bumps["throttled"] = 1
                    refused = server.vendor.throttled(1)
                    throttled_at = time.monotonic() if "Retry-After" in refused.headers else 0.0
                    return refused
                case 4:
                    bumps["500"] = 1
                    return Answer(b'{"error": "oh"}', 500)
                case 6:
                    bumps["dropped"] = 1
                    return None
                case 8:
                    bumps["cut"] = 1
                    whole = answer()
                    return Answer(whole.body[: len(whole.body) // 2], whole.status, whole.headers)
                case 10:
                    bumps["slow"] = 1
                    time.sleep(0.9)
            return answer()

        source = self.source("bumpy")
        with self.hand(hand):
            self.extract(source)
        self.done.bumpy = self.told(source)

    def _moving(self) -> None:
        """A day passes while the pages are read, a bit with each answer; then what is left is read."""
        self.stage.clock.moment = FIRST
        source = self.source("moving")
        asked = max(4, sum(result.requests for result in self.done.results["whole"][: len(self.stage.spec.streams)]))
        bit = (SECOND - FIRST) / asked

        def hand(request: Request, answer: Callable[[], Answer]) -> Answer | None:
            given = answer()
            if not self.stage.server.is_login(request):
                self.stage.clock.moment = min(SECOND, self.stage.clock.moment + bit)
            return given

        with self.hand(hand):
            self.extract(source)
        self.stage.clock.moment = SECOND
        self.extract(source)

    def _changed(self) -> None:
        """A day later the vendor's answers are others: records are gone, or flagged, and fields have changed."""
        self.stage.clock.moment = FIRST
        source = self.source("changed")
        self.extract(source)
        self.stage.clock.moment = SECOND
        change = _Changes(self)
        with self.hand(change.hand):
            for stream in self.stage.spec.streams:
                change.stream = stream
                results = extract_source(
                    source, self.stage.spec, self.store, self.catalogue.dsn, self.stage.clock.now,
                    Options(force=True, patience=20.0, streams=frozenset({stream.name})),
                )  # fmt: skip
                self.done.results.setdefault("changed", []).extend(results)


PER_BLOCK = 60
_EXACTLY = msgspec.json.Encoder(decimal_format="number")


class _Changes:
    """Alters one stream's answers: lets one record vanish (or flags it) and gives another one other fields."""

    def __init__(self, play: Play) -> None:
        self.play, self.done = play, play.done
        self.stream = play.stage.spec.streams[0]
        self.known = play.told(play.done.sources["changed"])

    def hand(self, request: Request, answer: Callable[[], Answer]) -> Answer | None:
        given = answer()
        if given.status != 200 or not self._asks_for(request):
            return given
        body = json.loads(given.body, parse_float=Decimal)
        lists = [found for path in self.stream.records if (found := _list_at(body, path))]
        if not lists:
            return given
        for records in lists:
            self._alter(records)
        written = _EXACTLY.encode(body).replace(b'"@@', b"").replace(b'@@"', b"")
        return Answer(written, given.status, given.headers)

    def _asks_for(self, request: Request) -> bool:
        """Whether the request is one of the stream: its path is the stream's, whatever is filled in."""
        wanted = re.sub(r"\\{.*?\\}", ".+", re.escape(self.stream.path.split("?")[0]))
        return re.fullmatch(wanted, request.path) is not None

    def _key(self, record: Mapping[str, Any]) -> str | None:
        """The record's natural key, where it does not need the request's context."""
        if any(path.startswith("_context") for path in self.stream.natural_key):
            keys = [path for path in self.stream.natural_key if not path.startswith("_context")]
            mine = str(_at(record, keys[0]))
            return next((k for k in self.known.get(self.stream.name, {}) if k.endswith(f"|{mine}")), None)
        found = checker(self.stream)(msgspec.json.encode(record), SECOND + timedelta(days=400))
        return found.natural_key

    def _alter(self, records: list[Any]) -> None:
        name, known = self.stream.name, self.known.get(self.stream.name, {})
        if self.stream.tells_absence and len(known) > 1:
            self._let_one_vanish(records, known)
        for record in records:
            key = self._key(record)
            if key is None or self.done.removed.get(name) == key:
                continue
            if self.stream.deletes == "soft_flag" and self.done.marked.setdefault(name, key) == key:
                assert self.stream.deleted_flag is not None
                # some are in the list because they are deleted, and bear the time of it
                record[self.stream.deleted_flag] = record.get(self.stream.deleted_flag) or True
                continue
            self._drift(record, key)

    def _let_one_vanish(self, records: list[Any], known: Mapping[str, str]) -> None:
        keys = [self._key(record) for record in records]
        gone = self.done.removed.get(self.stream.name)
        if gone is None:
            gone = next((key for key in keys if key in known), None)
            if gone is None:
                return
            self.done.removed[self.stream.name] = gone
        records[:] = [record for record, key in zip(records, keys, strict=True) if key != gone]

    def _drift(self, record: dict[str, Any], key: str) -> None:
        """One record of the stream gets a new field, loses one that all have, and one is of another type."""
        name = self.stream.name
        if name in self.done.drifted and self.done.drifted[name][0] != key:
            return
        of = self.stream
        used = (of.modified and of.modified.path, of.deleted_flag, of.window_field)
        paths = (*of.natural_key, *of.currency, *of.volatile, *(path for path in used if path))
        kept = {path.split(".")[0] for path in paths}
        free = [member for member, value in record.items() if member not in kept and value is not None]
        if not free:
            return
        missing, retyped = (free[0], free[1]) if len(free) > 1 else (None, free[0])
        self.done.drifted[name] = (key, missing, retyped)
        if missing is not None:
            del record[missing]
        record[retyped] = {"larder": "retyped"} if not isinstance(record[retyped], dict) else "retyped"
        record["larder_new"] = True
        record["larder_exact"] = [f"@@{number}@@" for number in EXACT["larder_exact"]]


def _list_at(body: Any, path: str) -> list[Any] | None:
    found = body if path == "" else _at(body, path)
    if isinstance(found, dict):
        return None
    return found if isinstance(found, list) and found and isinstance(found[0], dict) else None


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def refuses(found: Probe | LarderError) -> bool:
    return isinstance(found, CredentialsError)


def tokens(stage: Stage) -> list[str]:
    """What a login gave, besides the secrets themselves."""
    return sorted(stage.server.issued) if isinstance(stage.spec.auth, LoginAuth | OAuthRefreshAuth) else []


def edges() -> list[datetime]:
    """Instants where clocks change, days and years end, and the last millisecond of one."""
    return [datetime(2024, 3, 10, 6, 59, 59, 999000, UTC), datetime(2024, 3, 10, 7, tzinfo=UTC),
            datetime(2024, 11, 3, 5, 30, tzinfo=UTC), datetime(2024, 11, 3, 6, 30, tzinfo=UTC),
            datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC), datetime(2024, 2, 29, 23, 59, 59, 999000, UTC),
            datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)]  # fmt: skip


def streams_with(stage: Stage, what: Callable[[Stream], bool]) -> list[str]:
    return [stream.name for stream in stage.spec.streams if what(stream)]
