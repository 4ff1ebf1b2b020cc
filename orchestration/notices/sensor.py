"""What only Dagster can tell: runs that died. And what waits is sent, whether or not cycles run.

Not Dagster's own run-failure sensor: where telling fails, that one goes on to the next run, and the failure is lost.
This one's cursor moves when a failure has been noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
from psycopg2.extensions import connection as Connection

from ingestion import index
from orchestration.installation import Larder
from orchestration.notices import state
from orchestration.notices.blind import is_away
from orchestration.notices.causes import OUTSIDE, Cause, Well
from orchestration.notices.telling import cause_of_run, say
from sharding.errors import LarderError
from sharding.settings import get_settings

EVERY = 60  # seconds
_AT_ONCE = 100
_TAG = "larder/"


@dg.sensor(
    name="tell_failures",
    minimum_interval_seconds=EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Mails about runs that died, data that are late, and what has healed; letters that wait are sent.",
)
def tell_failures(context: dg.SensorEvaluationContext, larder: dg.ResourceParam[Larder]) -> dg.SkipReason:
    """Note failed runs since the last time, then tell what there is to tell."""
    try:
        at = larder.open()
    except LarderError as error:
        is_away(get_settings(), error)
        return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
    since = datetime.fromisoformat(context.cursor) if context.cursor else datetime.now(UTC)
    with closing(index.connect(at.catalogue.dsn)) as conn:
        state.prune(conn)
        causes, until = failed_since(context.instance, conn, since)
        for cause, run_id in causes:
            state.meet(conn, [cause], run_id)
        well = Well(others=frozenset(("run", job) for job in recovered(context.instance, conn)))
    context.update_cursor(until.isoformat())
    say(at, (), well)
    return dg.SkipReason(f"{len(causes)} runs failed" if causes else "no run failed")


def failed_since(
    instance: dg.DagsterInstance, conn: Connection, since: datetime
) -> tuple[Sequence[tuple[Cause, str]], datetime]:
    """Runs that failed after a moment, as causes with their ids, without those whose cycle told it itself; and the
    moment up to which was looked."""
    found: list[tuple[Cause, str]] = []
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    records = instance.get_run_records(failed, limit=_AT_ONCE, order_by="update_timestamp", ascending=True)
    for record in records:
        run = record.dagster_run
        if not state.knows_run(conn, run.run_id):
            said = said_of(instance, run.run_id)
            found.append((cause_of_run(run.job_name, said, shards_of(run.tags)), run.run_id))
        since = max(since, record.update_timestamp.replace(tzinfo=UTC))
    return found, since


def shards_of(tags: Mapping[str, str]) -> list[str]:
    """The shards that a run was begun for: one, or those that were due."""
    ours = {name.removeprefix(_TAG): said for name, said in tags.items() if name.startswith(_TAG)}
    return [ours["shard"]] if "shard" in ours else sorted(ours)


def said_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run failed: what its step said, else what Dagster says of the run."""
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        for record in instance.get_records_for_run(run_id, of_type=kind).records:
            event = record.event_log_entry.dagster_event
            if event is None:
                continue
            if kind is dg.DagsterEventType.RUN_FAILURE:
                return event.message or ""
            failure = event.step_failure_data
            told = failure.user_failure_data.description if failure.user_failure_data else None
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            return told or (error.message if error else "") or event.message or ""
    return "Dagster says nothing of it"


def recovered(instance: dg.DagsterInstance, conn: Connection) -> list[str]:
    """Jobs that failed, and of which a later run succeeded."""
    found = []
    for notice in state.listed(conn):
        if notice["step"] == "run" and notice["subject"] != OUTSIDE:
            later = dg.RunsFilter(
                job_name=notice["subject"], statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=notice["last_seen"]
            )
            found += [notice["subject"]] if instance.get_run_records(later, limit=1) else []
    return found
