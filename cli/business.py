"""larder business: tenants and where they live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

if TYPE_CHECKING:
    from sharding.moving.outlook import Plan

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


@app.command()
def place(
    name: Annotated[str, typer.Argument(help="The business.")],
    shard: Annotated[str, typer.Option(help="Where it shall live.")],
    json: JsonFlag = False,
) -> None:
    """Let a business live on another shard before it has data. One with data is moved."""
    from sharding.placing import place

    out = Output(json)
    business = place(get_context().catalogue, name, shard)
    if json:
        out.document(asdict(business))
    else:
        out.say(f"{business.display_name} lives on {business.shard}")


@app.command()
def isolate(
    name: Annotated[str, typer.Argument(help="The business.")],
    schema: Annotated[bool, typer.Option("--schema", help="Schemas of its own in the database where it is.")] = False,
    database: Annotated[
        bool, typer.Option("--database", help="A database of its own beside it (the default).")
    ] = False,
    instance: Annotated[
        str | None, typer.Option(help="A database of its own on this instance; a new name makes an embedded one.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Make a shard for one business alone and move it there while it trades. Killed, it goes on when run again."""
    from orchestration.cycle import Installation
    from orchestration.moves import mover
    from sharding.placing import own_shard

    if schema + database + (instance is not None) > 1:
        raise typer.BadParameter("only one of --schema, --database and --instance")
    context, out = get_context(), Output(json)
    kind: Literal["schema", "database", "instance"] = "schema" if schema else "instance" if instance else "database"
    own = own_shard(context.catalogue, context.settings, name, kind, instance, out.say)
    moved = mover(Installation.of(context.settings, context.catalogue), name, out.say).move(own.name)
    if json:
        out.document(asdict(moved))
        return
    out.say(f"{name} has {own.name} to itself ({moved.state})")
    out.say(f"next: larder business move {name} --rollback, or --finish")


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="The business.")],
    to: Annotated[str, typer.Option(help="A folder, or an object store's URL; made where it is not.")],
    json: JsonFlag = False,
) -> None:
    """Write everything of a business to files: tables as CSV, blocks as received, a manifest with hashes."""
    from pathlib import Path

    from orchestration.cycle import Installation
    from orchestration.exporting import export_business

    context, out = get_context(), Output(json)
    at = Installation.of(context.settings, context.catalogue)
    target = to if "://" in to else str(Path(to).absolute())
    manifest = export_business(at, name, target, out.say)
    if json:
        out.document({"to": target, "tables": len(manifest["tables"]), "blocks": len(manifest["blocks"])})
    else:
        out.say(f"{target}/manifest.json names every file with its hash")


@app.command()
def erase(
    name: Annotated[str, typer.Argument(help="The business.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking for its name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    json: JsonFlag = False,
) -> None:
    """Erase a business for good: rows on all shards, blocks, secrets, files. Killed, it goes on when run again."""
    from orchestration.cycle import Installation
    from orchestration.erasing import Eraser

    context, out = get_context(), Output(json)
    eraser = Eraser(Installation.of(context.settings, context.catalogue), context.settings, out.say)
    if dry_run:
        plan = eraser.plan(name)
        out.document(plan) if json else out.table(_erased_rows(plan), empty="nothing")
        return
    if (
        not yes
        and typer.prompt(f"This cannot be taken back. The business's name, to erase it ({name})", err=True) != name
    ):
        raise LarderError(f"{name} was not erased: another name was typed", "you", f"larder business erase {name}")
    erasure = eraser.erase(name)
    out.document(asdict(erasure)) if json else out.table(_erased_rows(erasure.removed), empty="nothing")


def _erased_rows(removed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was found, as lines: a table's rows, a store's files, secrets."""
    rows: list[dict[str, Any]] = []
    for part, found in removed.items():
        if part == "blocks":
            rows += [{"where": one["store"], "what": "files of blocks", "count": one["files"] + one["versions"]}
                     for one in found]  # fmt: skip
        elif part == "secrets":
            rows += [{"where": "secrets", "what": path, "count": 1} for path in found["files"]]
            rows += [{"where": "elsewhere: remove it yourself", "what": ref, "count": 1} for ref in found["elsewhere"]]
        elif part == "uploads":
            rows += [{"where": "uploads", "what": "files", "count": found["files"]}] if found["files"] else []
        else:
            rows += [{"where": part, "what": table, "count": count} for table, count in found.items()]
    return rows


@app.command()
def move(
    name: Annotated[str | None, typer.Argument(help="The business; left out with --all-from.")] = None,
    to: Annotated[
        str | None, typer.Option(help="The shard it goes to; left out, a move that has begun goes on.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what is in the way.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Take it back, with all written since.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Give up the way back: delete the old copy.")] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Give up a move before the business has changed over.")
    ] = False,
    all_from: Annotated[
        str | None, typer.Option(help="Every business of this shard, one after the other; --to or where there is room.")
    ] = None,
    keep_days: Annotated[float, typer.Option(min=0, help="How long the way back is kept.")] = 7,
    json: JsonFlag = False,
) -> None:
    """Move a business to another shard while it trades. Killed, it goes on where it was when run again."""
    if all_from is not None:
        from cli import many

        if name is not None or rollback or finish or abort:
            raise typer.BadParameter("--all-from takes no business, --rollback, --finish or --abort")
        many.all_from(all_from, to, dry_run, keep_days, json)
        return
    if name is None:
        raise typer.BadParameter("which business? or --all-from SHARD")
    from orchestration.cycle import Installation
    from orchestration.moves import mover

    out = Output(json)
    context = get_context()
    at = Installation.of(context.settings, context.catalogue)
    way = mover(at, name, out.say, timedelta(days=keep_days))
    if sum((dry_run, rollback, finish, abort)) > 1:
        raise typer.BadParameter("only one of --dry-run, --rollback, --finish and --abort")
    if dry_run:
        if to is None:
            raise typer.BadParameter("--dry-run needs --to")
        _show_plan(out, way.plan(to))
        return
    if rollback:
        moved = way.roll_back()
    elif finish:
        moved = way.finish()
    elif abort:
        moved = way.abort()
    else:
        moved = way.move(to)
    if json:
        out.document(asdict(moved))
        return
    out.say(f"{name}: {moved.state}")
    if moved.state == "flipped":
        out.say(f"the way back is kept until {moved.keep_until:%Y-%m-%d %H:%M} UTC")
        out.say(f"next: larder business move {name} --rollback, or --finish")


@app.command()
def moves(
    name: Annotated[str | None, typer.Argument(help="Only those of this business, with their journal.")] = None,
    json: JsonFlag = False,
) -> None:
    """Moves of businesses between shards, newest first."""
    from sharding.moving import journal

    catalogue, out = get_context().catalogue, Output(json)
    found = journal.moves(catalogue, catalogue.business(name).id if name else None)
    if json:
        told = [{**asdict(m), "journal": journal.steps(catalogue, m.id)} for m in found]
        out.document(told)
        return
    out.table([asdict(m) for m in found], empty="no moves; next: larder business move NAME --to SHARD")
    for m in found[:1] if name else []:
        for at, step, detail in journal.steps(catalogue, m.id):
            out.say(f"{at:%H:%M:%S} {step}" + "".join(f" {key}={value}" for key, value in detail.items()))


def _show_plan(out: Output, plan: Plan) -> None:
    if out.json:
        out.document({**asdict(plan), "rows": plan.rows})
        return
    out.table([{"table": table, "rows": rows} for table, rows in plan.tables.items()], empty="no rows")
    out.say(
        f"{plan.rows:,} rows, {plan.bytes / 2**20:.1f} MB from {plan.from_shard} to {plan.to_shard};"
        f" some {plan.seconds:.0f} s, then the models of {plan.to_shard} are built"
    )
    for obstacle in plan.obstacles:
        out.say(f"in the way: {obstacle}")
