"""`larder verify`: every model against its own SELECT, and all data tests on all rows."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output


def verify(
    models: Annotated[
        list[str] | None, typer.Argument(help="Only these models, and no data tests.", metavar="[MODEL]…")
    ] = None,
    shard: Annotated[list[str] | None, typer.Option(help="Only this shard. May be repeated.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare each model with its own SELECT over everything, and run all data tests on all rows.

    Cycles compute and test only what changed; this is the nightly proof that nothing was missed.
    """
    from orchestration.cycle import Installation
    from orchestration.transform import target_of
    from orchestration.verify import verify as verified

    context, out = get_context(), Output(as_json)
    at = Installation.of(context.settings, context.catalogue)
    names = None if not shard else {context.catalogue.shard(name).name for name in shard}
    targets = [
        target_of(s) for s in at.catalogue.shards() if s.state != "retired" and (names is None or s.name in names)
    ]
    found = list(verified(at.transform, targets, models or (), tests=not models))
    for each in found:
        if each.skipped:
            out.say(f"{each.shard}: not compared: {each.skipped}")
            continue
        passed = sum(t.status == "pass" for t in each.tests)
        tests = f"; {passed} of {len(each.tests)} data tests passed" if each.tests else ""
        out.say(f"{each.shard}: {each.models - len(each.unequal)} of {each.models} models equal their SELECT{tests}")
        for test in each.failed:
            out.say(f"  {test.name}: {test.message}")
        if each.error:
            out.say(f"  {each.error}")
    rows = [
        {"shard": each.shard, "model": u.model, "too many": u.surplus, "missing": u.missing, "such as": u.example}
        for each in found
        for u in each.unequal
    ]
    out.table(rows, "Models that do not hold what their SELECT gives", empty="no difference")
    if not all(each.ok for each in found):
        raise typer.Exit(1)
