"""`larder blocks verify | export | import | upload`: the files of blocks, here and elsewhere."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.blocks_chosen import block_id, chosen, found, wanted
from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output


def verify(
    block: Annotated[list[str] | None, typer.Argument(help="Blocks' ids.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every block, and whether store and index agree.")] = False,
    remote: Annotated[bool, typer.Option("--remote", help="The copies in the object store instead.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Read blocks and compare them with their hashes. A damaged byte is named. Exit code 5 where something is wrong."""
    from ingestion.index import connect
    from ingestion.integrity import Fault, check_block, check_index
    from ingestion.listing import Wanted, listed
    from sharding.errors import LarderError

    context, out = get_context(), Output(as_json)
    store = context.store.remote if remote else context.store
    if store is None:
        raise LarderError("no object store is set to copy blocks to", "you", "LARDER_BLOCK_REMOTE=s3://… larder …")
    if not block and not all_:
        raise LarderError("which blocks?", "you", "larder blocks verify --all")
    faults: list[Fault] = []
    with closing(connect(context.catalogue.dsn)) as conn:
        if all_:
            everything = [one for one in listed(conn, Wanted(), {}) if not remote or one.copied_at]
            manifests = [one.manifest for one in everything]
            faults += [] if remote else check_index(conn, store)
        else:
            manifests = [found(context, block_id(one)) for one in block or ()]
        copied = {one.manifest.block_id for one in everything if one.copied_at} if all_ else set()
    with out.progress("verify", len(manifests)) as bar:
        for manifest in manifests:
            fault = check_block(store, manifest)
            bar.advance(1)
            if fault and not (fault.problem == "file missing" and not remote and manifest.block_id in copied):
                faults.append(fault)
    rows = [
        {"block": one.block_id and str(one.block_id), "problem": one.problem, "detail": one.detail, "file": one.path}
        | ({"offset": one.offset} if as_json else {})
        for one in faults
    ]
    if as_json:
        out.document({"checked": len(manifests), "faults": rows})
    else:
        if rows:
            out.table(rows, f"wrong, of {len(manifests)} blocks")
        out.say(f"{len(manifests)} blocks checked, {len(rows) or 'nothing'} wrong")
    if rows:
        raise typer.Exit(EXIT_CODES["data"])


def export(
    to: Annotated[Path, typer.Option(help="The file to write.")],
    block: Annotated[list[str] | None, typer.Argument(help="Blocks' ids; or choose them by the options.")] = None,
    source: Annotated[str | None, typer.Option(help="All of this source, as business/name.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only of this stream.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Windows that reach beyond this day or time.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Windows that begin before the end of this day.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write blocks into one file, to take them to another machine. They hold what the vendor said, guests and all."""
    from ingestion import archive

    context, out = get_context(), Output(as_json)
    picked = any(option is not None for option in (source, stream, from_, until))
    selection = wanted(context, None, source, stream, from_, until)[0] if picked else None
    manifests = chosen(context, block or (), selection)
    seal = archive.write(to, context.store, manifests)
    told = {"file": str(to), "blocks": len(manifests), "bytes": to.stat().st_size, "seal": seal}
    if as_json:
        out.document(told)
    else:
        out.say(f"{len(manifests)} blocks, {told['bytes']:,} bytes: {to}\n  seal: {seal}")
        out.say(f"  there: larder blocks import {to.name} --seal {seal}")


def import_(
    file: Annotated[Path, typer.Argument(help="What larder blocks export wrote.")],
    seal: Annotated[
        str | None, typer.Option(help="The seal that the export told, by another way than the file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take blocks of another machine into this store; one that was tampered with is refused, and nothing taken.

    Blocks of sources that the catalogue knows are pending then, and the next load takes them.
    """
    from ingestion import archive
    from ingestion.index import connect, index_block

    context, out = get_context(), Output(as_json)
    known = {one.id for one in context.catalogue.sources()}
    contents, new = archive.unpack(file, context.store, seal)
    indexed = 0
    with closing(connect(context.catalogue.dsn)) as conn, conn, conn.cursor() as cur:
        for manifest in contents.manifests:
            if int(manifest.source_id) in known:
                indexed += index_block(cur, manifest)
    foreign = sum(int(manifest.source_id) not in known for manifest in contents.manifests)
    told = {"blocks": len(contents.manifests), "new": len(new), "pending": indexed, "of unknown sources": foreign}
    if as_json:
        out.document({**told, "seal": contents.seal, "documents": sorted(contents.documents)})
        return
    out.say(", ".join(f"{number} {what}" for what, number in told.items()))
    if foreign:
        out.say("blocks of unknown sources are in the store; larder reproduce <block> looks at one without a source")
    if indexed:
        out.say("next: larder load")


def upload(
    wait: Annotated[bool, typer.Option("--now", help="Also what failed a moment ago and waits to be tried.")] = False,
    release: Annotated[
        int | None,
        typer.Option(help="Then give up local files older than this many days whose copies are good.", min=0),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Only say how far the copies are behind.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Copy blocks to the object store and read the copies back. Cycles do this beside their work."""
    from ingestion import uploads
    from ingestion.index import connect

    context, out = get_context(), Output(as_json)
    told: dict[str, Any] = {}
    done = None
    if not status:
        with out.progress("upload", None) as bar:
            done = uploads.upload(
                context.catalogue.dsn, context.store, again=wait, progress=lambda m: bar.advance(1, m.data_path)
            )
        told |= {"uploaded": done.uploaded, "bytes": done.bytes, "failed": done.failed, "busy": done.busy}
    if release is not None:
        before = datetime.now(UTC) - timedelta(days=release)
        told["released"], told["released_bytes"] = uploads.release(context.catalogue.dsn, context.store, before)
    with closing(connect(context.catalogue.dsn)) as conn:
        behind = uploads.backlog(conn)
    told |= {"waiting": behind.waiting, "waiting_bytes": behind.bytes, "oldest": behind.oldest, "error": behind.error}
    if as_json:
        out.document(told)
    else:
        out.say(", ".join(f"{what.replace('_', ' ')}: {value}" for what, value in told.items() if value is not None))
    if done is not None and done.failed:
        raise typer.Exit(EXIT_CODES["us"])
