"""larder restore: a shard or the control database out of a backup."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.dbt_profiles import write_profiles
from sharding.errors import LarderError


def restore(
    backup: Annotated[str, typer.Argument(help="A backup; or a shard, or `control`: the newest of it.")],
    as_: Annotated[str, typer.Option("--as", help="As a shard of this name, as it was then, to look at.")] = "",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="In the place of the shard, with all that was loaded since.")
    ] = False,
    instance: Annotated[
        str, typer.Option(help="On this instance; a new name makes an embedded one. Default: where it was.")
    ] = "",
    register_only: Annotated[
        bool, typer.Option("--register-only", help="With `control`: only ask the shards once more what came since.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this it is only said.")] = False,
    json: JsonFlag = False,
) -> None:
    """Restore a shard beside what is there, or in the place of one that was lost; or the control database."""
    from orchestration.backups import CONTROL, backup_of, vault_of

    context, out = get_context(), Output(json)
    of = backup.partition("/")[0]
    if of == CONTROL:
        _control(backup, register_only, yes, json)
        return
    if bool(as_) == in_place:
        raise LarderError(
            "beside what is there, or in its place?", "you", f"larder restore {backup} --as NAME | --in-place"
        )
    from orchestration.cycle import Installation
    from orchestration.restoring import Restorer

    found = backup_of(vault_of(context.settings), backup)
    if in_place and not yes:
        out.say(
            f"would restore {found.name} ({found.rows:,} rows) into a new database, load again what was loaded since,\n"
            f"compare with the receipts, and put it in the place of {found.of}; the old database is kept under another"
            f" name\nnext: larder restore {found.name} --in-place --yes"
        )
        return
    restorer = Restorer(Installation.of(context.settings, context.catalogue), context.settings, out.say)
    done = restorer.in_place(found, instance or None) if in_place else restorer.beside(found, as_, instance or None)
    write_profiles(context.catalogue.shards(), context.settings.home)
    told = {"shard": done.shard.name, "database": done.shard.database, "instance": done.shard.instance,
            "rows": done.rows, "loaded again": done.lost, "reconciled": list(done.reconciled),
            "seconds": done.total, **{f"{step} s": seconds for step, seconds in done.seconds.items()}}  # fmt: skip
    if json:
        out.document(told)
    else:
        out.table([{"what": what, "is": value} for what, value in told.items()])


def _control(backup: str, register_only: bool, yes: bool, json: bool) -> None:
    from orchestration.backups import backup_of, vault_of
    from orchestration.restoring_control import bring_up_to_date, restore_control

    context, out = get_context(), Output(json)
    if register_only:
        told = bring_up_to_date(context.settings, context.catalogue)
    else:
        found = backup_of(vault_of(context.settings), backup)
        if not yes:
            out.say(f"would put {found.name} in the place of the control database, which is kept under another name")
            out.say(f"next: larder restore {found.name} --yes")
            return
        told = restore_control(context.settings, found, out.say)
    out.table([asdict(one) for one in told])
