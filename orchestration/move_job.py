"""A move as a Dagster job: its steps in the log, rows and pause as a materialization of where the business lives."""

from collections.abc import Iterator, Mapping

import dagster as dg

from orchestration.installation import Larder
from orchestration.moves import mover
from sharding.moving.journal import steps


class MoveBusiness(dg.Config):
    """Which business goes where. Without `to` a move that has begun goes on."""

    business: str
    to: str = ""
    action: str = "move"  # or rollback, finish, abort


@dg.op(name="move", description="Move a business to another shard while it trades.")
def move_business(context: dg.OpExecutionContext, config: MoveBusiness, larder: dg.ResourceParam[Larder]) -> None:
    """Run the move and record where the business lives now."""
    at = larder.open()
    way = mover(at, config.business, context.log.info)
    acts = {"rollback": way.roll_back, "finish": way.finish, "abort": way.abort}
    moved = way.move(config.to or None) if config.action == "move" else acts[config.action]()
    told = {step: detail for _, step, detail in steps(at.catalogue, moved.id)}
    context.log_event(
        dg.AssetMaterialization(
            asset_key=["businesses", moved.business_name],
            description=f"{moved.from_shard} → {moved.to_shard}: {moved.state}",
            metadata={
                "shard": at.catalogue.business(moved.business).shard,
                "state": moved.state,
                **dict(_figures(told)),
            },
        )
    )


def _figures(told: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for step, detail in told.items():
        if isinstance(detail, Mapping) and detail:
            yield step, ", ".join(f"{name} {value}" for name, value in detail.items())


@dg.job(
    name="move_business",
    executor_def=dg.in_process_executor,
    description="Move a business to another shard; run again, it goes on where it was.",
)
def move_business_job() -> None:
    """One step: the mover has its own journal."""
    move_business()
