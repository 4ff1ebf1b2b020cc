"""larder maintain: what a shard's quiet hour is for, now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from sharding.errors import LarderError


def maintain(
    shard: Annotated[list[str] | None, typer.Argument(help="Shards, or `control`. Default: all, and that.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what there is to do, and when each is quiet.")] = False,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Freeze every table, when transaction ids are running out.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="At most for so long a shard.")] = 60,
    json: JsonFlag = False,
) -> None:
    """Sweep what killed loads left, vacuum and analyze what needs it, look for rows that no load accounts for."""
    from orchestration.cycle import Installation
    from orchestration.upkeep import maintain as keep
    from orchestration.upkeep import maintain_control, quiet_times
    from sharding.upkeep.facts import look
    from sharding.upkeep.work import tasks

    context, out = get_context(), Output(json)
    catalogue = context.catalogue
    at = Installation.of(context.settings, catalogue)
    names = shard or [*(one.name for one in catalogue.shards()), "control"]
    shards = [catalogue.shard(name) for name in names if name != "control"]
    if plan:
        quiet = quiet_times(catalogue)
        rows = [
            {"shard": one.name, "table": task.table.at, "because": task.because,
             "vacuum": task.vacuum, "quiet": f"{quiet[one.name].minute // 60:02}:{quiet[one.name].minute % 60:02} UTC"}
            for one in shards
            for task in tasks(look(one), freeze_all=freeze)
        ]  # fmt: skip
        out.table(rows, empty="nothing to do")
        return
    told: list[dict[str, Any]] = []
    failed: LarderError | None = None
    for one in shards:
        try:
            done = keep(at, one, minutes * 60, out.say, freeze=freeze)
        except LarderError as error:
            failed = failed or error
            told.append({"shard": one.name, "error": error.cause})
            continue
        out.say(
            f"{one.name}: {len(done.done)} tables, {len(done.failed)} not done, {done.swept} landing tables emptied"
        )
        told.append({"shard": one.name, "swept": done.swept, "settings": done.settings,
                     "tables": [asdict(task) for task in done.done]})  # fmt: skip
    if "control" in names:
        told.append({"shard": "control", **maintain_control(at, context.settings.release_days, out.say)})
    if json:
        out.document(told)
        if failed:
            raise typer.Exit(EXIT_CODES[failed.turn])
    elif failed:
        raise failed
