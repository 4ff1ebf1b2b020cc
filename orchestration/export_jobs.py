"""Marts as files, as Dagster runs: one a shard, so that one whose export fails or hangs delays no other.

The schedule asks each shard whether something is new, and begins no run where nothing is.
"""

from typing import TYPE_CHECKING

import dagster as dg
import psycopg2

from orchestration.alive import alive
from orchestration.installation import Larder
from orchestration.jobs import still_running
from orchestration.mart_exports import ShardExport, businesses_with_news, export_shard
from orchestration.notices.causes import Cause, Well
from orchestration.notices.classes import class_of
from orchestration.notices.telling import say
from orchestration.specs import Graph
from orchestration.translator import shards
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.settings import get_settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

FILES = dg.AssetKey(["files", "marts"])
JOB = "export"
HOURS = 3  # a run that takes longer is ended


def export_asset(graph: Graph) -> dg.AssetsDefinition:
    """The files of each shard's businesses."""
    marts = [key for key in graph.models if key.path[0] == "bi"]

    @dg.asset(
        key=FILES,
        deps=marts,
        partitions_def=shards,
        group_name="files",
        kinds={"parquet"},
        description="Marts as Parquet in the export store (LARDER_EXPORT_STORE); months that changed are written.",
    )
    def export_marts(context: dg.AssetExecutionContext, larder: dg.ResourceParam[Larder]) -> dg.MaterializeResult[None]:
        at, to, name = larder.open(), get_settings().export_store, context.partition_key
        if not to:
            raise dg.Failure("nobody says where the files go; next: LARDER_EXPORT_STORE=s3://…")
        with alive(at.catalogue.dsn, context.run.run_id):
            found = export_shard(at.catalogue, at.catalogue.shard(name), to, context.log.info)
        well = Well(others=frozenset(("export", done.business) for done in found.done))
        say(at, causes_of(found), well, context.run.run_id)
        if found.failed:
            said = {business: error.cause for business, error in found.failed.items()}
            raise dg.Failure("; ".join(said.values()), metadata=dict(said), allow_retries=False)
        return dg.MaterializeResult(
            metadata={
                "businesses": len(found.done),
                "without news": len(found.unchanged),
                "files written": sum(done.changed for done in found.done),
                "files removed": sum(done.removed for done in found.done),
                "rows": sum(done.rows for done in found.done),
                "bytes written": sum(done.bytes for done in found.done),
            }
        )

    return export_marts


def causes_of(found: ShardExport) -> list[Cause]:
    """The exports that failed, as they are told."""
    return [
        Cause(
            "export", class_of(error), "files", business, error.cause, error.next_command, names=frozenset({business})
        )
        for business, error in found.failed.items()
    ]


def export_job() -> "UnresolvedAssetJobDefinition":
    """A shard's files."""
    return dg.define_asset_job(
        JOB,
        dg.AssetSelection.assets(FILES),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(HOURS * 3600)},
        description="Write what changed in the marts of a shard's businesses to Parquet.",
    )


def export_schedule(cron: str) -> dg.ScheduleDefinition:
    """A run for each shard with something new."""

    @dg.schedule(
        cron_schedule=cron,
        job_name=JOB,
        name="export_files",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="A run for each shard whose marts changed since their files were written.",
    )
    def export_files(
        context: dg.ScheduleEvaluationContext, larder: dg.ResourceParam[Larder]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        to = get_settings().export_store
        if not to:
            return dg.SkipReason("LARDER_EXPORT_STORE is not set")
        try:
            at = larder.open()
            found, silent = with_news(at.catalogue, to)
        except LarderError as error:
            return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
        for name, why in silent.items():
            context.log.warning(f"{name} is left out: {why}")
        busy = [name for name in found if still_running(context.instance, at, job=JOB, shard=name)]
        if found and len(busy) == len(found):
            return dg.SkipReason(f"the files of {', '.join(busy)} are still being written")
        due = [name for name in found if name not in busy]
        context.instance.add_dynamic_partitions(str(shards.name), due)
        return [
            dg.RunRequest(
                run_key=f"{name} {context.scheduled_execution_time.isoformat()}",
                partition_key=name,
                tags={"larder/shard": name, "larder/because": f"{found[name]} businesses have news"},
            )
            for name in due
        ] or dg.SkipReason("no mart changed since its files were written")

    return export_files


def with_news(catalogue: Catalogue, to: str) -> tuple[dict[str, int], dict[str, str]]:
    """Shard → how many of its businesses have something new; and why shards could not be asked."""
    found: dict[str, int] = {}
    silent: dict[str, str] = {}
    for shard in catalogue.shards():
        if shard.state == "retired":
            continue
        try:
            news = sum(businesses_with_news(catalogue, shard, to).values())
        except psycopg2.OperationalError as error:  # which cycles tell
            silent[shard.name] = " ".join(str(error).split())
            continue
        except psycopg2.Error:
            news = 1  # its run meets the same, fails, and is told
        if news:
            found[shard.name] = news
    return found, silent
