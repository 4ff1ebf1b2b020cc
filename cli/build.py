"""`larder build`: run the models on the shards."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output


def build(
    shard: Annotated[list[str] | None, typer.Option(help="Only this shard. May be repeated.")] = None,
    select: Annotated[
        list[str] | None, typer.Option("--select", "-s", help="dbt selector, or python:<model>. May be repeated.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="dbt selector to leave out. May be repeated.")] = None,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Compute everything anew.")] = False,
    tests: Annotated[bool, typer.Option("--tests/--no-tests", help="Run the data tests too.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Also shards where nothing is new.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the models on the shards where something is new. A selection is built whether or not anything is."""
    from cli.report_cycle import print_report, watched
    from orchestration.cycle import Installation, Scope, run_cycle
    from orchestration.transform import Choice

    context, out = get_context(), Output(as_json)
    chosen = select or []
    choice = Choice(
        select=tuple(s for s in chosen if not s.startswith("python:")),
        exclude=tuple(exclude or ()),
        python=tuple(s.removeprefix("python:") for s in chosen if s.startswith("python:")),
        full_refresh=full_refresh,
        tests=tests,
    )
    names = None if not shard else frozenset(context.catalogue.shard(name).name for name in shard)
    at = Installation.of(context.settings, context.catalogue)
    with watched(out, extract=False) as watch:
        report = run_cycle(at, Scope(steps=("build",), shards=names, force=force, choice=choice), watch)
    print_report(report, out)
    if report.failures:
        raise typer.Exit(max(EXIT_CODES.get(failure.turn, 1) for _, failure in report.failures))
