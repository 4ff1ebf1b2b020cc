"""larder sandbox: the vendors' local servers and their clock."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from ingestion.errors import ConfigError
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import CLOSES_ON, OPENS_AT
from ingestion.sandbox.http import Faults
from ingestion.spec import parse_duration

app = typer.Typer(no_args_is_help=True, help="Local servers that behave like the vendors, with their own clock.")


@app.command()
def up(json: JsonFlag = False) -> None:
    """Start the vendors' servers on free ports of 127.0.0.1."""
    status_of(Output(json), process.up(get_context().settings.home))


@app.command()
def down() -> None:
    """Stop the servers. Clock and ports are kept."""
    Output().say("sandbox: stopped" if process.down(get_context().settings.home) else "sandbox: was not running")


@app.command()
def status(json: JsonFlag = False) -> None:
    """Which vendors are served where, and what time it is there."""
    status_of(Output(json), process.running(get_context().settings.home))


@app.command()
def advance(
    by: Annotated[str, typer.Argument(help="How long the vendors trade on: 1d, 6h, 30m.")], json: JsonFlag = False
) -> None:
    """Move the sandbox's clock on. The vendors trade, correct and refund meanwhile; `larder cycle` reads it."""
    out, clock = Output(json), SandboxClock(get_context().settings.home)
    try:
        duration = parse_duration(by)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not clock.file.exists():
        raise ConfigError("this installation has no sandbox yet", next_command="larder sandbox up")
    now = clock.advance(duration)
    if json:
        out.document({"now": now})
        return
    out.say(f"sandbox: it is now {_time(now)}; next: larder cycle")
    if now.date() > CLOSES_ON:
        out.say(f"sandbox: the datasets end on {CLOSES_ON}; there is no more trade")


@app.command()
def reset() -> None:
    """Set the clock back to where a new sandbox stands, and heal all faults.

    Blocks and databases stay, and know of trade that is now ahead: `larder clean` removes those.
    """
    home = get_context().settings.home
    SandboxClock(home).set(OPENS_AT)
    Faults.of_home(home).heal()
    Output().say(f"sandbox: it is {_time(OPENS_AT)} again")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def status_of(out: Output, running: process.Running | None) -> None:
    """Print where the vendors are."""
    now = SandboxClock(get_context().settings.home).now() if running else None
    if out.json:
        out.document({"now": now, "pid": running.pid if running else None, "urls": running.urls if running else {}})
    elif running and now:
        out.table([{"vendor": name, "url": url} for name, url in running.urls.items()], f"sandbox: {_time(now)}")
    else:
        out.say("sandbox: not running; next: larder sandbox up")
