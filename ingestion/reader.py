"""Turns a stream's pages into lines for a block, and keeps what the next window must know about them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from ingestion import canonical
from ingestion.cursors import Span
from ingestion.http import Request
from ingestion.page import Page, at, text_at, with_context
from ingestion.spec import IntegrationSpec, Stream
from ingestion.template import fill
from ingestion.times import floor_time, format_time, parse_time

_SCALAR = msgspec.json.Decoder()
_EDGE_PRUNE = 2000


@dataclass(frozen=True)
class Call:
    """A request and the context that its records get."""

    request: Request
    context: bytes = b""


def calls(
    spec: IntegrationSpec,
    stream: Stream,
    base_url: str,
    config: Mapping[str, Any],
    *,
    sites: Sequence[str],
    parents: Sequence[str],
    window: tuple[datetime | None, datetime | None],
) -> Iterator[Call]:
    """The requests of one window: one for each batch of sites and each parent record."""
    values: dict[str, Any] = {f"config.{name}": config.get(name, "") for name in spec.config}
    if stream.cursor is not None and window[0] is not None and window[1] is not None:
        values["from"] = format_time(window[0], stream.cursor.format)
        values["to"] = format_time(window[1], stream.cursor.format)
    groups: list[Sequence[str]] = [()]
    if stream.sites is not None:
        size = stream.sites.batch
        groups = [sites[first : first + size] for first in range(0, len(sites), size)]
    for group in groups:
        here = values | ({"sites": list(group)} if group else {}) | ({"site": group[0]} if len(group) == 1 else {})
        for parent in parents if stream.parent else (None,):
            filled = here if parent is None else here | {"parent": parent}
            yield Call(
                Request(
                    method=stream.method,
                    url=f"{base_url}{fill(stream.path, filled)}",
                    params={name: _param(value) for name, value in fill(stream.params, filled).items()},
                    headers=fill(stream.headers, filled),
                    body=None if stream.body is None else fill(stream.body, filled),
                ),
                json.dumps(fill(stream.context, filled)).encode() if stream.context else b"",
            )


def _param(value: Any) -> str | list[str]:
    return [str(element) for element in value] if isinstance(value, list) else str(value)


class Lines:
    """Lines of one window, in order, without records that an earlier block of the overlap already has."""

    def __init__(
        self,
        spec: IntegrationSpec,
        stream: Stream,
        seen: frozenset[str],
        span: Span,
        completed: Callable[[bytes], bytes],
    ) -> None:
        """`completed` gives a record whose lists the vendor cut its whole lists."""
        self._spec, self._stream, self._seen, self._resume = spec, stream, seen, span.resume
        self._completed = completed
        self._volatile = [path.split(".") for path in stream.volatile]
        self._oldest = span.start if stream.newest_first else None
        self.passed = False  # newest first: the window's start was passed, all that follows is older
        self._overlaps = stream.cursor is not None and stream.modified is not None and not stream.complete
        self.newest: datetime | None = None  # latest modification seen
        self._edge: dict[str, datetime] = {}
        self._previous: set[bytes] = set()

    def of(self, page: Page, context: bytes) -> tuple[bytes, int]:
        """The page's new records as lines, and how many they are."""
        lines: list[bytes] = []
        on_page: set[bytes] = set()
        for record in page.records(self._stream.records, may_be_absent=self._spec.omits_empty):
            if self._is_older(record):
                continue
            whole = self._completed(record)
            line = with_context(whole, context) if context else whole
            mark = self._mark(line)
            if mark in self._previous or mark in on_page:
                continue  # the vendor moved it to the next page while we were reading
            on_page.add(mark)
            if self._overlaps and self._known(line, mark.hex()):
                continue
            lines.append(line)
        self._previous = self._previous | on_page if self._stream.complete else on_page
        lines.append(b"")
        return b"\n".join(lines), len(lines) - 1

    def _mark(self, line: bytes) -> bytes:
        """What the line is known by: its bytes, or the record without what does not count as a change."""
        if self._volatile:
            try:
                return bytes.fromhex(canonical.record_hash(canonical.decode(line), self._volatile))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, canonical.NumberOutOfRange):
                pass  # loading tells what is wrong with it
        return hashlib.blake2b(line, digest_size=12).digest()

    def _is_older(self, record: bytes) -> bool:
        if self._oldest is None:
            return False
        moment = self.modified(record)
        older = moment is not None and moment < self._oldest
        self.passed = self.passed or older
        return older

    def _known(self, line: bytes, digest: str) -> bool:
        moment = self.modified(line)
        if moment is None:
            return digest in self._seen
        if self.newest is None or moment > self.newest:
            self.newest = moment
        if moment >= min(self._resume, self.cut()):
            self._edge[digest] = moment
            if len(self._edge) > _EDGE_PRUNE:
                self._edge = {kept: at for kept, at in self._edge.items() if at >= min(self._resume, self.cut())}
        return digest in self._seen

    def modified(self, line: bytes) -> datetime | None:
        """When the record last changed; None if it does not say so in the declared way (loading quarantines it)."""
        modified = self._stream.modified
        if modified is None:
            return None
        try:
            value = at(line, modified.path)
            return None if value is None else parse_time(_SCALAR.decode(value), modified.format)
        except (msgspec.DecodeError, ValueError, OverflowError):
            return None

    def cut(self) -> datetime:
        """Where a next block may begin if this one ends here: only for streams sorted by modification."""
        assert self._stream.cursor is not None
        return self._resume if self.newest is None else floor_time(self.newest, self._stream.cursor.format)

    def overlap(self, start: datetime) -> set[str]:
        """Digests of the records read that were modified at or after `start`."""
        return {digest for digest, moment in self._edge.items() if moment >= start}


def field_values(page: Page, stream: Stream, spec: IntegrationSpec, path: str) -> list[str]:
    """The texts of one field of a page's records, where they have it."""
    records = page.records(stream.records, may_be_absent=spec.omits_empty)
    return [value for value in (text_at(record, path) for record in records) if value is not None]
