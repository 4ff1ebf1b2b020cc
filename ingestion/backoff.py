"""Who is left alone for a while: sources that fail, and vendors that fail many sources. Kept in the control database.

A stream that fails while others of its source answer waits alone; a source of which nothing answers waits as a whole
(stream `''`). The next success forgets all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection

from ingestion.cadence import breaker_wait, wait_after
from ingestion.errors import LarderError

WHOLE = ""  # in place of a stream: the whole source
TRIP = 3  # sources of one vendor that fail by its fault, with no success between, open its breaker


@dataclass(frozen=True)
class Backoff:
    """A source, or one stream of it, that is not asked before `next_try_at`."""

    failures: int
    turn: str
    cause: str
    next_try_at: datetime


@dataclass(frozen=True)
class Breaker:
    """A vendor that nobody asks before `probe_at`."""

    opened_at: datetime
    trips: int
    probe_at: datetime
    cause: str


def backoffs(conn: Connection, source_ids: Sequence[int]) -> dict[tuple[int, str], Backoff]:
    """What is backing off of the sources, by source and stream."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select source_id, stream, failures, turn, cause, next_try_at from control.backoff"
            " where source_id = any(%s)",
            (list(source_ids),),
        )
        return {(source_id, stream): Backoff(*rest) for source_id, stream, *rest in cur.fetchall()}


def waits(held: Mapping[tuple[int, str], Backoff], source_id: int, stream: str, now: datetime) -> bool:
    """Whether a stream is to be left alone now: by itself, or with its whole source."""
    found = [held.get((source_id, name)) for name in (stream, WHOLE)]
    return any(one is not None and one.next_try_at > now for one in found)


def note(
    conn: Connection, source_id: int, outcomes: Mapping[str, LarderError | None], now: datetime
) -> dict[str, Backoff]:
    """Note how the streams that were asked answered (`''`: the source as a whole failed); returns what waits now."""
    if not outcomes:
        return {}
    known = {stream: one for (_, stream), one in backoffs(conn, [source_id]).items()}
    after = _after(known, source_id, outcomes, now)
    if after == known:
        return after
    with conn, conn.cursor() as cur:
        cur.execute("delete from control.backoff where source_id = %s", (source_id,))
        for stream, one in after.items():
            cur.execute(
                "insert into control.backoff (source_id, stream, failures, turn, cause, failed_at, next_try_at)"
                " values (%s, %s, %s, %s, %s, %s, %s)",
                (source_id, stream, one.failures, one.turn, one.cause, now, one.next_try_at),
            )
    return after


def forget(conn: Connection, source_id: int) -> None:
    """Somebody mended the source: it is asked again at once."""
    with conn, conn.cursor() as cur:
        cur.execute("delete from control.backoff where source_id = %s", (source_id,))


def _after(
    known: Mapping[str, Backoff], source_id: int, outcomes: Mapping[str, LarderError | None], now: datetime
) -> dict[str, Backoff]:
    failed = {stream: error for stream, error in outcomes.items() if error is not None}
    after = {stream: one for stream, one in known.items() if stream not in outcomes and stream != WHOLE}
    # A stream known to fail says nothing of the source; one that failed with all that were asked, and was well, does.
    if len(failed) == len(outcomes) and any(stream not in known for stream in failed):
        error = next(error for stream, error in failed.items() if stream not in known)
        failed = {WHOLE: error}
        after = {stream: one for stream, one in known.items() if stream != WHOLE}
    for stream, error in failed.items():
        failures = (known[stream].failures if stream in known else 0) + 1
        wait = wait_after(failures, error.turn, source_id)
        if wait is not None:
            after[stream] = Backoff(failures, error.turn, error.cause, now + wait)
    return after


def breakers(conn: Connection) -> dict[str, Breaker]:
    """The vendors that are left alone, by integration."""
    with conn, conn.cursor() as cur:
        cur.execute("select integration, opened_at, trips, probe_at, cause from control.breakers")
        return {integration: Breaker(*rest) for integration, *rest in cur.fetchall()}


def open_breaker(conn: Connection, integration: str, cause: str, now: datetime) -> Breaker:
    """Leave a vendor alone; after a probe that failed too, for longer."""
    with conn, conn.cursor() as cur:
        cur.execute("select trips from control.breakers where integration = %s for update", (integration,))
        row = cur.fetchone()
        trips = (row[0] if row else 0) + 1
        cur.execute(
            "insert into control.breakers as b (integration, opened_at, trips, probe_at, cause)"
            " values (%(i)s, %(now)s, %(trips)s, %(probe)s, %(cause)s) on conflict (integration) do update set"
            " trips = excluded.trips, probe_at = excluded.probe_at, cause = excluded.cause returning opened_at",
            {"i": integration, "now": now, "trips": trips, "probe": now + breaker_wait(trips), "cause": cause},
        )
        [(opened_at,)] = cur.fetchall()
    return Breaker(opened_at, trips, now + breaker_wait(trips), cause)


def claim_probe(conn: Connection, integration: str, now: datetime) -> bool:
    """Be the one that asks a vendor whether it is back. Others may again after the wait, should this one die."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "update control.breakers set probe_at = %s where integration = %s and probe_at <= %s returning 1",
            (now + breaker_wait(1), integration, now),
        )
        return cur.fetchone() is not None


def close_breaker(conn: Connection, integration: str) -> None:
    """The vendor answers again."""
    with conn, conn.cursor() as cur:
        cur.execute("delete from control.breakers where integration = %s", (integration,))
