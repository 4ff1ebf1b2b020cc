"""The cycle as one step a shard, for workers on other machines: Dagster's own Celery executor hands the steps out.

Only where LARDER_CELERY_BROKER names a broker; everywhere else the cycle is one step with worker processes of its own,
which costs one start for all shards. Nothing here needs a step to run exactly once: a shard's lease, the ledger of
its blocks and the marks of its models make a second delivery find nothing to do, or somebody at work.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import dagster as dg

from orchestration.cycle import Scope, cycle_events, due
from orchestration.emit import outputs
from orchestration.events import Event
from orchestration.installation import Larder
from orchestration.jobs import probe
from orchestration.notices.telling import Run
from orchestration.specs import Graph
from orchestration.transform import ShardBuild
from orchestration.translator import shards
from sharding.errors import LarderError
from sharding.settings import Settings

JOB = "cycle_by_shard"
LONGEST = 1800  # seconds of a run, after which it is ended: a step whose workers all die would be handed out for ever
_SPARE = 120.0  # seconds beyond a shard's deadline before its step is handed to another worker


def celery_config(settings: Settings) -> dict[str, Any]:
    """Broker and behaviour, the same for the executor and its workers. A step is acknowledged when it is done: what a
    killed worker had in hand goes to another, at once with RabbitMQ, after `visibility_timeout` with Redis."""
    broker = settings.celery_broker.get_secret_value()
    return {
        "broker": broker,
        "backend": broker if broker.startswith("redis") else "rpc://",
        "config_source": {
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            "broker_connection_retry_on_startup": True,
            "broker_transport_options": {"visibility_timeout": int(settings.shard_deadline + _SPARE)},
        },
    }


@dataclass(frozen=True)
class ByShard:
    """The job, and the schedule that takes the place of the usual one."""

    job: dg.JobDefinition
    schedule: dg.ScheduleDefinition


def by_shard(graph: Graph, settings: Settings) -> ByShard | None:
    """The cycle for Celery; None where there is no broker."""
    if not settings.celery_broker.get_secret_value():
        return None
    from dagster_celery import celery_executor

    job = cycle_by_shard(graph, celery_executor.configured(celery_config(settings)))
    return ByShard(job, _schedule(job))


def cycle_by_shard(graph: Graph, executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    """The job: which shards are due, then a step for each of them."""

    # Without a value: nothing is handed from step to step, so the machines need no folder in common for that.
    @dg.op(name="due_shards", out=dg.DynamicOut(dg.Nothing), description="A step for each shard that is due.")
    def due_shards(
        context: dg.OpExecutionContext, larder: dg.ResourceParam[Larder]
    ) -> Iterator[dg.DynamicOutput[None]]:
        at = larder.open()
        context.instance.add_dynamic_partitions(str(shards.name), [s.name for s in at.catalogue.shards()])
        for shard, why in due(at).items():
            context.log.info(f"{shard}: {why[:200]}")
            yield dg.DynamicOutput(None, mapping_key=shard)

    @dg.op(name="shard", ins={"due": dg.In(dg.Nothing)}, description="Extract, load and build one shard.")
    def one_shard(context: dg.OpExecutionContext, larder: dg.ResourceParam[Larder]) -> None:
        name, at = str(context.get_mapping_key()), larder.open()
        residents = {name: [business.display_name for business in at.catalogue.businesses(name)]}
        failed: list[str] = []

        def heard(events: Iterator[Event]) -> Iterator[Event]:
            for event in events:
                larder.hear(event)
                if isinstance(event, ShardBuild):
                    context.log.info(f"{event.shard}: {event.state}, {event.reason}")
                    failed[:] = [event.reason] if event.state == "failed" else []
                yield event

        scope = Scope(shards=frozenset({name}), within=larder.within, run=Run(context.run_id, JOB))
        with closing(cycle_events(at, scope, larder.watch)) as events:
            for output in outputs(graph, heard(events), residents):
                context.log_event(output)  # type: ignore[arg-type]  # the annotation leaves checks out, Dagster does not
        if failed:
            raise dg.Failure(f"{name}: {failed[0]}", allow_retries=False)  # the next tick tries again

    @dg.job(
        name=JOB,
        executor_def=executor,
        tags={"dagster/max_runtime": LONGEST},
        description="Extract, load and transform what is due, a step for each shard.",
    )
    def job() -> None:
        due_shards().map(lambda found: one_shard(due=found))

    return job


def _schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="every_ten_minutes_by_shard",
        cron_schedule="*/10 * * * *",
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every ten minutes, where something is due. A shard that the last run still works at is skipped.",
    )
    def every_ten_minutes_by_shard(
        context: dg.ScheduleEvaluationContext, larder: dg.ResourceParam[Larder]
    ) -> dg.RunRequest | dg.SkipReason:
        try:
            at = larder.open()
        except LarderError as error:
            return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
        reasons = probe(context, at)
        if isinstance(reasons, dg.SkipReason):
            return reasons
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return every_ten_minutes_by_shard
