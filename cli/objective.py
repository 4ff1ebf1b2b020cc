"""larder objective: how old a source's data may be."""

from __future__ import annotations

import getpass
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

app = typer.Typer(no_args_is_help=True)

Kind = Annotated[str | None, typer.Option(help="Only integrations of this kind: pos, labour, marketing or any.")]
Business = Annotated[str | None, typer.Option(help="Only this business.")]
Source = Annotated[str | None, typer.Option(help="Only this source, as business/name.")]


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """What was declared, the most general first, after the defaults by kind."""
    from ingestion import index, objectives

    with closing(index.connect(get_context().catalogue.dsn)) as conn:
        found = objectives.declared(conn)
    rows: list[dict[str, Any]] = [
        {"kind": kind, "business": None, "source": None, "within": within, "set_by": "default", "set_at": None}
        for kind, within in objectives.DEFAULTS.items()
    ]
    Output(json).table([*rows, *({**asdict(one)} for one in found)])


@app.command("set")
def set_(
    within: Annotated[str, typer.Argument(help="How old data may be: 15m, 2h, 1d.")],
    kind: Kind = None,
    business: Business = None,
    source: Source = None,
    by: Annotated[str | None, typer.Option(help="Who wants it; default: the user of this machine.")] = None,
) -> None:
    """Declare how old data may be. The most special counts: of a source, a business and kind, a business, a kind."""
    from ingestion import index, objectives

    scope = _scope(kind, business, source)
    with closing(index.connect(get_context().catalogue.dsn)) as conn:
        objectives.declare(conn, _duration(within), by or getpass.getuser(), **scope)
    Output().say(f"{_whose(kind, business, source)}: data may be {within} old; next: larder status")


@app.command()
def clear(kind: Kind = None, business: Business = None, source: Source = None) -> None:
    """Take an objective back: the next more general one counts again."""
    from ingestion import index, objectives

    scope = _scope(kind, business, source)
    with closing(index.connect(get_context().catalogue.dsn)) as conn:
        there = objectives.withdraw(conn, **scope)
    said = "its objective was taken back" if there else "it had none of its own"
    Output().say(f"{_whose(kind, business, source)}: {said}")


def _scope(kind: str | None, business: str | None, source: str | None) -> dict[str, Any]:
    """What an objective is of, as the control database has it."""
    from ingestion.objectives import DEFAULTS

    if source is not None and (kind is not None or business is not None):
        raise LarderError("a source has one kind and one business: name it alone", "you", "larder objective --help")
    if kind is not None and kind not in DEFAULTS:
        raise LarderError(f"there is no kind {kind!r}; known: {', '.join(DEFAULTS)}", "you", "larder objective list")
    catalogue = get_context().catalogue
    return {
        "kind": kind,
        "business": None if business is None else catalogue.business(business).id,
        "source_id": None if source is None else catalogue.source(source).id,
    }


def _duration(text: str) -> timedelta:
    from ingestion.spec import parse_duration

    try:
        within = parse_duration(text)
    except ValueError as error:
        raise LarderError(str(error), "you", "larder objective set --help") from error
    if not within:
        raise LarderError("data are never of this very moment: at least a minute", "you", "larder objective set 15m")
    return within


def _whose(kind: str | None, business: str | None, source: str | None) -> str:
    parts = [source or business or "all businesses", f"kind {kind}" if kind else ""]
    return ", ".join(part for part in parts if part)
