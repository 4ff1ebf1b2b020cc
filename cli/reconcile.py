"""larder reconcile: blocks, raw, facts and summaries beside each other, to the cent."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from reconcile.run import Reconciliation, SourceResult, run
from reconcile.told import differences
from sharding.model import INSPECTOR


def reconcile(
    business: Annotated[str | None, typer.Option(help="One business; default: all.")] = None,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Show one business date.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Compare what the receipts add up to with raw, facts and summaries. Exit code 5 where anything differs."""
    out = Output(json)
    results = all_businesses(business)
    if json:
        out.document([as_dict(r, day.date() if day else None) for r in results])
    else:
        for result in results:
            show(result, out, day.date() if day else None)
    if not all(r.equal for r in results):
        raise typer.Exit(EXIT_CODES["data"])


def all_businesses(business: str | None = None) -> list[Reconciliation]:
    """Reconcile one business, or every one that has a source."""
    context = get_context()
    catalogue, settings = context.catalogue, context.settings
    chosen = [catalogue.business(business)] if business else catalogue.businesses()
    results = []
    for one in chosen:
        sources = catalogue.sources(business=one.id)
        if sources:
            shard = catalogue.shard(one.shard).as_role(INSPECTOR)
            results.append(run(one.name, sources, shard, settings.block_store, context.clock(), settings.block_remote))
    return results


def show(result: Reconciliation, out: Output, day: date | None = None) -> None:
    """The result for people: a line a source, then every difference."""
    rows: list[dict[str, Any]] = [
        {
            "source": f"{result.business}/{s.source}",
            "blocks": s.blocks,
            "records": s.records,
            "keys": s.keys,
            "quarantined": s.quarantined,
            "amounts compared": s.cells,
            "result": _verdict(s),
        }
        for s in result.sources
    ]
    out.table(rows, f"receipts of {result.business}: blocks = raw = facts")
    for line in differences(result, day):
        out.say(f"  {line}")
    if result.equal:
        out.say(f"{result.business}: summaries equal the receipts; total collected = payments − refunds on every day")
    else:
        out.say(f"next: larder reconcile --business {result.business} --json; larder quarantine list")
    if day:
        shown = [
            {"source": s.source, "measure": cell.measure, "currency": cell.currency, "amount": amount}
            for s in result.sources
            for cell, amount in sorted(s.sums.items())
            if cell.business_date == day
        ]
        out.table(shown, f"receipts of {day}")


def _verdict(source: SourceResult) -> str:
    if source.damage:
        return "not readable"
    count = len(source.raw) + len(source.ledger) + len(source.differences) + len(source.identity)
    return "equal to the cent" if source.equal else f"{count} difference{'s' if count > 1 else ''}"


def as_dict(result: Reconciliation, day: date | None = None) -> dict[str, Any]:
    """The result for programs."""
    return {
        "business": result.business,
        "equal": result.equal,
        "sources": [
            {
                "source": s.source,
                "equal": s.equal,
                "blocks": s.blocks,
                "records": s.records,
                "keys": s.keys,
                "quarantined": s.quarantined,
                "amounts": s.cells,
            }
            for s in result.sources
        ],
        "differences": differences(result, day),
    }
