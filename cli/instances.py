"""larder up · down · clean: the databases of this installation."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from cli.shard import shard_row
from sharding import postgres
from sharding import up as installation
from sharding.dbt_profiles import remove_profiles


def up(json: JsonFlag = False) -> None:
    """Start the databases and bring their schemas to the newest version. Running it again does nothing twice."""
    out = Output(json)
    catalogue = installation.up(get_context().settings, out.say)
    if json:
        out.document([shard_row(shard) for shard in catalogue.shards()])


def down(json: JsonFlag = False) -> None:
    """Stop the databases that this installation started. Nothing is lost; `larder up` starts them again."""
    out = Output(json)
    stopped = installation.down(get_context().settings, out.say)
    if json:
        out.document({"stopped": stopped})
    elif not stopped:
        out.say("nothing was running")


def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this only the plan is printed.")] = False,
) -> None:
    """Stop everything this installation started and delete its data: databases, blocks, secrets, logs."""
    settings, out = get_context().settings, Output()
    runtime = postgres.recorded_runtime_dir(settings)
    folders = [folder for folder in (settings.home, runtime) if folder is not None and folder.exists()]
    if not folders:
        out.say("nothing to clean")
        return
    if not yes:
        for folder in folders:
            out.say(f"would stop what runs from, and delete: {folder}")
        out.say("next: larder clean --yes")
        return
    _stop_sandbox(out)
    installation.down(settings, out.say)
    if remove_profiles(settings.home):
        out.say("deleted the dbt profile of these databases")
    for folder in folders:
        shutil.rmtree(folder)
        out.say(f"deleted {folder}")


def _stop_sandbox(out: Output) -> None:
    """The sandbox servers are not a database, but they keep their state in the same home."""
    if (get_context().settings.home / "sandbox").exists():
        from cli.main import load

        load("sandbox").main(["down"], prog_name="larder sandbox", standalone_mode=False)
