"""`larder reimport`: read some days of a source from the vendor again, see what that changes, and change it."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import Context, get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from cli.times import moment

if TYPE_CHECKING:
    from ingestion.preview import Preview
    from ingestion.reimport import Asked
    from ingestion.source import SourceRef
    from orchestration.events import CycleReport
    from orchestration.reimport import Reimport, Running

_AMOUNTS = 3  # told of a day, those that differ most


def reimport(
    business: Annotated[str, typer.Option(help="Whose.")],
    source: Annotated[str, typer.Option(help="Name of the source.")],
    from_: Annotated[str, typer.Option("--from", help="First business day, or an ISO time.")],
    to: Annotated[str, typer.Option("--to", help="Last business day, or an ISO time.")],
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream, also one without windows. May be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Load and build now, not in the next cycle.")
    ] = True,
    patience: Annotated[float, typer.Option(help="Seconds of waiting and retrying that one request may cost.")] = 300,
    as_json: JsonFlag = False,
) -> None:
    """Read some days of a source again, show what that changes, and change it. The live cursor stays where it is.

    The vendor is asked in its own windows: where it filters by modification, for what was last modified in these days.
    """
    from orchestration.reimport import Reimport

    context, out = get_context(), Output(as_json)
    one = context.catalogue.source(f"{business}/{source}")
    work = Reimport(context.catalogue, context.store, context.clock, one, context.settings.home)
    asked = _asked(work, from_, to)
    with out.progress(f"read {one.label}", None) as bar:
        done: dict[tuple[int, str], int] = {}

        def progress(ref: SourceRef, name: str, records: int) -> None:
            bar.advance(records - done.get((ref.source_id, name), 0), name)
            done[(ref.source_id, name)] = records

        running = work.run(asked, stream, patience, progress)
        running.__enter__()
    try:
        told: dict[str, Any] = {"window": [asked.start, asked.end], **_plan(running)}
        if not as_json:
            _say_plan(out, running, asked)
        if dry_run or not running.preview.changes:
            if as_json:
                out.document(told)
            elif not running.preview.changes:
                out.say("nothing would change: the warehouse has it all")
            return
        if not yes and sys.stdin.isatty() and not as_json:
            typer.confirm("change it?", abort=True)
        adopted = running.adopt()
    finally:
        running.__exit__()
    if build:
        report = _cycle(context, out, one.shard)
        _end(context, out, told, report, len(adopted))
    elif as_json:
        out.document(told | {"pending": len(adopted)})
    else:
        out.say(f"{len(adopted)} blocks are pending; the next cycle loads them behind what is fresh; or: larder load")


def _asked(work: Reimport, from_: str, to: str) -> Asked:
    """Business days as the business counts them; instants as they are."""
    from ingestion.reimport import Asked

    try:
        return work.days(date.fromisoformat(from_), date.fromisoformat(to))
    except ValueError:
        start, end = moment(from_), moment(to, end=True, option="--to")
        return Asked(start, end, start.date(), (end - timedelta(microseconds=1)).date())


def _plan(running: Running) -> dict[str, Any]:
    found = running.preview
    return {
        "read": [
            {
                "stream": one.stream.name,
                "records": sum(m.records for m in one.manifests),
                "blocks": len(one.manifests),
                "windows": one.windows,
                "requests": one.requests,
                "tells what vanished": one.stream.complete,
            }
            for one in running.reread
        ],
        "days": [
            {"stream": name, "date": day, "new": found.days[name, day].new, "changed": found.days[name, day].changed,
             "vanished": found.days[name, day].vanished, "amounts": _amounts(found, name, day)}
            for name, day in sorted(found.days, key=lambda at: (at[0], at[1] or date.min))
        ],
        "records": [
            {"stream": s.stream, "key": s.natural_key, "change": s.kind,
             "fields": [{"field": f.path, "was": f.was, "becomes": f.became, "difference": f.delta} for f in s.fields]}
            for s in found.samples
        ],
        "unchanged": found.unchanged,
        "superseded": found.superseded,
        "quarantined": found.quarantined,
    }  # fmt: skip


def _amounts(found: Preview, stream: str, day: date | None) -> dict[str, Any]:
    """The amounts that differ, the shortest paths first: those are the totals."""
    amounts = {path: delta for path, delta in found.days[stream, day].amounts.items() if delta}
    return dict(sorted(amounts.items(), key=lambda pair: (pair[0].count("[]"), pair[0].count("."), pair[0])))


def _say_plan(out: Output, running: Running, asked: Asked) -> None:
    plan = _plan(running)
    out.table(plan["read"], f"read again: {asked.start:%Y-%m-%d %H:%M} to {asked.end:%Y-%m-%d %H:%M} UTC")
    days = [
        {**day, "amounts": ", ".join(f"{path} {delta:+f}" for path, delta in [*day["amounts"].items()][:_AMOUNTS])}
        for day in plan["days"]
    ]
    out.table(days, "what would change (amounts in the vendor's unit)", "nothing")
    rows = [
        {"stream": r["stream"], "key": r["key"], "change": r["change"], **field}
        for r in plan["records"]
        for field in r["fields"] or [{}]
    ]
    if rows:
        columns = ["stream", "key", "change", "field", "was", "becomes", "difference"]
        out.table(rows[:12], "the first of them", columns=columns)
    out.say(
        f"{running.preview.changes} records would change, {plan['unchanged']} are as they were,"
        f" {plan['superseded']} older than what is known, {plan['quarantined']} go to quarantine"
    )


def _cycle(context: Context, out: Output, shard: str) -> CycleReport:
    from cli.report_cycle import watched
    from orchestration.cycle import Installation, Scope, run_cycle

    with watched(out, extract=False) as watch:
        at = Installation.of(context.settings, context.catalogue)
        return run_cycle(at, Scope(steps=("load", "build"), shards=frozenset({shard})), watch)


def _end(context: Context, out: Output, told: dict[str, Any], report: CycleReport, adopted: int) -> None:
    from cli.report_cycle import print_report

    if out.json:
        out.document(told | {"adopted": adopted, "cycle": report.as_json()})
    else:
        print_report(report, out)
    if report.failures:
        raise typer.Exit(max(EXIT_CODES.get(failure.turn, 1) for _, failure in report.failures))
