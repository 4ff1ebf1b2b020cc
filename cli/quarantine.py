"""`larder quarantine`: records that could not be loaded."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.model import LOADER

if TYPE_CHECKING:
    from uuid import UUID

    from ingestion.blocks import Manifest
    from sharding.model import Shard

app = typer.Typer(help="Records that could not be loaded.", no_args_is_help=True)
Ids = Annotated[
    list[int], typer.Argument(help="Ids, as `larder quarantine list` shows them. Put -- before negative ones.")
]


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option(help="Only of this source, as business/name.")] = None,
    shard: Annotated[str | None, typer.Option(help="Only of this shard.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those loaded after all, overtaken or discarded.")] = False,
    limit: Annotated[int, typer.Option(help="How many a shard, newest first.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List records that wait for a decision, with the reason why they could not be loaded."""
    from ingestion.quarantine import listed

    catalogue = get_context().catalogue
    chosen = [catalogue.source(source)] if source else catalogue.sources(shard=shard)
    labels = {one.id: one.label for one in chosen}
    rows: list[dict[str, Any]] = []
    for name in sorted({one.shard for one in chosen}):
        at = catalogue.shard(name).as_role(LOADER)
        found = listed(at.dsn, at.schemas, None if every else "open", list(labels), limit)
        rows += [
            {"id": row.pop("quarantine_id"), "source": labels[row.pop("source_id")], **row, "shard": name}
            for row in found
        ]
    columns = ["id", "source", "stream", "natural_key", "reason", "detail", "state", "observed_at"]
    Output(as_json).table(rows, "quarantine", "empty", columns)


@app.command()
def show(
    record: Annotated[int, typer.Argument(help="The record's id. Put -- before a negative one.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one record as it was received, and what became of it."""
    from ingestion.quarantine import shown

    at, out = get_context().router.for_id(record), Output(as_json)
    row = shown(at.dsn, at.schemas, record)
    if as_json:
        out.document(row)
    else:
        out.table([{"field": name, "value": value} for name, value in row.items()], f"record {record}")


@app.command()
def retry(
    records: Annotated[
        list[int] | None, typer.Argument(help="Ids; default: all that are open. -- before negative ones.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source, as business/name.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check records again with today's integration and code, and load those that pass."""
    from ingestion import index, quarantine
    from ingestion.registry import discover

    context, out = get_context(), Output(as_json)
    catalogue = context.catalogue
    chosen = [catalogue.source(source)] if source else catalogue.sources()
    source_ids = [one.id for one in chosen]
    rows: list[dict[str, Any]] = []
    failures = []
    with closing(index.connect(catalogue.dsn)) as control:

        def find(block_id: UUID) -> Manifest | None:
            return index.find_block(control, block_id)

        for name in sorted({one.shard for one in chosen}):
            at = catalogue.shard(name).as_role(LOADER)
            open_ids = {
                row["quarantine_id"] for row in quarantine.listed(at.dsn, at.schemas, "open", source_ids, 1_000_000)
            }
            ids = sorted(open_ids if not records else open_ids & set(records))
            if not ids:
                continue
            result = quarantine.retry(at.dsn, at.schemas, ids, find, context.store, discover())
            tried, still = result.total("records"), result.total("quarantined")
            rows.append({"shard": name, "tried": tried, "loaded": tried - still, "still in quarantine": still})
            failures += result.failures
    out.table(rows, "retry", "no open records")
    if failures:
        raise failures[0].error


@app.command()
def discard(
    records: Ids,
    reason: Annotated[str, typer.Option(help="Why they are given up; it is kept with them.")],
    as_json: JsonFlag = False,
) -> None:
    """Give records up for good. They stay to be looked at, and in the accounts as discarded."""
    from ingestion import quarantine
    from sharding.ids import business_of

    router, out = get_context().router, Output(as_json)
    by_business: dict[int, list[int]] = defaultdict(list)
    for record in records:
        by_business[business_of(record)].append(record)
    given_up = 0
    for business, ids in by_business.items():
        at: Shard = router.shard_of(business).as_role(LOADER)
        given_up += quarantine.discard(at.dsn, at.schemas, business, ids, reason)
    if as_json:
        out.document({"discarded": given_up, "asked": len(records)})
    else:
        out.say(f"{given_up} of {len(records)} records discarded")
