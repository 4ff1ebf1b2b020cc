"""How a cycle is shown: what came, what changed and where each change stopped, what failed, what it cost."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cli.output import Output
from ingestion.source import SourceRef
from orchestration.cycle import Watch
from orchestration.events import CycleReport
from orchestration.results import NodeResult

LAYERS = ("dim_", "fct_", "sum_", "forecast_")


@contextmanager
def watched(out: Output, extract: bool = True) -> Iterator[Watch]:
    """Callbacks that show how far a cycle is: counters on a terminal, a line for each finished part elsewhere."""
    if not sys.stderr.isatty() or out.json:
        yield Watch()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}")
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as display:
        tasks: dict[str, Any] = {}

        def task(title: str) -> Any:
            if title not in tasks:
                tasks[title] = display.add_task(title, total=None)
            return tasks[title]

        def extracting(source: SourceRef, stream: str, records: int) -> None:
            display.update(task(f"extract {source.label} {stream}"), completed=records)

        def building(shard: str, node: str, status: str) -> None:
            display.advance(task(f"build {shard}"))

        yield Watch(extracting if extract else None, building)


def print_report(report: CycleReport, out: Output) -> None:
    """Print the report: a table a step, then failures and costs. With --json one document."""
    if out.json:
        out.document(report.as_json())
        return
    if report.idle:
        out.say("Nothing new: no stream was due or gave a block, no shard has anything to build.")
    else:
        out.table(_streams(report), "Extract", empty="no stream was due")
        out.table(_loads(report), "Load", empty="no block was pending")
        _models(report, out)
    for who, failure in report.failures:
        out.say(f"{who}: {failure.cause}\n  turn: {failure.turn}\n  next: {failure.next_command}")
    if not report.idle:
        costs = [{"step": c.step, "wall s": c.wall_seconds, "CPU s": c.cpu_seconds} for c in report.costs]
        out.table(costs, "Cost (CPU without the database servers')")


def _streams(report: CycleReport) -> list[dict[str, Any]]:
    return [
        {"business": e.business, "source": e.source.split("/")[-1], "stream": e.stream, "result": e.outcome,
         "blocks": len(e.blocks), "records": e.records, "requests": e.requests, "retries": e.retries, "s": e.seconds}
        for e in report.extracted
    ]  # fmt: skip


def _loads(report: CycleReport) -> list[dict[str, Any]]:
    return [
        {"business": e.business, "source": e.source.split("/")[-1], "stream": e.stream, "blocks": len(e.blocks),
         "records": e.records, "versions": e.versions, "unchanged": e.unchanged, "superseded": e.superseded,
         "quarantined": e.quarantined, "gone": e.tombstones}
        for e in report.loaded
        if not e.failure
    ]  # fmt: skip


def _models(report: CycleReport, out: Output) -> None:
    """A shard a column: rows in and out of each model of the marts."""
    for build in report.builds:
        if build.result is None:
            out.say(f"{build.shard}: {build.state}, {build.reason}")
            continue
        tests = build.result.tests
        passed = sum(t.status == "pass" for t in tests)
        changed = sum(1 for n in build.result.models if n.changed)
        out.say(
            f"{build.shard}: {build.state} because {build.reason}; {changed} models changed,"
            f" {passed} of {len(tests)} tests passed, {build.wall_seconds:.1f} s"
        )
    rows: dict[str, dict[str, Any]] = defaultdict(dict)
    built = [b for b in report.builds if b.result is not None]
    for build in built:
        for node in build.result.models if build.result else ():
            if node.name.startswith(LAYERS) and node.kind == "model" and not node.skipped:
                rows[node.name].update({"model": node.name, build.shard: _change(node)})
    columns = ["model", *(b.shard for b in built)]
    if rows:
        out.table(list(rows.values()), "Models", columns=columns)


def _change(node: NodeResult) -> str:
    if node.changed is None:
        return node.status
    if node.changed == 0:
        return "unchanged: the change stopped here"
    return f"+{node.inserted or 0:,} −{node.deleted or 0:,}"
