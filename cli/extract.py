"""`larder extract`: read what is due from the vendors into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output

if TYPE_CHECKING:
    from ingestion.extract import StreamResult
    from ingestion.source import SourceRef
    from sharding.model import Source


def extract(
    source: Annotated[list[str] | None, typer.Option(help="A source, as business/name. May be repeated.")] = None,
    business: Annotated[str | None, typer.Option(help="All sources of a business.")] = None,
    integration: Annotated[str | None, typer.Option(help="All sources of an integration.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream. May be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what is not due yet.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds of waiting and retrying that one request may cost.")] = 300,
    workers: Annotated[int, typer.Option(help="Sources read side by side.")] = 4,
    as_json: JsonFlag = False,
) -> None:
    """Read what is due from the vendors into blocks. The failure of one source stops no other."""
    from ingestion.extract import Options, extract_all, worst
    from orchestration.sources import source_ref
    from sharding.errors import LarderError

    context, out = get_context(), Output(as_json)
    chosen = (
        [context.catalogue.source(name) for name in source]
        if source
        else [
            one
            for one in context.catalogue.sources(business=business, integration=integration)
            if one.state == "active"
        ]
    )
    refs: list[SourceRef] = []
    failed: list[tuple[Source, LarderError]] = []
    for one in chosen:
        try:
            refs.append(source_ref(context.catalogue, one))
        except LarderError as error:
            failed.append((one, error))
    with out.progress("extract", None) as bar:
        done: dict[tuple[int, str], int] = {}

        def progress(ref: SourceRef, name: str, records: int) -> None:
            bar.advance(records - done.get((ref.source_id, name), 0), f"{ref.label} {name}")
            done[(ref.source_id, name)] = records

        # A source that is named is somebody's own try: also one that is backing off.
        heed = not force and not source
        options = Options(frozenset(stream) if stream else None, force, heed=heed, patience=patience, progress=progress)
        results: list[StreamResult] = extract_all(
            refs,
            context.store,
            context.catalogue.dsn,
            context.clock,
            options,
            workers=workers,
        )
    rows = [_row(result) for result in results]
    rows += [
        {"source": one.label, "outcome": "failed", "error": error.cause, "turn": error.turn, "next": error.next_command}
        for one, error in failed
    ]
    columns = ["source", "stream", "outcome", "records", "blocks", "requests", "retries", "seconds", "error", "next"]
    if not any("error" in row for row in rows):
        columns = columns[:-2]
    out.table(rows, "extract", "no sources", columns)
    problem = worst(results) or (failed[0][1] if failed else None)
    if problem is not None:
        out.fail(problem)


def _row(result: StreamResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        "source": result.source.label,
        "stream": result.stream,
        "outcome": result.outcome,
        "records": result.records,
        "blocks": len(result.blocks),
        "requests": result.requests,
        "retries": result.retries,
        "seconds": round(result.seconds, 2),
    }
    if result.error is not None:
        row |= {"error": result.error.cause, "turn": result.error.turn, "next": result.error.next_command}
    return row
