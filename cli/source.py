"""larder source: connections of a business to an integration."""

from __future__ import annotations

import getpass
import json as json_module
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output
from ingestion import registry
from ingestion.clock import is_sandbox
from ingestion.errors import LarderError as IngestionError
from ingestion.source import check_source
from orchestration.sources import source_ref
from orchestration.standing import mended, standings
from sharding.errors import LarderError
from sharding.model import Source

app = typer.Typer(no_args_is_help=True)
HISTORY = timedelta(days=730)
"""How far back a source begins that does not say `since`."""

Key = Annotated[str, typer.Argument(help="business/name, or the source's id.", metavar="SOURCE")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="KEY=TEXT, or KEY:=JSON for numbers and lists; repeatable.", metavar="SETTING"),
]
SecretOption = Annotated[str | None, typer.Option(help="Where its credentials are: env:NAME or file:PATH.")]


@app.command("list")
def list_(
    business: Annotated[str | None, typer.Option(help="Only those of this business.")] = None,
    json: JsonFlag = False,
) -> None:
    """Sources with their integration, settings and state."""
    context = get_context()
    sources = context.catalogue.sources(business)
    how = standings(context.catalogue, context.clock(), sources)
    rows = [
        {**asdict(source), "stands": one.state, "next_due": one.next_due, "because": one.because,
         "next": one.next_command}
        for source, one in zip(sources, how, strict=True)
    ]  # fmt: skip
    columns = ["id", "business_name", "name", "integration", "shard", "stands", "next_due", "config", "secret_ref"]
    columns += ["because", "next"] if any(row["because"] for row in rows) else []
    Output(json).table(rows, empty="no sources; next: larder source add BUSINESS INTEGRATION", columns=columns)


@app.command()
def add(
    business: str,
    integration: Annotated[str, typer.Argument(help="A vendor (larder integration list), or: files, database.")],
    name: Annotated[str, typer.Option(help="Default: the integration's name.")] = "",
    values: SetOption = None,
    secret: SecretOption = None,
    path: Annotated[str | None, typer.Option(help="files: a folder, a file, or an object store's URL.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="files, database: the mapping file.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="database: a table to read whole; repeatable.")] = None,
    json: JsonFlag = False,
) -> None:
    """Connect a business to an integration, to files or to a database. All is checked before anything is written."""
    context, out = get_context(), Output(json)
    catalogue = context.catalogue
    owner = catalogue.business(business)
    if integration in ("files", "database"):
        from cli.files import connect

        source = connect(context, owner, integration, name or integration, path, mapping, table, secret)
        out.document(asdict(source)) if json else out.say(f"next: larder extract --source {source.label}")
        return
    spec = registry.get(integration)
    # Said, not implied: where a history begins, sales and their payments need not yet meet, and the checks must know.
    config = {"since": (context.clock() - HISTORY).date().isoformat(), **_settings(values)}
    draft = Source(0, owner.id, owner.name, owner.shard, integration, name or integration, config, secret, "active")
    try:
        check_source(source_ref(catalogue, draft), spec)
    except IngestionError as error:
        error.next_command = "larder source add --help"  # there is no source to check yet
        raise
    source = catalogue.add_source(owner.name, integration, draft.name, draft.config, secret)
    if json:
        out.document(asdict(source))
    else:
        out.say(f"{source.label} reads {spec.title} from {config['since']} on; id {source.id}")
        if is_sandbox(context.settings.home, context.settings.clock) and "127.0.0.1" not in str(config.get("base_url")):
            out.say(
                f"this installation follows the sandbox's clock ({context.clock():%Y-%m-%d}), a real vendor does not;"
            )
            out.say("  use an installation of its own (LARDER_HOME=…), or LARDER_CLOCK=real")
        out.say(f"next: larder extract --source {source.label}")


@app.command("set")
def set_(key: Key, values: SetOption = None, secret: SecretOption = None, json: JsonFlag = False) -> None:
    """Change settings of a source; those not named stay as they are, an empty value removes one."""
    catalogue = get_context().catalogue
    source = catalogue.source(key)
    merged = {name: value for name, value in {**source.config, **_settings(values)}.items() if value != ""}
    changed = catalogue.set_source_config(source.id, merged, secret)
    mended(catalogue, source)
    Output(json).table([asdict(changed)], columns=("id", "name", "integration", "config", "secret_ref"))


@app.command()
def check(
    key: Annotated[str | None, typer.Argument(help="business/name or id; default: all.", metavar="[SOURCE]")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Settings and secrets only; ask no vendor.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds to wait for a vendor.")] = 10.0,
    json: JsonFlag = False,
) -> None:
    """Check settings and credentials of one source or all, and read one page. Ends with the first fault's exit code."""
    from ingestion.errors import LarderError as IngestionError
    from ingestion.probe import probe

    context = get_context()
    catalogue = context.catalogue
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    for source in [catalogue.source(key)] if key else catalogue.sources():
        row: dict[str, Any] = {"source": source.label, "finding": "ok", "turn": None, "next": None}
        try:
            reference = source_ref(catalogue, source)
            spec = registry.spec_of(source.integration, source.config, reference.check_command)
            check_source(reference, spec)
            if not offline:
                seen = probe(reference, spec, context.clock(), patience=patience)
                row["finding"] = f"ok: {seen.records} records in a page of {seen.stream}"
                mended(catalogue, source)
        except (IngestionError, LarderError) as error:
            faults.append(error.turn)
            row |= {"finding": error.cause, "turn": error.turn, "next": error.next_command}
        rows.append(row)
    Output(json).table(rows, empty="no sources")
    if faults:
        raise typer.Exit(EXIT_CODES[faults[0]])


@app.command()
def pause(
    key: Key,
    reason: Annotated[str | None, typer.Option(help="Why; others see it in larder source list.")] = None,
    by: Annotated[str | None, typer.Option(help="Who wants it; default: the user of this machine.")] = None,
) -> None:
    """Stop extracting a source; what was received stays, and is loaded."""
    paused = get_context().catalogue.set_source_state(key, "paused", by or getpass.getuser(), reason)
    Output().say(f"{paused.label} is paused; next: larder source resume {paused.label}")


@app.command()
def resume(key: Key) -> None:
    """Extract a paused source again, from where it stopped; also one that is backing off, at once."""
    catalogue = get_context().catalogue
    source = catalogue.set_source_state(key, "active")
    mended(catalogue, source)
    Output().say(f"{source.label} is active; next: larder extract --source {source.label}")


def _settings(values: Sequence[str] | None) -> dict[str, Any]:
    """`KEY=TEXT` stays text (an account number of digits is not a number); `KEY:=JSON` is read as JSON."""
    settings: dict[str, Any] = {}
    for pair in values or ():
        key, equals, text = pair.partition("=")
        if not equals:
            raise LarderError(f"--set {pair!r} is neither KEY=TEXT nor KEY:=JSON", "you", "larder source add --help")
        try:
            settings[key.removesuffix(":")] = json_module.loads(text) if key.endswith(":") else text
        except json_module.JSONDecodeError as error:
            raise LarderError(f"--set {pair!r}: not JSON ({error})", "you", "larder source add --help") from error
    return settings
