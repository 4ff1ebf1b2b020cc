"""larder backup: made, listed, tested, thinned out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

if TYPE_CHECKING:
    from orchestration.backups import Backup

app = typer.Typer(help="Backups of shards and of the control database, and tests of them.", no_args_is_help=True)


@app.command()
def make(
    of: Annotated[list[str] | None, typer.Argument(help="Shards, or `control`. Default: all, and that.")] = None,
    json: JsonFlag = False,
) -> None:
    """Back up. What a cycle does meanwhile is in the next backup; the blocks are in the block store."""
    from orchestration.backups import CONTROL, back_up
    from orchestration.upkeep import noted

    context, out = get_context(), Output(json)
    rows, failed = [], None
    for name in of or [*(shard.name for shard in context.catalogue.shards()), CONTROL]:
        try:
            with noted(context.catalogue, name, "backup") as detail:
                made = back_up(context.settings, context.catalogue, name)
                detail |= {"backup": made.name, "rows": made.rows, "bytes": made.bytes, "seconds": made.seconds}
        except LarderError as error:
            failed = failed or error
            rows.append({"backup": name, "error": error.cause})
            continue
        rows.append(_row(made))
    out.table(rows, columns=("backup", "error") if failed else ())
    if failed:
        out.fail(failed)


@app.command("list")
def list_(
    of: Annotated[str | None, typer.Argument(help="A shard, or `control`.")] = None, json: JsonFlag = False
) -> None:
    """Backups, newest first, and what their restore tests came to."""
    from orchestration.backups import backups, vault_of

    found = backups(vault_of(get_context().settings), of)
    Output(json).table([_row(one) for one in found], empty="none; next: larder backup make")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A backup, or a shard: its newest.")]) -> None:
    """A backup's manifest: versions, rows of each table, files with their hashes, the newest block in it."""
    from orchestration.backups import backup_of, vault_of

    Output(json=True).document(asdict(backup_of(vault_of(get_context().settings), name)))


@app.command()
def test(
    name: Annotated[str, typer.Argument(help="A backup, or a shard: its newest.")], json: JsonFlag = False
) -> None:
    """Restore a backup into a database that is dropped again, catch up from the blocks, compare with the receipts."""
    from orchestration.backups import backup_of, vault_of
    from orchestration.cycle import Installation
    from orchestration.restoring import Restorer
    from orchestration.upkeep import noted

    context, out = get_context(), Output(json)
    at = Installation.of(context.settings, context.catalogue)
    backup = backup_of(vault_of(context.settings), name)
    with noted(context.catalogue, backup.of, "restore test") as detail:
        tested = Restorer(at, context.settings, out.say).test(backup)
        detail |= {"backup": backup.name, "seconds": tested.seconds, "caught up": tested.caught_up}
    out.table([{"backup": backup.name, **asdict(tested)}])


@app.command()
def keep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would be deleted.")] = False,
    json: JsonFlag = False,
) -> None:
    """Delete backups that the settings keep no longer (LARDER_BACKUP_DAYS, _WEEKS, _MONTHS)."""
    from orchestration.backups import CONTROL, policy_of, thin_out, vault_of

    context, out = get_context(), Output(json)
    names = [*(shard.name for shard in context.catalogue.shards()), CONTROL]
    vault, policy = vault_of(context.settings), policy_of(context.settings)
    gone = [one for name in names for one in thin_out(vault, name, policy, dry_run=dry_run)]
    out.table([_row(one) for one in gone], "would be deleted" if dry_run else "deleted", "none")


@app.command()
def drop(
    name: Annotated[str, typer.Argument(help="A backup, as larder backup list names it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this it is only said.")] = False,
) -> None:
    """Delete one backup, whatever the settings say."""
    from orchestration.backups import remove, vault_of

    vault, out = vault_of(get_context().settings), Output()
    if name.count("/") != 1 or not vault.fs.exists(vault.path(name)):
        raise LarderError(f"there is no backup {name!r}", "you", "larder backup list")
    if not yes:
        out.say(f"would delete {name}\nnext: larder backup drop {name} --yes")
        return
    remove(vault, name)
    out.say(f"deleted {name}")


def _row(backup: Backup) -> dict[str, Any]:
    tested = backup.tested
    known = backup.content.known
    return {
        "backup": backup.name,
        "rows": backup.rows,
        "bytes": backup.bytes,
        "s": backup.seconds,
        "schema": max(backup.content.revisions),
        "blocks": known["ledger" if "ledger" in known else "index"]["blocks"],
        "restore test": None
        if tested is None
        else f"{tested.at:%Y-%m-%d %H:%M} {'good' if tested.good else tested.said}",
    }
