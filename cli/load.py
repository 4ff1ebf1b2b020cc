"""`larder load`: pending blocks into the shards' raw schemas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.model import LOADER

if TYPE_CHECKING:
    from ingestion.outcome import LoadResult
    from sharding.model import Source

_COUNTS = ("records", "versions", "unchanged", "superseded", "quarantined", "tombstones")


def load(
    business: Annotated[str | None, typer.Option(help="Only blocks of this business.")] = None,
    shard: Annotated[str | None, typer.Option(help="Only blocks for this shard.")] = None,
    source: Annotated[str | None, typer.Option(help="Only blocks of this source, as business/name.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Load pending blocks. What fails of one block, business or shard stops no other."""
    from ingestion.errors import LarderError
    from ingestion.pending import load_pending
    from ingestion.registry import discover
    from sharding.errors import LarderError as ShardingError
    from sharding.migrate import require_usable

    context, out = get_context(), Output(as_json)
    catalogue = context.catalogue
    chosen = [catalogue.source(source)] if source else catalogue.sources(business=business, shard=shard)
    store, specs = context.store, discover()
    rows: list[dict[str, Any]] = []
    errors: list[LarderError | ShardingError] = []
    for target in sorted({one.shard for one in chosen}):
        mine = [one for one in chosen if one.shard == target]
        with out.progress(f"load {target}", None) as bar:
            done = 0

            def progress(read: int, total: int, note: str = target) -> None:
                nonlocal done
                bar.advance(read - done, f"{note}, {total:,} pending")
                done = read

            at = catalogue.shard(target).as_role(LOADER)
            try:
                require_usable(at)
                result = load_pending(
                    catalogue.dsn, at.dsn, at.schemas, [one.id for one in mine], store, specs, progress
                )
            except (LarderError, ShardingError) as error:
                errors.append(error)
                rows.append({"shard": target, "error": error.cause, "turn": error.turn, "next": error.next_command})
                continue
        rows += loaded_rows(target, result, mine)
        errors += [failure.error for failure in result.failures]
    columns = ["shard", "source", "stream", "blocks", *_COUNTS, "changed"]
    out.table(rows, "load", "nothing is pending", [*columns, "error", "next"] if errors else columns)
    set_aside = sum(row.get("quarantined", 0) for row in rows)
    if set_aside:
        out.say(f"{set_aside} records could not be loaded and are in quarantine; next: larder quarantine list")
    if errors:
        out.fail(errors[0])


def loaded_rows(shard: str, result: LoadResult, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """One row a source and stream, then one a failure."""
    labels = {one.id: one.label for one in sources}
    names = {one.business: one.business_name for one in sources}
    rows: list[dict[str, Any]] = []
    for source_id, stream in sorted({(block.source_id, block.stream) for block in result.blocks}):
        blocks = [block for block in result.blocks if (block.source_id, block.stream) == (source_id, stream)]
        rows.append(
            {"shard": shard, "source": labels[source_id], "stream": stream, "blocks": len(blocks)}
            | {name: sum(getattr(block, name) for block in blocks) for name in _COUNTS}
            | {"changed": result.changed.get((source_id, stream), 0)}
        )
    for failure in result.failures:
        rows.append(
            {
                "shard": shard,
                "source": names.get(failure.business, str(failure.business)),
                "blocks": len(failure.block_ids),
                "error": failure.error.cause,
                "turn": failure.error.turn,
                "next": failure.error.next_command,
            }
        )
    return rows
