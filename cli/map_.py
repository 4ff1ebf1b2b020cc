"""larder map: which vendor's site, person, article or campaign is which of the business's own."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

import typer
from psycopg2.extensions import connection as Connection

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding import comparisons, maps
from sharding.errors import LarderError
from sharding.maps import Entity
from sharding.model import Shard
from sharding.periods import BEGINNING, END, Period, to_date, to_text

app = typer.Typer(no_args_is_help=True)

EntityArgument = Annotated[Entity, typer.Argument(help="A campaign is mapped to the location it advertises.")]
FromOption = Annotated[str | None, typer.Option("--from", help="First business date, YYYY-MM-DD; default: ever.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Business date it ends before; default: never.")]
ByOption = Annotated[str | None, typer.Option(help="Who decided it; default: you.")]


@app.command("list")
def list_(
    entity: EntityArgument,
    business: Annotated[str | None, typer.Option(help="Only of this business.")] = None,
    unmapped: Annotated[bool, typer.Option("--unmapped", help="Only what nobody and no rule has matched.")] = False,
    json: JsonFlag = False,
) -> None:
    """What each vendor's thing is mapped to, by which rule, decided by whom."""

    def found(connection: Connection, shard: Shard, owner: int) -> list[dict[str, Any]]:
        held = maps.list_map(connection, shard, entity, owner)
        return [asdict(row) for row in held if not unmapped or _alone(row)]

    rows = _of_businesses(business, found)
    Output(json).table(rows, empty=f"no {entity} seen yet; next: larder build")


@app.command("set")
def set_(
    entity: EntityArgument,
    thing: Annotated[str, typer.Argument(help="business/source:key of the vendor's thing, or its id.")],
    target: Annotated[str, typer.Argument(help="Name or id of the business's own; see --new.")],
    new: Annotated[bool, typer.Option("--new", help="Make the target, with that name.")] = False,
    valid_from: FromOption = None,
    valid_to: ToOption = None,
    by: ByOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what a vendor's thing is. The next build moves its numbers, also of the past, to where they belong."""
    context = get_context()
    owner, reference = _owner(thing)
    shard = context.router.shard_of(owner)
    start, end = _days(valid_from, valid_to)

    def write(connection: Connection) -> list[Period[maps.MapValue]]:
        with connection.cursor() as cursor:
            thing_id = maps.find_thing(cursor, shard, entity, owner, reference)
            find = maps.add_target if new else maps.find_target
            target_id = find(cursor, shard, entity, owner, target)
        return maps.set_map(connection, shard, entity, thing_id, target_id, by or getpass.getuser(), start, end)

    periods = context.router.run(owner, write)
    Output(json).table([_dated(period) for period in periods], f"{entity} {thing}")
    if not json:
        Output().say("next: larder build")


@app.command("settings")
def settings(
    business: Annotated[str | None, typer.Option(help="Only of this business.")] = None, json: JsonFlag = False
) -> None:
    """Time zone, day start and overtime rule of each location, by date."""
    rows = _of_businesses(business, maps.list_settings)
    Output(json).table(rows, empty="no locations seen yet; next: larder build")


@app.command("set-location")
def set_location(
    location: Annotated[str, typer.Argument(help="business/name of the location, or its id.")],
    timezone: Annotated[str | None, typer.Option(help="IANA name, such as America/New_York.")] = None,
    day_start: Annotated[str | None, typer.Option(help="When its business day begins, such as 04:00.")] = None,
    overtime_weekly_hours: Annotated[str | None, typer.Option(help="Hours a week before overtime.")] = None,
    overtime_multiplier: Annotated[str | None, typer.Option(help="Pay of an overtime hour, 1.5 = half more.")] = None,
    valid_from: FromOption = None,
    valid_to: ToOption = None,
    by: ByOption = None,
    json: JsonFlag = False,
) -> None:
    """Overrule what the vendor says of a location, from a business date on."""
    context = get_context()
    owner, reference = _owner(location)
    shard = context.router.shard_of(owner)
    given = {
        "timezone": timezone,
        "day_start": day_start,
        "overtime_weekly_hours": overtime_weekly_hours,
        "overtime_multiplier": overtime_multiplier,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise LarderError("nothing to change", "you", "larder map set-location --help")
    start, end = _days(valid_from, valid_to)

    def write(connection: Connection) -> list[Period[maps.Setting]]:
        with connection.cursor() as cursor:
            location_id = maps.find_target(cursor, shard, "location", owner, reference)
        return maps.set_setting(connection, shard, location_id, by or getpass.getuser(), changes, start, end)

    periods = context.router.run(owner, write)
    Output(json).table([_dated(period) for period in periods], location)
    if not json:
        Output().say("next: larder build")


@app.command("compare")
def compare(
    business: Annotated[str, typer.Argument(help="Its name.")],
    day: Annotated[str | None, typer.Option(help="The day, YYYY-MM-DD.")] = None,
    week: Annotated[str | None, typer.Option(help="Or the first day of the week.")] = None,
    with_: Annotated[
        str | None, typer.Option("--with", help="The earlier day, or first day of the earlier week; without, 364 days.")
    ] = None,
    because: Annotated[str, typer.Option(help="Why, such as Easter.")] = "",
    by: ByOption = None,
) -> None:
    """Compare a day or a week with another one than that of 364 days earlier: a holiday that moves, a 53rd week."""
    if (day is None) == (week is None):
        raise LarderError("say either --day or --week", "you", "larder map compare --help")
    period: comparisons.PeriodKind = "day" if day else "week"
    begins_on, compared_with = _day(day or week or ""), _day(with_) if with_ else None
    context = get_context()
    owner = context.catalogue.business(business)
    shard = context.router.shard_of(owner.id)

    def write(connection: Connection) -> None:
        if compared_with is None:
            comparisons.remove_comparison(connection, shard, owner.id, period, begins_on)
            return
        decision = comparisons.Comparison(period, begins_on, compared_with, because, by or getpass.getuser())
        comparisons.set_comparison(connection, shard, owner.id, decision)

    context.router.run(owner.id, write)
    Output().say(
        f"{owner.name}: {period} of {begins_on} is compared with {compared_with or 'that of 364 days earlier'}"
    )
    Output().say("next: larder build")


@app.command("comparisons")
def comparisons_(
    business: Annotated[str | None, typer.Option(help="Only of this business.")] = None, json: JsonFlag = False
) -> None:
    """Days and weeks that are compared with others than those of 364 days earlier."""

    def found(connection: Connection, shard: Shard, owner: int) -> list[dict[str, Any]]:
        return [asdict(decision) for decision in comparisons.list_comparisons(connection, shard, owner)]

    rows = _of_businesses(business, found)
    Output(json).table(rows, empty="everything is compared with what was 364 days earlier")


def _of_businesses(
    business: str | None, found: Callable[[Connection, Shard, int], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """What is found of one business, or of each, with its name before it."""
    context = get_context()
    rows: list[dict[str, Any]] = []
    for owner in [context.catalogue.business(business)] if business else context.catalogue.businesses():
        with context.router.pinned(owner.id) as connection:
            held = found(connection, context.router.shard_of(owner.id), owner.id)
        rows += [{"business": owner.name, **row} for row in held]
    return rows


def _alone(row: maps.MapRow) -> bool:
    return row.rule in (None, "itself")


def _owner(reference: str) -> tuple[int, str]:
    """The business of `business/…` or of an id, and the rest."""
    name, slash, rest = reference.partition("/")
    catalogue = get_context().catalogue
    if slash:
        return catalogue.business(name).id, rest
    if not reference.lstrip("-").isdigit():
        raise LarderError(f"{reference!r} is neither business/… nor an id", "you", "larder map --help")
    from sharding.ids import business_of

    return catalogue.business(business_of(int(reference))).id, reference


def _days(valid_from: str | None, valid_to: str | None) -> tuple[date, date]:
    try:
        return (to_date(valid_from) if valid_from else BEGINNING, to_date(valid_to) if valid_to else END)
    except ValueError as error:
        raise LarderError(f"{error}: dates are YYYY-MM-DD", "you", "larder map --help") from error


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise LarderError(f"{text!r} is not a date: YYYY-MM-DD", "you", "larder map compare --help") from error


def _dated(period: Period[Any]) -> dict[str, Any]:
    return {"valid_from": to_text(period.start), "valid_to": to_text(period.end), **vars(period.value)}
