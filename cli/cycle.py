"""`larder cycle`: extract, load and build whatever is due."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output


def cycle(
    shard: Annotated[list[str] | None, typer.Option(help="Only this shard. May be repeated.")] = None,
    business: Annotated[list[str] | None, typer.Option(help="Only this business's sources. May be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what is not due, and shards with nothing new.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Only say what is due, and why.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="As a run of Dagster's, to be seen in its UI (5 CPU-seconds more).")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Extract, load and build whatever is due. One source's or shard's failure stops no other."""
    from cli.report_cycle import print_report, watched
    from orchestration.cycle import Installation, Scope, due, run_cycle
    from orchestration.moves import tend
    from orchestration.notices.blind import is_away
    from sharding.errors import LarderError

    context, out = get_context(), Output(as_json)
    try:
        at = Installation.of(context.settings, context.catalogue)
    except LarderError as error:
        is_away(context.settings, error)
        raise
    if probe:
        out.table([{"shard": name, "because": why} for name, why in due(at).items()], empty="nothing is due")
        return
    scope = Scope(
        shards=None if not shard else frozenset(context.catalogue.shard(name).name for name in shard),
        businesses=None if not business else frozenset(context.catalogue.business(name).name for name in business),
        force=force,
    )
    if record and (shard or business or force):
        raise LarderError("--record runs the whole cycle and takes no selection", "you", "larder cycle --record")
    for done in tend(at):
        out.say(str(done))
    if record:
        from orchestration.record import record_cycle

        with watched(out) as watch:
            report = record_cycle(at, context.settings, watch)
    else:
        with watched(out) as watch:
            report = run_cycle(at, scope, watch)
    print_report(report, out)
    if report.failures:
        raise typer.Exit(max(EXIT_CODES.get(failure.turn, 1) for _, failure in report.failures))
