"""`larder blocks`: what was received from the vendors, block by block."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from cli import blocks_kept, blocks_replay, blocks_retention
from cli.blocks_chosen import block_id, chosen, found, wanted
from cli.context import get_context
from cli.output import JsonFlag, Output

app = typer.Typer(help="What was received from the vendors, block by block.", no_args_is_help=True)


@app.command("list")
def list_(
    business: Annotated[str | None, typer.Option(help="Only of this business.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source, as business/name.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only of this stream.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Windows that reach beyond this day or time.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Windows that begin before the end of this day.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, loaded, failed or quarantined.")] = None,
    error: Annotated[str | None, typer.Option(help="A part of the error that its load or upload ended with.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="The same as --state pending, failed ones too.")] = False,
    before: Annotated[str | None, typer.Option(help="Only blocks older than this one: the next page.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List blocks, newest first."""
    from itertools import islice

    from ingestion.index import connect
    from ingestion.listing import listed
    from ingestion.registry import discover

    context, out = get_context(), Output(as_json)
    asked, aside = wanted(context, business, source, stream, from_, to, state, error, before)
    labels = {one.id: one.label for one in context.catalogue.sources()}
    with closing(connect(context.catalogue.dsn)) as conn, closing(listed(conn, asked, discover())) as blocks:
        page = list(islice((b for b in blocks if not pending or b.state != "loaded"), limit + 1))
    rows: list[dict[str, Any]] = []
    for one in page[:limit]:
        manifest = one.manifest
        row = {
            "block": str(manifest.block_id),
            "source": labels.get(int(manifest.source_id), manifest.source_id),
            "stream": manifest.stream,
            "records": manifest.records,
            "bytes": manifest.bytes,
            "observed_at": manifest.observed_at,
            "window_from": manifest.window.start,
            "window_to": manifest.window.end,
            "state": one.state,
        }
        if aside:
            row["in quarantine"] = aside[manifest.block_id]
        if as_json or any(b.error for b in page):
            row |= {"error": one.error, "failed": one.attempts}
        if as_json or context.settings.block_remote:
            row |= {"copied_at": one.copied_at, "copy_error": one.copy_error}
        rows.append(row)
    out.table(rows, "blocks", "none; larder extract makes some")
    if len(page) > limit:
        out.say(f"there are older ones; next: --before {page[limit - 1].manifest.block_id}")


@app.command()
def show(
    block: Annotated[str, typer.Argument(help="The block's id.")],
    records: Annotated[int, typer.Option(help="Say of that many of its records what became of them.", min=0)] = 5,
    line: Annotated[list[int] | None, typer.Option(help="This record, by its line from 0. May be repeated.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Records of this natural key. May be repeated.")] = None,
    facts: Annotated[bool, typer.Option("--facts/--no-facts", help="Also the facts and summaries they are in.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Show a block: its manifest, its loads, and where its records went: raw version, facts, summaries."""
    from cli.blocks_shown import document, print_block

    context, out = get_context(), Output(as_json)
    manifest = found(context, block_id(block))
    shown = document(context, manifest, records, frozenset(line or ()), frozenset(key or ()), facts)
    if out.json:
        out.document(shown)
    else:
        print_block(out, shown)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A block's id.")],
    after: Annotated[str, typer.Argument(help="The id of another block of the same stream.")],
    limit: Annotated[int, typer.Option(help="Records to print; all are counted.", min=0)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Compare two blocks record by record. Exit code 5 where they differ."""
    from ingestion.difference import Summary, compare
    from ingestion.load import stream_of
    from ingestion.registry import discover
    from sharding.errors import LarderError

    context, out = get_context(), Output(as_json)
    first, second = found(context, block_id(before)), found(context, block_id(after))
    if (first.integration, first.stream) != (second.integration, second.stream):
        cause = f"one is of {first.integration}.{first.stream}, the other of {second.integration}.{second.stream}"
        raise LarderError(cause, "you", f"larder blocks list --stream {first.stream}")
    summary = Summary()
    rows: list[dict[str, Any]] = []
    for change in compare(context.store, first, second, stream_of(first, discover()), summary):
        if summary.added + summary.removed + summary.changed > limit:
            continue
        head = {"change": change.kind, "key": change.natural_key, "lines": list(change.ordinals)}
        fields = [{"field": f.path, "was": f.was, "became": f.became, "difference": f.delta} for f in change.fields]
        rows += [head | {"fields": fields}] if as_json else [head | one for one in fields or [{}]]
    counts = vars(summary)
    if as_json:
        out.document({**counts, "records": rows})
    else:
        columns = ["change", "key", "field", "was", "became", "difference"]
        out.table(rows, "differences", "none", columns)
        out.say(", ".join(f"{number} {what}" for what, number in counts.items()))
    if summary.added or summary.removed or summary.changed:
        raise typer.Exit(5)


@app.command()
def reindex(as_json: JsonFlag = False) -> None:
    """Rebuild the index of blocks, and missing cursors, from the manifests in the store."""
    from ingestion.reindex import rebuild_index

    context, out = get_context(), Output(as_json)
    added = rebuild_index(context.catalogue.dsn, context.store)
    if out.json:
        out.document({"added": added})
    else:
        out.say(f"{added} blocks added to the index")


for command in (blocks_replay.replay, blocks_kept.verify, blocks_kept.export, blocks_kept.upload):
    app.command()(command)
app.command("import")(blocks_kept.import_)
app.add_typer(blocks_retention.app, name="retention")

__all__ = ["app", "chosen"]
