"""Jobs for each step and for the whole cycle, and the schedule that runs it only when there is something to do."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.alive import is_alive
from orchestration.cycle import Installation, due
from orchestration.installation import Larder
from orchestration.instance import KEEP_DAYS, prune
from orchestration.moves import go_on_with_flips
from orchestration.specs import Graph
from orchestration.transform import target_of
from orchestration.translator import shards
from orchestration.verify import verify
from sharding.errors import LarderError

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

BEGINNING = 120.0  # seconds in which a run's process has surely said that it lives
BUSY = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def make_jobs(graph: Graph, checks: Sequence[dg.AssetChecksDefinition]) -> list["UnresolvedAssetJobDefinition"]:
    """`extract`, `load`, `transform`, `cycle` (all three), and `reconcile`."""
    steps = {
        "extract": ([k for k, v in graph.streams.items() if v[0] == "extract"], "Read what is due into blocks."),
        "load": ([k for k, v in graph.streams.items() if v[0] == "load"], "Load pending blocks into raw."),
        "transform": (list(graph.models), "Build the models where something is new."),
        "cycle": ([*graph.streams, *graph.models], "Extract, load and transform what is due, shard by shard."),
    }
    # Reconciling reads all history: daily, and not in every cycle as the other checks of the same assets are.
    slow = dg.AssetSelection.checks(*checks)
    jobs = [_job(name, dg.AssetSelection.assets(*keys) - slow, text) for name, (keys, text) in steps.items() if keys]
    if checks:
        jobs.append(_job("reconcile", slow, "Compare blocks, raw, facts and summaries, to the cent."))
    return jobs


def _job(name: str, selection: dg.AssetSelection, description: str) -> "UnresolvedAssetJobDefinition":
    # In process: the op has workers of its own, and a process per step would import everything again (3 CPU-seconds).
    return dg.define_asset_job(name, selection, description=description, executor_def=dg.in_process_executor)


@dg.schedule(
    cron_schedule="*/10 * * * *",
    job_name="cycle",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every ten minutes, for the shards where something is due. An idle tick is a skip, not a run.",
)
def every_ten_minutes(
    context: dg.ScheduleEvaluationContext, larder: dg.ResourceParam[Larder]
) -> dg.RunRequest | dg.SkipReason:
    """Probe; a run only where the probe finds something. A tick has one run: Dagster tags it with the tick's time."""
    try:
        at = larder.open()
    except LarderError as error:
        return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
    running = still_running(context.instance, at)
    if running:
        return dg.SkipReason(f"the last cycle still runs ({running[0]})")
    context.instance.add_dynamic_partitions(str(shards.name), [s.name for s in at.catalogue.shards()])
    reasons = probe(context, at)
    if isinstance(reasons, dg.SkipReason):
        return reasons
    return dg.RunRequest(tags={f"larder/{shard}": why[:200] for shard, why in reasons.items()})


def probe(context: dg.ScheduleEvaluationContext, at: Installation) -> dict[str, str] | dg.SkipReason:
    """Go on with flips that were cut off, then say which shards are due, and why."""
    for done in go_on_with_flips(at):
        context.log.warning(done)
    return due(at) or dg.SkipReason("nothing is due, pending or changed on any shard")


def still_running(
    instance: dg.DagsterInstance, at: Installation, now: float | None = None, job: str = "cycle", shard: str = ""
) -> list[str]:
    """Ids of the cycles that run, or of another job's runs over a shard. One whose process is gone (killed, or the
    machine was restarted) is called failed: what it had at work is the next one's. One that its tick made and did not
    begin (the daemon was killed between the two, and did not come back for that tick) is called cancelled. `now`: Unix
    time."""
    running = []
    of = {"larder/shard": shard} if shard else {}
    begun = dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED], job_name=job, tags=of)
    for record in instance.get_run_records(begun):
        if (now or time.time()) - record.create_timestamp.timestamp() > BEGINNING:
            instance.report_run_canceled(record.dagster_run, "nobody began it; a later tick does its work")
    for record in instance.get_run_records(dg.RunsFilter(statuses=BUSY, job_name=job, tags=of)):
        run = record.dagster_run
        old = (now or time.time()) - (record.start_time or time.time()) > BEGINNING
        if run.status == dg.DagsterRunStatus.STARTED and old and not is_alive(at.catalogue.dsn, run.run_id):
            instance.report_run_failed(run, f"its process is gone; the next {job} goes on where it was")
        else:
            running.append(run.run_id)
    return running


def housekeeping(graph: Graph) -> dg.ScheduleDefinition:
    """Delete old runs once a day."""

    @dg.op(name="prune_runs", description=f"Delete finished runs older than {KEEP_DAYS} days that nothing rests on.")
    def prune_runs(context: dg.OpExecutionContext) -> None:
        deleted = prune(context.instance, [*graph.streams, *graph.models])
        context.log.info(f"{deleted} old runs deleted")

    @dg.job(name="housekeeping", executor_def=dg.in_process_executor, description="Keep Dagster's storage small.")
    def job() -> None:
        prune_runs()

    return dg.ScheduleDefinition(job=job, cron_schedule="10 5 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)


def nightly_verification() -> dg.ScheduleDefinition:
    """Once a night: each model against its own SELECT, and all data tests on all rows. Cycles look at what changed."""

    @dg.op(name="verify_models", description="Compare each model with its own SELECT and run all data tests whole.")
    def verify_models(context: dg.OpExecutionContext, larder: dg.ResourceParam[Larder]) -> None:
        at = larder.open()
        wrong: dict[str, str] = {}
        for found in verify(at.transform, [target_of(s) for s in at.catalogue.shards() if s.state != "retired"]):
            context.log.info(f"{found.shard}: " + (found.skipped or f"{found.models} models, {len(found.tests)} tests"))
            said = [
                f"{u.model}: {u.surplus} rows too many, {u.missing} missing, such as {u.example}" for u in found.unequal
            ]
            said += [f"{t.name}: {t.message}" for t in found.failed] + ([found.error] if found.error else [])
            if said:
                wrong[found.shard] = "; ".join(said)
        if wrong:
            raise dg.Failure("; ".join(f"{shard}: {said}" for shard, said in wrong.items()), metadata=dict(wrong))

    @dg.job(
        name="verify", executor_def=dg.in_process_executor, description="Each model against its own SELECT, all tests."
    )
    def job() -> None:
        verify_models()

    return dg.ScheduleDefinition(job=job, cron_schedule="20 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)


def daily_reconciliation(jobs: Sequence["UnresolvedAssetJobDefinition"]) -> list[dg.ScheduleDefinition]:
    """Reconcile all history once a day, in the quiet hour."""
    return [
        dg.ScheduleDefinition(job=job, cron_schedule="40 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
        for job in jobs
        if job.name == "reconcile"
    ]
