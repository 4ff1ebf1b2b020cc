"""A move as a Dagster job: its stages as assets, one after the other, and where the business lives as another.

Each stage is a materialization with its figures as soon as the move's journal has it, so that the asset graph shows how
far a move is and what the last one came to.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from orchestration.installation import Larder
from orchestration.moves import mover, unfinished
from sharding.errors import LarderError
from sharding.moving.journal import moves, steps

_STAGES = {
    "copied": "All rows of the business are on the other shard.",
    "verified": "Every row was compared at one snapshot of both shards.",
    "marts equal": "The models of both shards make the same marts of it.",
    "flipped": "The business changed over; `milliseconds` its writes waited.",
    "verified at the cutover": "Every row was compared once more, as the flip left it.",
    "cleaned up": "The old copy was deleted; there is no way back.",
}
_GROUP = "moves"


def stage_key(step: str) -> dg.AssetKey:
    """The asset of a stage, named by its step in the journal."""
    return dg.AssetKey(["moves", step.replace(" ", "_")])


def stage_assets() -> list[dg.AssetSpec]:
    """The stages as assets, each made from the one before."""
    names = list(_STAGES)
    return [
        dg.AssetSpec(
            stage_key(step), deps=[stage_key(before)] if before else [], description=_STAGES[step], group_name=_GROUP
        )
        for before, step in zip(["", *names], names, strict=False)
    ]


class MoveBusiness(dg.Config):
    """Which business goes where. Without `to` a move that has begun goes on."""

    business: str
    to: str = ""
    action: str = "move"  # or rollback, finish, abort


@dg.op(name="move", description="Move a business to another shard while it trades.")
def move_business(context: dg.OpExecutionContext, config: MoveBusiness, larder: dg.ResourceParam[Larder]) -> None:
    """Run the move, record its stages as they are done and at last where the business lives."""
    at = larder.open()
    since, told = datetime.now(UTC), set[str]()

    def tell() -> None:
        for move in moves(at.catalogue, at.catalogue.business(config.business).id)[:1]:
            for when, step, detail in steps(at.catalogue, move.id):
                if step in _STAGES and when >= since and step not in told:
                    told.add(step)
                    ways = {"business": move.business_name, "from": move.from_shard, "to": move.to_shard}
                    context.log_event(dg.AssetMaterialization(stage_key(step), metadata={**ways, **detail}))

    def say(text: str) -> None:
        context.log.info(text)
        tell()

    way = mover(at, config.business, say)
    acts = {"rollback": way.roll_back, "finish": way.finish, "abort": way.abort}
    moved = way.move(config.to or None) if config.action == "move" else acts[config.action]()
    tell()
    context.log_event(
        dg.AssetMaterialization(
            asset_key=["businesses", moved.business_name],
            description=f"{moved.from_shard} → {moved.to_shard}: {moved.state}",
            metadata={
                "shard": at.catalogue.business(moved.business).shard,
                "state": moved.state,
                **dict(_figures({step: detail for _, step, detail in steps(at.catalogue, moved.id)})),
            },
        )
    )


def _figures(told: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for step, detail in told.items():
        if detail:
            yield step, ", ".join(f"{name} {value}" for name, value in detail.items())


@dg.job(
    name="move_business",
    executor_def=dg.in_process_executor,
    description="Move a business to another shard; run again, it goes on where it was.",
)
def move_business_job() -> None:
    """One step: the mover has its own journal."""
    move_business()


_ACTIONS = {"move": "move", "roll_back": "rollback", "finish": "finish", "abort": "abort"}


@dg.schedule(
    cron_schedule="*/10 * * * *",
    job=move_business_job,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Moves that nobody drives any more, and ways back whose time is over: a run each that ends them.",
)
def moves_to_tend(
    context: dg.ScheduleEvaluationContext, larder: dg.ResourceParam[Larder]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Look at the journal; a run only where a move has to go on by itself."""
    try:
        found = list(unfinished(larder.open()))
    except LarderError as error:
        return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
    requests = [
        dg.RunRequest(
            run_config={"ops": {"move": {"config": {"business": move.business_name, "action": _ACTIONS[rest]}}}},
            tags={"larder/business": move.business_name, "larder/because": f"{move.to_shard}: {rest}"},
        )
        for move, rest in found
    ]
    return requests or dg.SkipReason("no move has to go on by itself")
