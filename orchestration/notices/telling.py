"""A cycle's failures are noted and told when it ends. Nothing that goes wrong in telling stops or fails a cycle."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2

from ingestion import index
from ingestion.errors import LarderError as IngestionError
from ingestion.registry import discover
from orchestration.events import Event
from orchestration.notices import outbox, state
from orchestration.notices.causes import Cause, Heard, Step, Well, with_secrets
from orchestration.notices.channels import Channels
from orchestration.notices.classes import class_of, class_of_text
from sharding.credentials import read_credentials
from sharding.errors import LarderError as ShardingError

if TYPE_CHECKING:
    from orchestration.cycle import Installation

log = logging.getLogger(__name__)
PATIENCE = 25.0  # seconds that a cycle waits for mail servers at its end


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
    """Note what failed and what is well again; then write letters and send them, in at most `PATIENCE` seconds."""
    job = run.job if run else "larder cycle"
    try:
        causes = heard.causes({name: spec.title for name, spec in discover().items()})
        well = heard.well
        if error is not None:
            causes.append(cause_of_run(job, error))
        else:
            well = Well(well.shards, well.nodes, frozenset({("run", job)}))
        with closing(index.connect(at.catalogue.dsn)) as conn:
            state.meet(conn, with_secrets(causes, _secrets(at, causes)), run.run_id if run else None)
            state.heal(conn, well)
        if send:
            deliver(at.catalogue.dsn, at.channels)
    except (psycopg2.Error, IngestionError, ShardingError) as trouble:
        log.warning("failures of this cycle were not told: %s", " ".join(str(trouble).split()))
    except Exception:
        log.exception("failures of this cycle were not told")


def now_only(at: Installation, step: Step, causes: Sequence[Cause], run_id: str | None = None) -> None:
    """Tell all that fails of a step now (`fresh`, `reconcile`); what failed before and is not among it is healed.

    Raises what `index.connect` and psycopg2 raise.
    """
    with closing(index.connect(at.catalogue.dsn)) as conn:
        state.now_only(conn, step, with_secrets(causes, _secrets(at, causes)), run_id)
    deliver(at.catalogue.dsn, at.channels)


def look_after(dsn: str, channels: Channels) -> None:
    """Between cycles: what healed meanwhile, and letters that no server took yet."""
    with closing(index.connect(dsn)) as conn:
        state.heal(conn)
        state.prune(conn)
    deliver(dsn, channels)


def deliver(dsn: str, channels: Channels) -> None:
    """Write letters and send what is due, beside: a server that never comes to an end is left behind, and its letter is
    tried again."""
    if not channels.names:
        return
    with closing(index.connect(dsn)) as conn:
        outbox.write(conn, channels)
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


def cause_of_run(job: str, error: Exception | str) -> Cause:
    """A run, or a cycle outside Dagster, that was ended by an error."""
    if isinstance(error, (IngestionError, ShardingError)):
        return Cause("run", class_of(error), job, job, error.cause, error.next_command, names=frozenset({job}))
    said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Cause("run", class_of_text("us", said), job, job, said, "larder cycle", names=frozenset({job}))


def _secrets(at: Installation, causes: Sequence[Cause]) -> Collection[str]:
    """Credentials of the sources and passwords of the shards that causes are about."""
    if not causes:
        return ()
    whom = {cause.who for cause in causes}
    found: set[str] = set()
    for source in at.catalogue.sources():
        if source.label in whom:
            try:
                found.update(read_credentials(source.secret_ref, at.catalogue.home).values())
            except ShardingError:
                continue  # it cannot be read, so it is in no text either
    for shard in at.catalogue.shards():
        found.add(shard.password)
    return {secret for secret in found if len(secret) >= 4}
