"""Upkeep as Dagster runs: one a shard, each in the shard's own quiet hour, so that none waits for another.

Its assets stand beside the shards' data, a partition each: kept, backed up, and (once a week) a backup restored.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.backups import CONTROL, back_up, backup_of, policy_of, thin_out, vault_of
from orchestration.installation import Larder
from orchestration.restoring import Restorer
from orchestration.translator import shards
from orchestration.upkeep import keep_to_policies, last_runs, maintain, maintain_control, noted, quiet_times
from sharding.errors import LarderError
from sharding.settings import get_settings
from sharding.upkeep.quiet import STEP, is_due

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

TEST_EVERY = 7  # days; each shard has its own day
HOURS = 6  # a run that takes longer is ended, whatever it is at
_GROUP = "upkeep"


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(["upkeep", name])


ASSETS = _key("kept"), _key("backup"), _key("restored")


@dg.multi_asset(
    name="keep_shard",
    partitions_def=shards,
    can_subset=True,
    group_name=_GROUP,
    specs=[
        dg.AssetSpec(_key("kept"), description="Swept, vacuumed where it was needed, old blocks given up."),
        dg.AssetSpec(_key("backup"), deps=[_key("kept")], description="A dump of the shard, with hashes of its files."),
        dg.AssetSpec(
            _key("restored"), deps=[_key("backup")], skippable=True,
            description="A backup restored, caught up from the blocks, and compared with the receipts to the cent.",
        ),
    ],
)  # fmt: skip
def keep_shard(
    context: dg.AssetExecutionContext, larder: dg.ResourceParam[Larder]
) -> Iterator[dg.MaterializeResult[None]]:
    """One shard's night."""
    at, settings, wanted = larder.open(), get_settings(), context.selected_asset_keys
    shard, say = at.catalogue.shard(context.partition_key), context.log.info
    if _key("kept") in wanted:
        done = maintain(at, shard, settings.maintenance_minutes * 60, say)
        told = keep_to_policies(at, shard.name, say)
        figures = {"tables": len(done.done), "not done": len(done.failed), "landing tables emptied": done.swept, **told}
        yield dg.MaterializeResult(asset_key=_key("kept"), metadata=figures)
    if _key("backup") in wanted:
        with noted(at.catalogue, shard.name, "backup") as detail:
            made = back_up(settings, at.catalogue, shard.name, say)
            gone = thin_out(vault_of(settings), shard.name, policy_of(settings))
            detail |= {"backup": made.name, "rows": made.rows, "bytes": made.bytes, "seconds": made.seconds}
        yield dg.MaterializeResult(asset_key=_key("backup"), metadata={**detail, "deleted": len(gone)})
    if _key("restored") in wanted:
        backup = backup_of(vault_of(settings), shard.name)
        with noted(at.catalogue, shard.name, "restore test") as detail:
            tested = Restorer(at, settings, say).test(backup)
            detail |= {"backup": backup.name, "seconds": tested.seconds, "rows": tested.rows,
                       "loaded again": tested.caught_up, "businesses equal": tested.reconciled}  # fmt: skip
        yield dg.MaterializeResult(asset_key=_key("restored"), metadata=detail)


def upkeep_job() -> "UnresolvedAssetJobDefinition":
    """A shard's night; the schedule leaves the restore test out but for once a week."""
    return dg.define_asset_job(
        "upkeep",
        dg.AssetSelection.assets(*ASSETS),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(HOURS * 3600)},
        description="Keep a shard, back it up, and restore a backup.",
    )


@dg.op(name="keep_control", description="Thin out the control database's logs, vacuum it, back it up.")
def keep_control(context: dg.OpExecutionContext, larder: dg.ResourceParam[Larder]) -> None:
    """The control database's night."""
    at, settings = larder.open(), get_settings()
    maintain_control(at, settings.release_days, context.log.info)
    with noted(at.catalogue, CONTROL, "backup") as detail:
        made = back_up(settings, at.catalogue, CONTROL, context.log.info)
        thin_out(vault_of(settings), CONTROL, policy_of(settings))
        detail |= {"backup": made.name, "rows": made.rows, "bytes": made.bytes, "seconds": made.seconds}
    context.log_event(dg.AssetMaterialization(asset_key=dg.AssetKey(["upkeep", "control"]), metadata=detail))


@dg.job(
    name="upkeep_control", executor_def=dg.in_process_executor, description="Keep and back up the control database."
)
def upkeep_control() -> None:
    """One step."""
    keep_control()


@dg.schedule(
    cron_schedule=f"*/{STEP} * * * *",
    job_name="upkeep",
    name="quiet_hours",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A run for each shard whose quiet time has come: once a day each.",
)
def quiet_hours(
    context: dg.ScheduleEvaluationContext, larder: dg.ResourceParam[Larder]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Look at the shards' quiet times; a shard that was kept today already is left alone."""
    now = context.scheduled_execution_time.astimezone(UTC)
    try:
        at = larder.open()
        found = quiet_times(at.catalogue)
        due = sorted(shard for shard, quiet in found.items() if is_due(quiet.minute, now))
        known = last_runs(at.catalogue)
    except LarderError as error:
        return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
    context.instance.add_dynamic_partitions(str(shards.name), sorted(found))
    requests = [
        dg.RunRequest(
            run_key=f"{shard} {now:%Y-%m-%d}",
            asset_selection=list(
                ASSETS if restores_today(shard, known.get((shard, "restore test")), now) else ASSETS[:2]
            ),
            partition_key=shard,
            tags={"larder/shard": shard, "larder/because": found[shard].because},
        )
        for shard in due
    ]
    return requests or dg.SkipReason(f"it is no shard's quiet time at {now:%H:%M} UTC")


def restores_today(shard: str, last: tuple[datetime, bool | None, object] | None, now: datetime) -> bool:
    """Whether a backup of the shard is restored tonight: on its weekday, and on any where the last time is too long
    ago or was no success."""
    own = sum(shard.encode()) % TEST_EVERY
    return last is None or not last[1] or (now - last[0]).days >= TEST_EVERY or now.toordinal() % TEST_EVERY == own


def nightly_control() -> dg.ScheduleDefinition:
    """The control database has no guests: at a fixed time."""
    return dg.ScheduleDefinition(
        job=upkeep_control, cron_schedule="50 5 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    )
