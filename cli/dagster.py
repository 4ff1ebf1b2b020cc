"""larder dagster: Dagster's UI and daemon on this installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.context import get_context


def dagster(
    port: Annotated[int, typer.Option(help="Port of the UI on 127.0.0.1.")] = 3000,
) -> None:
    """Open Dagster's UI on http://127.0.0.1:<port>, with the schedule's daemon. Ctrl-C stops both."""
    context = get_context()
    context.catalogue.shards()  # a clear error now, rather than a red page later
    from orchestration.instance import dagster_home

    os.environ["DAGSTER_HOME"] = str(dagster_home(context.settings))
    command = Path(sys.executable).with_name("dagster")
    # This process becomes Dagster, so that Ctrl-C and signals reach it directly.
    os.execv(command, [str(command), "dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(port)])
