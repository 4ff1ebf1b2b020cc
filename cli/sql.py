"""larder sql: a query on one shard, on some or on all of them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import Output, exit_with_error, text
from sharding.errors import LarderError
from sharding.query import Result, read_only
from sharding.router import Outcome, fan_out


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def sql(
    query: Annotated[str, typer.Argument(help="One SQL query; `-` reads it from standard input.")],
    shard: Annotated[
        list[str] | None, typer.Option(help="Only this shard, or these: may be repeated. Default: all, as --all.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every shard; rows have a column `shard`.")] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="How rows are printed.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds before a shard's query is ended; 0: never.")] = 60,
    limit: Annotated[int, typer.Option(min=0, help="Rows of each shard at most; 0: all.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Shards that are asked at once.")] = 8,
) -> None:
    """Run a query, read-only, on every shard or on some, side by side.

    Where some shards fail, the rows of the others are printed, the failures told on standard error, and the exit code
    is the highest of theirs. JSON gives ids and numerics as text, so that no reader makes floats of them. Schemas are
    raw_<vendor>, raw, keys, staging, intermediate, marts and bi; a shard with a namespace wants {marts}.dim_location.
    """
    if all_ and shard:
        raise LarderError("--all is every shard, --shard some of them", "you", "larder sql --help")
    catalogue = get_context().catalogue
    shards = [catalogue.shard(name) for name in shard] if shard else catalogue.shards()
    statement = sys.stdin.read() if query == "-" else query
    outcomes = fan_out(lambda one: read_only(one, statement, timeout, limit), shards, workers)
    results, failures = _merged(outcomes)
    if not results and failures:
        _tell(failures, len(outcomes))
        raise failures[0][1]
    alone = shard is not None and len(shard) == 1
    columns = [*(() if alone else ("shard",)), *(results[0][1].columns if results else ())]
    rows = [[*(() if alone else (name,)), *row] for name, result in results for row in result.rows]
    form = Format.JSON if as_json else form
    if form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([text(value) for value in row] for row in rows)
    elif results:
        Output(form is Format.JSON).table([dict(zip(columns, row, strict=True)) for row in rows], empty="no rows")
    for name, result in results:
        if result.cut:
            typer.echo(f"{name}: more than {limit} rows, the others are left out (--limit)", err=True)
    codes = [exit_with_error(error, as_json=False) for _, error in failures]
    _tell(failures, len(outcomes))
    if codes:
        raise typer.Exit(max(codes))


def _merged(
    outcomes: Sequence[Outcome[Result]],
) -> tuple[list[tuple[str, Result]], list[tuple[str, Exception]]]:
    """Results by shard, all with the columns of the first, and what the other shards ended with."""
    results: list[tuple[str, Result]] = []
    failures: list[tuple[str, Exception]] = []
    for outcome in outcomes:
        name = outcome.shard.name
        if outcome.value is None:
            assert outcome.error is not None
            failures.append((name, outcome.error))
        elif results and outcome.value.columns != results[0][1].columns:
            other, columns = results[0][0], ", ".join(outcome.value.columns)
            cause = f"{name} gives other columns than {other}: {columns}"
            failures.append((name, LarderError(cause, "you", f"larder sql --shard {name} …")))
        else:
            results.append((name, outcome.value))
    return results, failures


def _tell(failures: Sequence[tuple[str, Exception]], asked: int) -> None:
    if failures and asked > 1:
        names = ", ".join(name for name, _ in failures)
        typer.echo(f"{len(failures)} of {asked} shards gave no rows: {names}", err=True)
