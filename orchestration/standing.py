"""How each source stands: when it is read next, and if not now, why not and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from ingestion import backoff, index
from ingestion.errors import LarderError
from ingestion.registry import spec_of
from ingestion.run import opens_at
from sharding.catalogue import Catalogue
from sharding.model import Source


@dataclass(frozen=True)
class Standing:
    """A source: `state` is one of ok, paused, breaker, backing_off, closed or wrong; `because` says it in words.

    `next_due`: of the stream that is due first, by the vendors' clock; None: as soon as possible, or (paused) never.
    """

    source: str
    state: str
    next_due: datetime | None
    because: str
    next_command: str


def standings(catalogue: Catalogue, now: datetime, sources: Sequence[Source]) -> list[Standing]:
    """How the sources stand at `now`, by the vendors' clock."""
    ids = [source.id for source in sources]
    with closing(index.connect(catalogue.dsn)) as conn:
        times = index.due_times(conn, ids)
        held = backoff.backoffs(conn, ids)
        breakers = backoff.breakers(conn)
    pauses = catalogue.pauses()
    found = []
    for source in sources:
        found.append(_standing(source, now, times, held, breakers.get(source.integration), pauses.get(source.id)))
    return found


def _standing(
    source: Source,
    now: datetime,
    times: dict[tuple[int, str], datetime | None],
    held: dict[tuple[int, str], backoff.Backoff],
    breaker: backoff.Breaker | None,
    pause: str | None,
) -> Standing:
    label = source.label
    if source.state == "paused":
        return Standing(label, "paused", None, pause or "paused", f"larder source resume {label}")
    try:
        spec = spec_of(source.integration, source.config, f"larder source check {label}")
    except LarderError as error:
        return Standing(label, "wrong", None, error.cause, error.next_command)
    due: dict[str, datetime | None] = {stream.name: times.get((source.id, stream.name)) for stream in spec.streams}
    first = None if None in due.values() or not due else min(moment for moment in due.values() if moment is not None)
    if breaker is not None:
        said = (
            f"{breaker.cause}; {spec.title} is left alone until {breaker.probe_at:%Y-%m-%d %H:%M}, then one source asks"
        )
        return Standing(label, "breaker", max(filter(None, (first, breaker.probe_at))), said, "")
    waiting = {stream: one for (source_id, stream), one in held.items() if source_id == source.id}
    whole = waiting.get(backoff.WHOLE)
    if whole is not None:
        said = f"{whole.failures} failures in a row: {whole.cause}"
        command = f"larder source check {label}" if whole.turn in ("credentials", "config") else ""
        return Standing(label, "backing_off", max(filter(None, (first, whole.next_try_at))), said, command)
    if waiting:
        stream, one = min(waiting.items())
        said = f"{stream}: {one.failures} failures in a row, next try {one.next_try_at:%Y-%m-%d %H:%M}: {one.cause}"
        return Standing(label, "backing_off", first, said, f"larder extract --source {label}")
    opening = opens_at(spec, now)
    if opening is not None:
        return Standing(label, "closed", opening, f"{spec.title} may be asked from {opening:%H:%M} UTC on", "")
    return Standing(label, "ok", first, "", "")


def mended(catalogue: Catalogue, source: Source) -> None:
    """Somebody mended a source (new settings, a check that passed, a resume): it is asked again at once."""
    with closing(index.connect(catalogue.dsn)) as conn:
        backoff.forget(conn, source.id)
