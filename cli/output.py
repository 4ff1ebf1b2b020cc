"""What commands print: tables for people, JSON for programs, bars on a terminal and plain lines elsewhere."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol, TypeAlias

import typer

if TYPE_CHECKING:
    import ingestion.errors
    import sharding.errors

    KnownError: TypeAlias = ingestion.errors.LarderError | sharding.errors.LarderError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON; nothing else goes to standard output.")]

EXIT_CODES = {"us": 1, "config": 2, "you": 2, "credentials": 3, "vendor": 4, "data": 5}


class Progress(Protocol):
    """How far a long step is."""

    def advance(self, by: int = 1, note: str = "") -> None:
        """`by` more units are done; `note` says what the step is at."""


@dataclass(frozen=True)
class Output:
    """Where a command's results go. With `json` standard output holds one JSON document and notes go to stderr."""

    json: bool = False

    def table(
        self, rows: Sequence[Mapping[str, Any]], title: str = "", empty: str = "nothing", columns: Sequence[str] = ()
    ) -> None:
        """Rows as a table, or as a JSON array of objects. `columns` orders and selects what people see."""
        if self.json:
            self.document(list(rows))
        elif not rows:
            print(f"{title}: {empty}" if title else empty)
        else:
            _print_table(rows, title, list(columns or rows[0]))

    def document(self, value: Any) -> None:
        """A JSON document on standard output."""
        indent = 2 if sys.stdout.isatty() else None
        print(json.dumps(ids_as_text(value), default=plain, ensure_ascii=False, indent=indent))

    def say(self, line: str) -> None:
        """A line for people."""
        print(line, file=sys.stderr if self.json else sys.stdout, flush=True)

    def fail(self, error: KnownError) -> NoReturn:
        """End with an error whose row the results have: its exit code alone as JSON, else the error in full."""
        if self.json:
            raise typer.Exit(EXIT_CODES[error.turn])
        raise error

    @contextmanager
    def progress(self, title: str, total: int | None) -> Iterator[Progress]:
        """A bar on a terminal; elsewhere a line at every tenth of `total`, and at the end."""
        if sys.stderr.isatty() and not self.json:
            with _bar(title, total) as bar:
                yield bar
        else:
            lines = _Lines(title, total)
            yield lines
            lines.end()


class _Lines:
    """Progress as plain lines, for logs."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total, self.done, self.said = title, total, 0, 0

    def advance(self, by: int = 1, note: str = "") -> None:
        self.done += by
        tenth = self.done * 10 // self.total if self.total else 0
        if tenth > self.said and self.total and self.done < self.total:
            self.said = tenth
            print(f"{self.title}: {self.done:,} of {self.total:,} {note}".rstrip(), file=sys.stderr, flush=True)

    def end(self) -> None:
        print(f"{self.title}: {self.done:,} done", file=sys.stderr, flush=True)


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with RichProgress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as display:
        task = display.add_task(title, total=total, note="")

        class Bar:
            def advance(self, by: int = 1, note: str = "") -> None:
                display.update(task, advance=by, note=note)

        yield Bar()


def ids_as_text(value: Any) -> Any:
    """The same with each id as text, wherever it stands: 64 bits, of which JavaScript and jq keep 53.

    An id bears its business in the bits from 2^45 up, so that is how one is known; counts stay numbers, and the numbers
    of businesses. Those of the last business are small and negative: its first 2^44 are known.
    """
    if isinstance(value, int):
        from sharding.ids import NUMBER_BITS  # not at `larder --help`

        return value if -(1 << NUMBER_BITS - 1) < value < 1 << NUMBER_BITS else str(value)
    if isinstance(value, Mapping):
        return {key: ids_as_text(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [ids_as_text(each) for each in value]
    return value


def plain(value: Any) -> Any:
    """What JSON has no type for. Decimals become text: a JSON number would be read as a float."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    if isinstance(value, memoryview):
        return value.hex()
    return str(value)


def text(value: Any) -> str:
    """A value as people read it; None is empty."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=plain, ensure_ascii=False)
    return str(value)


def _print_table(rows: Sequence[Mapping[str, Any]], title: str, columns: list[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left", header_style="bold", show_edge=False)
    for column in columns:
        numbers = all(isinstance(row.get(column), (int, float, Decimal)) or row.get(column) is None for row in rows)
        table.add_column(escape(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(text(row.get(column))) for column in columns))
    console = Console()
    if not console.is_terminal:  # a pipe or a log has no width: fold nothing
        console = Console(width=max(80, console.measure(table, options=console.options.update(width=2000)).maximum))
    console.print(table)


def exit_with_error(error: Exception, as_json: bool) -> int:
    """Print an error and return the exit code. One that is not a LarderError keeps its traceback: it is our fault."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    cause, turn, next_command = _explained(error)
    if as_json:
        print(json.dumps({"error": {"cause": cause, "turn": turn, "next": next_command}}, ensure_ascii=False))
    else:
        typer.secho(cause, fg="red", err=True)  # no colour where standard error is no terminal
        typer.echo(f"  turn: {turn}\n  next: {next_command}", err=True)
    return EXIT_CODES[turn]


def _explained(error: Exception) -> tuple[str, str, str]:
    from ingestion.errors import LarderError as IngestionError
    from sharding.errors import LarderError as ShardingError

    if isinstance(error, (IngestionError, ShardingError)):
        return error.cause, error.turn, error.next_command
    auditor = sys.modules.get("reconcile.reader")
    if auditor is not None and isinstance(error, auditor.ReceiptError):
        return error.cause, error.turn, error.next_command
    psycopg2 = sys.modules.get("psycopg2")
    if psycopg2 is not None and isinstance(error, psycopg2.OperationalError):
        return f"a database does not answer: {str(error).strip()}", "config", "larder status"
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}", "us", "larder doctor"
