"""`larder integration`: the vendors that can be read, and the files that follow from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, get_args

import typer

from cli.output import JsonFlag, Output

app = typer.Typer(help="Vendors that can be read.", no_args_is_help=True)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """What each integration reads, and how."""
    from ingestion.generate import capability_row
    from ingestion.registry import discover
    from ingestion.spec import duration_text

    out = Output(as_json)
    rows = []
    for spec in discover().values():
        rate = f"{spec.rate_limit.requests} per {duration_text(spec.rate_limit.per)}"
        for stream in spec.streams:
            name, how, deletes, restated, every, feeds = capability_row(stream)
            rows.append(
                {
                    "integration": spec.name,
                    "kind": spec.kind,
                    "stream": name,
                    "read": how,
                    "deletions": deletes,
                    "restated": restated,
                    "every": every,
                    "feeds": feeds,
                    "rate": rate,
                }
            )
    out.table(rows, "integrations")


@app.command()
def new(
    vendor: Annotated[str, typer.Argument(help="Name of the folder: lower case, digits, _.")],
    sample: Annotated[Path, typer.Option(help="A file with an answer of the vendor's, in JSON.")],
    stream: Annotated[str | None, typer.Option(help="What its records are; default: the file's name.")] = None,
    title: Annotated[str | None, typer.Option(help="The vendor's name for people.")] = None,
    kind: Annotated[str, typer.Option(help="pos, labour or marketing.")] = "pos",
    base_url: Annotated[str | None, typer.Option(help="Where the API is.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Begin an integration from a sample answer: its file, staging models, a recorded page; types are guessed."""
    from ingestion.scaffold import Sample, Scaffold, begin
    from ingestion.spec import Kind
    from sharding.errors import LarderError
    from sharding.settings import project_root

    out, again = Output(as_json), "larder integration new --help"
    name = stream or sample.name.partition(".")[0]
    for what, text in (("vendor", vendor), ("stream", name)):
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,20}", text):
            raise LarderError(f"the {what}'s name {text!r} is not of lower-case letters, digits and _", "you", again)
    if kind not in get_args(Kind):
        raise LarderError(f"there is no kind {kind!r}; known: {', '.join(get_args(Kind))}", "you", again)
    made = Scaffold(
        sample=Sample.read(vendor, name, sample),
        title=title or vendor.replace("_", " ").title(),
        kind=kind,  # type: ignore[arg-type]
        base_url=base_url or f"https://api.{vendor.replace('_', '')}.example",
        page=sample.read_text(encoding="utf-8"),
    )
    written = [str(path) for path in begin(project_root(), made)]
    if out.json:
        out.document({"written": written})
    else:
        out.say("\n".join(f"wrote {path}" for path in written))
        out.say(f"next: correct what is guessed in ingestion/integrations/{vendor}/integration.yml,")
        out.say("  then larder integration sync")


@app.command()
def drift(
    source: Annotated[str | None, typer.Option(help="Only this source, as business/name.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fields of the vendors' records that are new, missing or of another type than before. Nothing is lost by it."""
    from cli.context import get_context
    from ingestion.drift import noted

    catalogue, out = get_context().catalogue, Output(as_json)
    labels = {one.id: one.label for one in ([catalogue.source(source)] if source else catalogue.sources())}
    rows = [
        {
            "source": labels[one.source_id],
            "stream": one.stream,
            "field": one.drift.field,
            "change": one.drift.change,
            "was": one.drift.was,
            "became": one.drift.became,
            "since": one.observed_at,
            "block": one.block_id,
        }
        for one in noted(catalogue.dsn, list(labels))
    ]
    out.table(rows, "drift", "every record looks as its stream always did")


@app.command()
def sync(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if a file is out of date.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the dbt sources, the macro and the docs page that follow from the integrations."""
    from ingestion.errors import LarderError
    from ingestion.generate import generated_files, stale, write
    from ingestion.registry import BUILT_IN, discover
    from sharding.settings import project_root

    root, out = project_root(), Output(as_json)
    files = generated_files(discover((BUILT_IN,)))
    changed = stale(root, files) if check else write(root, files)
    if check and changed:
        names = ", ".join(str(path) for path in changed)
        raise LarderError(f"out of date: {names}", turn="us", next_command="larder integration sync")
    if out.json:
        out.document({"changed": [str(path) for path in changed]})
    else:
        out.say("\n".join(f"wrote {path}" for path in changed) or "everything generated is up to date")
