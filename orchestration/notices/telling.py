"""Failures are noted and told: a cycle's when it ends, others by who finds them. A fault in telling stops nobody.

`say` is what others call with causes of their own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import connection as Connection

from ingestion import index
from ingestion.errors import LarderError as IngestionError
from ingestion.registry import discover
from orchestration.events import Event
from orchestration.freshness import late_sources
from orchestration.notices import outbox, state
from orchestration.notices.blind import is_back
from orchestration.notices.causes import OUTSIDE, Cause, Heard, Well
from orchestration.notices.channels import Channels
from orchestration.notices.classes import class_of, class_of_text
from orchestration.slow import findings
from sharding.credentials import read_credentials
from sharding.errors import LarderError as ShardingError
from sharding.settings import get_settings

if TYPE_CHECKING:
    from orchestration.cycle import Installation

log = logging.getLogger(__name__)
PATIENCE = 25.0  # seconds that a cycle waits for mail servers at its end
SHORTEST = 4  # letters of a credential; an account's name of one letter would take all texts apart
LATEST = 10_000  # late sources that are told of
SHOWN = 5  # shards of a run that died
_AGAIN = {
    "upkeep": "larder maintain", "upkeep_control": "larder maintain control", "export": "larder export",
    "reconcile": "larder reconcile", "verify": "larder verify",
}  # fmt: skip
"""By job: what does the same by hand."""


@dataclass(frozen=True)
class Run:
    """A run of Dagster's, and of which job."""

    run_id: str
    job: str


def telling(at: Installation, events: Generator[Event], run: Run | None) -> Generator[Event]:
    """A cycle's events as they are; at their end its failures are told, those that ended it too."""
    heard = Heard()
    try:
        for event in events:
            heard.hear(event)
            yield event
    except GeneratorExit:
        events.close()
        tell(at, heard, run, send=False)
        raise
    except Exception as error:
        tell(at, heard, run, error)
        raise
    tell(at, heard, run)


def tell(
    at: Installation, heard: Heard, run: Run | None = None, error: Exception | None = None, send: bool = True
) -> None:
    """Tell what a cycle came to; `error` is what ended it."""
    job = run.job if run else OUTSIDE
    titles = {name: spec.title for name, spec in discover().items()}
    causes, well = heard.causes(titles), heard.well(titles)
    if error is not None:
        causes.append(cause_of_run(job, error))
    else:
        well = replace(well, others=frozenset({("run", job)}))
    say(at, causes, well, run.run_id if run else None, send)


def say(
    at: Installation, causes: Sequence[Cause], well: Well | None = None, run_id: str | None = None, send: bool = True
) -> None:
    """Note what failed and what is well again; then write letters and send them, in at most `PATIENCE` seconds.

    Raises nothing: whoever calls has done its work, and a fault in telling is not to undo it.
    """
    try:
        with closing(index.connect(at.catalogue.dsn)) as conn:
            state.meet(conn, _guarded(at, causes), run_id)
            state.heal(conn, well)
            state.now_only(conn, "fresh", late(conn, at.clock()), run_id)
            state.now_only(conn, "slow", slow(conn), run_id)
        if send:
            deliver(at.catalogue.dsn, at.channels)
    except (psycopg2.Error, IngestionError, ShardingError) as trouble:
        log.warning("failures were not told: %s", " ".join(str(trouble).split()))
    except Exception:
        log.exception("failures were not told")


def late(conn: Connection, now: datetime) -> list[Cause]:
    """Sources whose data are older than promised, where nothing that was told explains it."""
    explained = state.failing(conn)
    specs = discover()
    found = []
    for one in late_sources(conn, now, limit=LATEST):
        if one.source in explained or one.shard in explained:
            continue
        title = specs[one.integration].title if one.integration in specs else one.integration
        through = f"are in the models up to {one.through:%Y-%m-%d %H:%M %Z}" if one.through else "were never read"
        allowed = f"; they may be {one.allowed} old, the objective is {one.objective}" if one.allowed else ""
        said = f"data of {one.stream} {through}{allowed}"
        found.append(
            Cause("fresh", "late", title, one.source, said, f"larder status --business {one.business}",
                  one.stream or "", frozenset({one.source, one.business, one.integration, one.stream or "", title}))
        )  # fmt: skip
    return found


def slow(conn: Connection) -> list[Cause]:
    """Readers whose requests take longer than expected, a cause a shard."""
    return [
        Cause("slow", "slow", one.shard, one.business or one.reader, one.said, "larder slow",
              names=frozenset({one.shard, one.reader, one.business or one.reader}))
        for one in findings(conn, get_settings().slow_request)
    ]  # fmt: skip


def deliver(dsn: str, channels: Channels) -> None:
    """Write letters and send what is due, beside: a server that never comes to an end is left behind, and its letter is
    tried again."""
    if not channels.names:
        return
    with closing(index.connect(dsn)) as conn:
        outbox.write(conn, channels)
    is_back(channels.home, channels)
    sender = threading.Thread(target=_send, args=(dsn, channels), daemon=True, name="notices")
    sender.start()
    sender.join(PATIENCE)
    if sender.is_alive():
        log.warning("a mail server or webhook has not answered in %.0f s; letters wait for the next cycle", PATIENCE)


def _send(dsn: str, channels: Channels) -> None:
    try:
        with closing(index.connect(dsn)) as conn:
            for error in outbox.send(conn, channels).errors:
                log.warning("a letter waits for the next cycle: %s", error)
    except (psycopg2.Error, IngestionError) as error:
        log.warning("letters wait for the next cycle: %s", " ".join(str(error).split()))


def cause_of_run(job: str, error: Exception | str, shards: Sequence[str] = ()) -> Cause:
    """A run, or a cycle outside Dagster, that was ended by an error. `shards`: those that it was begun for."""
    if isinstance(error, (IngestionError, ShardingError)):
        return Cause("run", class_of(error), job, job, error.cause, error.next_command, names=frozenset({job}))
    said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    kind, again = class_of_text("us", said), _AGAIN.get(job, "larder cycle")
    if job == "upkeep" and len(shards) == 1:
        again = f"{again} {shards[0]}"
    if shards:
        more = f" and {len(shards) - SHOWN} more" if len(shards) > SHOWN else ""
        said = f"{said}; it was begun for {', '.join(shards[:SHOWN])}{more}"
    return Cause("run", kind, job, job, said, again, names=frozenset({job, *shards}))


def _guarded(at: Installation, causes: Sequence[Cause]) -> list[Cause]:
    """The same causes, in whose texts no credential of their source and no password of a shard can stand."""
    if not causes:
        return []
    passwords = frozenset(shard.password for shard in at.catalogue.shards() if shard.password)
    whom = {cause.who for cause in causes}
    own: dict[str, frozenset[str]] = {}
    for source in at.catalogue.sources():
        if source.label in whom:
            try:
                values = read_credentials(source.secret_ref, at.catalogue.home).values()
            except ShardingError:
                continue  # it cannot be read, so it is in no text either
            own[source.label] = frozenset(value for value in values if len(value) >= SHORTEST)
    return [replace(cause, secrets=passwords | own.get(cause.who, frozenset())) for cause in causes]
