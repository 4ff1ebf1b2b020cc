"""Where a stream's windows begin and end: pure functions over the cursor that the control database keeps.

A cursor is `{"value": …, "seen": […]}`, or `{"sites": {site: {"value": …, "seen": […]}}}` where each site has its own
position; `swept_at` beside them where the stream is read whole at times. `value` is where the next window begins.
Windows overlap by the stream's lag, because vendors' clocks and indexes run late; `seen` holds digests of the records
of that overlap which are already in a block, so that they are not extracted twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ingestion.spec import Cursor as CursorSpec
from ingestion.spec import Stream
from ingestion.times import floor_time

_SWEPT_AT = "swept_at"
MAX_SEEN = 5000  # beyond it the overlap is extracted again, which loading finds unchanged


@dataclass(frozen=True)
class Position:
    """How far a stream (or one batch of its sites) was read."""

    value: datetime | None = None
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Span:
    """One window: from `start` up to `end`, `resume` being where the next extract begins. `end` is exclusive for
    instants and inclusive for days; both are None for a stream that is read whole."""

    start: datetime | None
    end: datetime | None
    resume: datetime


def batches(
    stream: Stream, cursor: Mapping[str, Any] | None, sites: Sequence[str]
) -> list[tuple[tuple[str, ...], Position]]:
    """The site batches to read, each with its position; sites of one batch share it. A new site starts at the
    beginning by itself. Streams without a position per site are one batch."""
    if not stream.per_site_cursor or stream.sites is None:
        return [(tuple(sites), _position([cursor or {}]))]
    states: Mapping[str, Mapping[str, Any]] = (cursor or {}).get("sites", {})
    by_value: dict[str | None, list[str]] = {}
    for site in sites:
        by_value.setdefault(states.get(site, {}).get("value"), []).append(site)
    size = stream.sites.batch
    groups = [
        tuple(members[first : first + size]) for members in by_value.values() for first in range(0, len(members), size)
    ]
    return [(group, _position([states.get(site, {}) for site in group])) for group in groups]


def _position(states: Iterable[Mapping[str, Any]]) -> Position:
    states = list(states)
    value = states[0].get("value")
    seen = frozenset(digest for state in states for digest in state.get("seen", ()))
    return Position(datetime.fromisoformat(value) if value else None, seen)


def moved(
    stream: Stream, cursor: Mapping[str, Any] | None, sites: Sequence[str], value: datetime, seen: Iterable[str]
) -> dict[str, Any]:
    """The cursor after the given sites (or the whole stream) were read up to `value`."""
    kept = sorted(seen)
    state: dict[str, Any] = {"value": value.isoformat()}
    swept = {name: at for name, at in (cursor or {}).items() if name == _SWEPT_AT}
    if not stream.per_site_cursor:
        return state | ({"seen": kept} if 0 < len(kept) <= MAX_SEEN else {}) | swept
    states = dict((cursor or {}).get("sites", {}))
    for number, site in enumerate(sites):
        states[site] = state | ({"seen": kept} if number == 0 and 0 < len(kept) <= MAX_SEEN else {})
    return {"sites": states} | swept


def is_sweep_due(stream: Stream, cursor: Mapping[str, Any] | None, now: datetime) -> bool:
    """Whether the stream is to be read whole."""
    if stream.sweep is None:
        return False
    swept_at = (cursor or {}).get(_SWEPT_AT)
    return swept_at is None or now - datetime.fromisoformat(swept_at) >= stream.sweep


def swept(stream: Stream, cursor: Mapping[str, Any] | None, sites: Sequence[str], now: datetime) -> dict[str, Any]:
    """The cursor after all of the stream was read at `now`: what has no position yet begins there, less the lag."""
    assert stream.cursor is not None
    begin = {"value": floor_time(now - stream.cursor.lag, stream.cursor.format).isoformat()}
    if not stream.per_site_cursor:
        return begin | dict(cursor or {}) | {_SWEPT_AT: now.isoformat()}
    states = dict.fromkeys(sites, begin) | dict((cursor or {}).get("sites", {}))
    return {"sites": states, _SWEPT_AT: now.isoformat()}


def spans(stream: Stream, position: Position, now: datetime, first: datetime | None) -> Iterator[Span]:
    """The windows from a position up to now. `first` is where the source wants its history to begin."""
    cursor = stream.cursor
    if cursor is None:
        yield Span(None, None, now)
        return
    start = position.value or first or now - cursor.initial
    start = min(start, now - max(cursor.restatement, cursor.lag))  # also when the clock was set back
    if cursor.max_age is not None:
        start = max(start, now - cursor.max_age)
    start, now = floor_time(start, cursor.format), floor_time(now, cursor.format)
    while True:
        end = _end(cursor, start, now)
        yield Span(start, end, floor_time(end - cursor.lag, cursor.format))
        if end >= now:
            return
        start = end + timedelta(days=1) if cursor.grain == "date" else end


def pieces(stream: Stream, start: datetime, end: datetime) -> Iterator[Span]:
    """The windows that cover [start, end) once more, small enough that no block of them is bulky: a day each, or a week
    where the vendor counts in days. What the vendor sorts newest first it reads from now back, so that is not cut."""
    cursor = stream.cursor
    assert cursor is not None
    inclusive = timedelta(days=1) if cursor.grain == "date" else timedelta(0)
    longest = timedelta(days=7) if cursor.grain == "date" else timedelta(days=1)
    if stream.newest_first:
        longest = end - start
    step = max(min(longest, cursor.max_window or longest), inclusive)
    start, last = floor_time(start, cursor.format), _ceiling(end, cursor) - inclusive
    while start <= last if inclusive else start < last:
        until = min(last, start + step - inclusive)
        yield Span(start, until, until)
        start = until + inclusive


def _ceiling(moment: datetime, cursor: CursorSpec) -> datetime:
    """The earliest moment that the vendor's spelling can say and that is not before `moment`."""
    floor = floor_time(moment, cursor.format)
    return floor if floor == moment else floor + (timedelta(days=1) if cursor.grain == "date" else timedelta(seconds=1))


def halves(stream: Stream, span: Span) -> tuple[Span, Span] | None:
    """A window in two, one after the other; None where it cannot be cut any more."""
    if stream.cursor is None or span.start is None or span.end is None:
        return None
    middle = floor_time(span.start + (span.end - span.start) / 2, stream.cursor.format)
    follows = middle + timedelta(days=1) if stream.cursor.grain == "date" else middle
    if (middle == span.start and stream.cursor.grain != "date") or follows > span.end:
        return None
    return Span(span.start, middle, middle), Span(follows, span.end, span.resume)


def _end(cursor: CursorSpec, start: datetime, now: datetime) -> datetime:
    if cursor.max_window is None:
        return now
    inclusive = timedelta(days=1) if cursor.grain == "date" else timedelta(0)
    return min(now, start + cursor.max_window - inclusive)
