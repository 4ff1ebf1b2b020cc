"""larder business: tenants and where they live."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(
    shard: Annotated[str | None, typer.Option(help="Only those of this shard.")] = None, json: JsonFlag = False
) -> None:
    """Businesses with their number, shard and placement epoch."""
    catalogue = get_context().catalogue
    sources = [source.business for source in catalogue.sources()]
    rows = [{**asdict(b), "sources": sources.count(b.id)} for b in catalogue.businesses(shard)]
    Output(json).table(rows, empty="no businesses; next: larder business add NAME --shard shard_1")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.")],
    shard: Annotated[str, typer.Option(help="The shard it will live on.")],
    display_name: Annotated[str, typer.Option(help="As reports show it; default: from its name.")] = "",
    currency: Annotated[str, typer.Option(help="ISO code that totals are reported in.")] = "USD",
    first_weekday: Annotated[int, typer.Option(min=1, max=7, help="Its week begins on: 1 = Monday … 7 = Sunday.")] = 1,
    number: Annotated[int | None, typer.Option(help="Its number, 0 … 524287; default: the next free one.")] = None,
    json: JsonFlag = False,
) -> None:
    """Place a new business on a shard."""
    shown = display_name or name.replace("_", " ").title()
    business = get_context().catalogue.add_business(name, shown, shard, first_weekday, currency.upper(), number)
    out = Output(json)
    if json:
        out.document(asdict(business))
    else:
        out.say(f"{shown} is business {business.id} on {business.shard}")
        out.say(f"next: larder source add {name} <integration>   (larder integration list)")
