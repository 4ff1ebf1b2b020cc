"""larder sql: a query on one shard or on all of them."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import Output, exit_with_error, text
from sharding.query import read_only
from sharding.router import fan_out


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def sql(
    query: Annotated[str, typer.Argument(help="One SQL query; `-` reads it from standard input.")],
    shard: Annotated[str | None, typer.Option(help="Only this shard; default: all, with a column `shard`.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How rows are printed.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds before a query is ended; 0: never.")] = 60,
) -> None:
    """Run a query, read-only, on every shard or on one.

    Schemas are raw_<vendor>, raw, keys, staging, intermediate, marts and bi; where a shard has a namespace, write
    {marts}.dim_location. JSON gives numerics as text, so that no reader makes floats of them.
    """
    catalogue = get_context().catalogue
    shards = [catalogue.shard(shard)] if shard else catalogue.shards()
    statement = sys.stdin.read() if query == "-" else query
    outcomes = fan_out(lambda one: read_only(one, statement, timeout), shards)
    results = [(outcome.shard.name, outcome.value) for outcome in outcomes if outcome.value is not None]
    columns = [*(() if shard else ("shard",)), *(results[0][1].columns if results else ())]
    rows = [[*(() if shard else (name,)), *row] for name, result in results for row in result.rows]
    form = Format.JSON if as_json else form
    if form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([text(value) for value in row] for row in rows)
    elif results:
        Output(form is Format.JSON).table([dict(zip(columns, row, strict=True)) for row in rows], empty="no rows")
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(failures) == len(outcomes) and failures:
        raise failures[0]
    for failure in failures:  # some shards answered: print their rows, and end with the code of the first failure
        code = exit_with_error(failure, as_json=False)
        if failure is failures[-1]:
            raise typer.Exit(code)
