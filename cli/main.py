"""The `larder` command. Each command's module is imported when it is called, so `larder --help` answers at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import typer
import typer.core
import typer.main

Command: TypeAlias = typer.core.TyperCommand | typer.core.TyperGroup


class Lazy(NamedTuple):
    """Where a command is (`module:attribute`, a function or a typer app) and what `larder --help` says of it."""

    target: str
    help: str


COMMANDS: dict[str, Lazy] = {
    "demo": Lazy("cli.demo:demo", "From nothing to a report: databases, sandbox vendors, extract, load, transform."),
    "up": Lazy("cli.instances:up", "Start the databases and bring their schemas to the newest version."),
    "down": Lazy("cli.instances:down", "Stop the databases that this installation started."),
    "status": Lazy("cli.status:status", "What runs, how fresh the data are, and what needs somebody."),
    "slow": Lazy("cli.slow:slow", "Who waits for the databases, and for what."),
    "metrics": Lazy("cli.metrics:metrics", "For Prometheus: printed, served over HTTP, or written to a file."),
    "doctor": Lazy("cli.doctor:doctor", "Check this machine and installation; each finding with its remedy."),
    "maintain": Lazy("cli.maintain:maintain", "A shard's quiet hour: sweep, vacuum and analyze what needs it."),
    "backup": Lazy("cli.backup:app", "Backups of shards and of the control database, and tests of them."),
    "restore": Lazy("cli.restore:restore", "A shard or the control database out of a backup, up to date."),
    "shard": Lazy("cli.shard:app", "Databases that businesses live on."),
    "business": Lazy("cli.business:app", "Tenants and where they live."),
    "access": Lazy("cli.access:app", "Roles by which a business reads its own rows, and nobody else's."),
    "source": Lazy("cli.source:app", "Connections of a business to an integration."),
    "files": Lazy("cli.files:app", "Files and databases of one's own: previews, mappings, uploads."),
    "objective": Lazy("cli.objective:app", "How old a source's data may be, by kind, business or source."),
    "integration": Lazy("cli.integration:app", "Vendors that can be read."),
    "sandbox": Lazy("cli.sandbox:app", "Local servers that behave like the vendors, with their own clock."),
    "extract": Lazy("cli.extract:extract", "Read what is due from the vendors into blocks."),
    "load": Lazy("cli.load:load", "Load pending blocks into the shards' raw schemas."),
    "build": Lazy("cli.build:build", "Run the dbt models on the shards."),
    "cycle": Lazy("cli.cycle:cycle", "Extract, load and build whatever is due."),
    "reconcile": Lazy("cli.reconcile:reconcile", "Compare blocks, raw, facts and summaries, to the cent."),
    "export": Lazy("cli.export:export", "Marts as Parquet files in an object store, a file a month."),
    "report": Lazy("cli.report:report", "The numbers, and whether they equal the receipts."),
    "verify": Lazy("cli.verify:verify", "Compare every model with its own SELECT, and run all data tests whole."),
    "notices": Lazy("cli.notices:app", "Failures: one letter a cause, and one when it is over."),
    "reproduce": Lazy("cli.reproduce:reproduce", "What happened to a block happens again, on a throwaway shard."),
    "explain": Lazy("cli.explain:explain", "From a number back to its receipts, and what changed it when."),
    "debug": Lazy("cli.debug:debug", "Why a number is what it is: a model's part beside its parents and its SELECT."),
    "blocks": Lazy("cli.blocks:app", "What was received from the vendors, block by block."),
    "reimport": Lazy("cli.reimport:reimport", "Read some days of a source again, see what changes, and change it."),
    "quarantine": Lazy("cli.quarantine:app", "Records that could not be loaded."),
    "map": Lazy("cli.map_:app", "Which vendor's site, person or article is which of ours."),
    "sql": Lazy("cli.sql:sql", "Run a query on one shard or on all of them, read-only."),
    "dagster": Lazy("cli.dagster:dagster", "Open Dagster's UI on this installation."),
    "clean": Lazy("cli.instances:clean", "Stop everything this installation started and delete its data."),
}


class LarderGroup(typer.core.TyperGroup):
    """Lists the commands of `COMMANDS` without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:
        """A stand-in with the help text; `resolve_command` puts the real one in its place."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else typer.core.TyperCommand(cmd_name, help=entry.help, short_help=entry.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and command else None, rest


def load(name: str) -> Command:
    """Import a command.

    Raises:
        LarderError: turn `us`: its module is not in this installation.
    """
    module_name, attribute = COMMANDS[name].target.split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        from sharding.errors import LarderError

        raise LarderError(f"`larder {name}` is not part of this installation", "us", "larder --help") from error
    found: Callable[..., Any] | typer.Typer = getattr(module, attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    command: Command = typer.main.get_command(found)  # type: ignore[assignment]
    command.name = name
    command.help = command.help or COMMANDS[name].help
    return command


app = typer.Typer(cls=LarderGroup, no_args_is_help=True, rich_markup_mode=None)  # rich would double the time of --help


@app.callback()
def larder() -> None:
    """Larder: an ELT warehouse for restaurant groups whose numbers equal the receipts.

    Start with `larder demo`. Most commands take --json. Exit codes: 0 done, 1 a fault of ours, 2 configuration or
    usage, 3 credentials, 4 the vendor, 5 data.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    from cli.output import exit_with_error

    try:
        typer.main.get_command(app)(prog_name="larder")  # ends the process itself, also on a usage error
    except Exception as error:  # noqa: BLE001 - the last place that can tell a known error from a fault of ours
        sys.exit(exit_with_error(error, as_json="--json" in sys.argv))


if __name__ == "__main__":
    main()
