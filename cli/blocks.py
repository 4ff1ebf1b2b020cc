"""`larder blocks`: what was received from the vendors, block by block."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any
from uuid import UUID

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output

app = typer.Typer(help="What was received from the vendors, block by block.", no_args_is_help=True)


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option(help="Only of this source, as business/name.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only of this stream.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Only those not loaded yet.")] = False,
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List blocks, newest first."""
    import psycopg2.extras

    context, out = get_context(), Output(as_json)
    source_id = context.catalogue.source(source).id if source else None
    with (
        closing(psycopg2.connect(context.catalogue.dsn)) as conn,
        conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cur,
    ):
        cur.execute(
            "select b.block_id::text as block, u.name || '/' || s.name as source, b.stream, b.records, b.bytes,"
            " b.observed_at, b.manifest -> 'window' ->> 'start' as window_from,"
            " b.manifest -> 'window' ->> 'end' as window_to, b.loaded_at is not null as loaded"
            " from control.blocks as b join control.sources as s using (source_id)"
            " join control.businesses as u using (business)"
            " where (%(source)s is null or b.source_id = %(source)s) and (%(stream)s is null or b.stream = %(stream)s)"
            " and (not %(pending)s or b.loaded_at is null) order by b.block_id desc limit %(limit)s",
            {"source": source_id, "stream": stream, "pending": pending, "limit": limit},
        )
        rows = [dict(row) for row in cur.fetchall()]
    out.table(rows, "blocks", "none; larder extract makes some")


@app.command()
def show(
    block: Annotated[str, typer.Argument(help="The block's id.")],
    records: Annotated[int, typer.Option(help="Print that many of its records as well.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Show a block's manifest, after checking its file against the hashes."""
    from ingestion.blocks import BlockStore
    from ingestion.errors import ConfigError
    from ingestion.index import connect, find_block

    context, out = get_context(), Output(as_json)
    try:
        block_id = UUID(block)
    except ValueError as error:
        raise ConfigError(f"{block!r} is not a block id", next_command="larder blocks list") from error
    with closing(connect(context.catalogue.dsn)) as conn:
        manifest = find_block(conn, block_id)
    if manifest is None:
        raise ConfigError(f"there is no block {block_id}", next_command="larder blocks list")
    sample: list[str] = []
    for record in BlockStore(context.settings.block_store).read(manifest):
        if len(sample) < records:
            sample.append(record.decode("utf-8", "backslashreplace"))
    shown: dict[str, Any] = manifest.model_dump(mode="json")
    if out.json:
        out.document(shown | ({"sample": sample} if records else {}))
        return
    out.table([{"field": name, "value": value} for name, value in shown.items()], f"block {block_id}")
    out.say("its file has the hash of its manifest")
    for line in sample:
        out.say(line)


@app.command()
def reindex(as_json: JsonFlag = False) -> None:
    """Rebuild the index of blocks, and missing cursors, from the manifests in the store."""
    from ingestion.blocks import BlockStore
    from ingestion.reindex import rebuild_index

    context, out = get_context(), Output(as_json)
    added = rebuild_index(context.catalogue.dsn, BlockStore(context.settings.block_store))
    if out.json:
        out.document({"added": added})
    else:
        out.say(f"{added} blocks added to the index")
