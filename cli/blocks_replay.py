"""`larder blocks replay`: load blocks again from the store, as a new generation that publishes only differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.blocks_chosen import by_shard, chosen, wanted
from cli.context import Context, get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from sharding.model import LOADER

if TYPE_CHECKING:
    from collections.abc import Collection

    from ingestion.errors import LarderError


def replay(
    block: Annotated[list[str] | None, typer.Argument(help="Blocks' ids; or choose them by the options.")] = None,
    business: Annotated[str | None, typer.Option(help="All of this business.")] = None,
    source: Annotated[str | None, typer.Option(help="All of this source, as business/name.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only of this stream.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Windows that reach beyond this day or time.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Windows that begin before the end of this day.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, loaded, failed or quarantined.")] = None,
    build: Annotated[bool, typer.Option("--build/--no-build", help="Build what changed afterwards.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Load blocks again from the store, then build what that changed. No vendor is asked and no cursor moves."""
    from cli.load import loaded_rows
    from ingestion.registry import discover
    from ingestion.replay import replay as load_again

    context, out = get_context(), Output(as_json)
    picked = any(option is not None for option in (business, source, stream, from_, to, state))
    selection = wanted(context, business, source, stream, from_, to, state)[0] if picked else None
    rows: list[dict[str, Any]] = []
    errors: list[LarderError] = []
    changed: set[str] = set()
    for shard, manifests in by_shard(context, chosen(context, block or (), selection)):
        result = load_again(shard.as_role(LOADER).dsn, shard.schemas, manifests, context.store, discover())
        rows += loaded_rows(shard.name, result, context.catalogue.sources(shard=shard.name))
        errors += [failure.error for failure in result.failures]
        if any(result.changed.values()):
            changed.add(shard.name)
    built = build_shards(context, out, changed) if build and changed else []
    if as_json:
        out.document({"loaded": rows, "built": built})
    else:
        out.table(rows, "replay", "nothing", [*dict.fromkeys(name for row in rows for name in row)])
        out.say(
            "nothing changed: raw has it all"
            if not changed and not errors
            else f"{sum(row.get('changed', 0) for row in rows)} records are other than before"
        )
        say_built(out, built)
    if errors:
        out.fail(errors[0])
    if any(one["state"] == "failed" for one in built):
        raise typer.Exit(EXIT_CODES["us"])


def build_shards(context: Context, out: Output, shards: Collection[str]) -> list[dict[str, Any]]:
    """Build what is new on some shards; a row for each."""
    from cli.report_cycle import watched
    from orchestration.cycle import Installation, Scope, run_cycle

    with watched(out, extract=False) as watch:
        at = Installation.of(context.settings, context.catalogue)
        report = run_cycle(at, Scope(steps=("build",), shards=frozenset(shards)), watch)
    return [
        {
            "shard": one.shard,
            "state": one.state,
            "reason": one.reason,
            "models": {n.name: [n.inserted, n.deleted] for n in one.result.models if n.changed} if one.result else {},
        }
        for one in report.builds
    ]


def say_built(out: Output, built: list[dict[str, Any]]) -> None:
    """What the builds changed, for people."""
    for one in built:
        marts = {name: rows for name, rows in one["models"].items() if name.startswith(("dim_", "fct_", "sum_"))}
        said = ", ".join(f"{name} +{rows[0] or 0} −{rows[1] or 0}" for name, rows in marts.items())
        out.say(f"{one['shard']}: {one['state']}, {one['reason']}" + (f"; {said}" if said else ""))
