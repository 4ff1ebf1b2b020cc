"""`larder blocks retention`: how long blocks are kept that nothing needs."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

app = typer.Typer(help="How long blocks are kept that nothing needs; for ever, unless said.", no_args_is_help=True)


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """The businesses that do not keep them for ever."""
    from orchestration.upkeep import retentions

    rows = [vars(one) for one in retentions(get_context().catalogue)]
    Output(json).table(rows, empty="every business keeps all of its blocks")


@app.command("set")
def set_(
    business: Annotated[str, typer.Argument(help="The business.")],
    days: Annotated[int, typer.Argument(min=0, help="Keep what nothing needs for so many days; 0: for ever.")],
) -> None:
    """Decide for a business; its shard's quiet hour keeps to it."""
    from orchestration.upkeep import set_retention

    set_retention(get_context().catalogue, business, days or None, getpass.getuser())
    Output().say(f"{business}: " + (f"{days} days" if days else "for ever"))
    Output().say(f"next: larder blocks retention run --business {business} --dry-run")


@app.command()
def run(
    business: Annotated[str | None, typer.Option(help="This one; default: all that have decided.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Instead of what the business decided.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would be given up, and why.")] = False,
    json: JsonFlag = False,
) -> None:
    """Give blocks up that nothing needs. Numbers stay, and `larder reconcile` still finds them equal."""
    from orchestration.cycle import Installation
    from orchestration.upkeep import give_up, retentions, spare_blocks

    context, out = get_context(), Output(json)
    at = Installation.of(context.settings, context.catalogue)
    decided = {one.business: one.keep_days for one in retentions(context.catalogue)}
    chosen = [context.catalogue.business(business).name] if business else sorted(decided)
    if days is not None and business is None:
        raise LarderError("days of which business?", "you", "larder blocks retention run --business NAME --days N")
    labels = {source.id: source.label for source in context.catalogue.sources()}
    rows: list[dict[str, Any]] = []
    for name in chosen:
        keep = days or decided.get(name)
        if keep is None:
            raise LarderError(f"{name} keeps all of its blocks", "you", f"larder blocks retention set {name} DAYS")
        spare = spare_blocks(at, name, keep)
        rows += [
            {"block": str(one.manifest.block_id), "source": labels[int(one.manifest.source_id)],
             "stream": one.manifest.stream, "observed_at": one.manifest.observed_at,
             "bytes": one.manifest.compressed_bytes, "because": one.reason}
            for one in spare
        ]  # fmt: skip
        if spare and not dry_run:
            give_up(at, name, spare)
    out.table(rows, "would be given up" if dry_run else "given up", "none")
    if not json and rows:
        out.say(f"{len(rows)} blocks, {sum(row['bytes'] for row in rows):,} bytes")
