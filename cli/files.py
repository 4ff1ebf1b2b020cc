"""larder files: files and databases of one's own, looked at before anything is saved."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import Context, get_context
from cli.output import JsonFlag, Output
from ingestion.data.spec import KIND, MAPPING, NAME, PATH
from sharding.errors import LarderError
from sharding.model import Business, Source

if TYPE_CHECKING:
    from ingestion.source import SourceRef

app = typer.Typer(no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="business/name, or the source's id.", metavar="SOURCE")]
MappingOption = Annotated[Path | None, typer.Option("--mapping", help="The mapping file; without one it is guessed.")]


@app.command()
def preview(
    where: Annotated[str, typer.Argument(help="A source (business/name), a folder, a file or a URL of files.")],
    mapping: MappingOption = None,
    rows: Annotated[int, typer.Option(help="Rows of each file or table to look at; 0: all.")] = 1000,
    write: Annotated[Path | None, typer.Option(help="Write the guessed mapping here, to be edited.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show what the rows would become and which would be set aside. Nothing is saved."""
    from ingestion.data.mapping import read_mapping
    from ingestion.data.preview import guess
    from ingestion.data.preview import preview as preview_of

    out = Output(json)
    source = _source(where)
    if source is None and mapping is None:
        from ingestion.data.files import Folder

        text = guess(Folder(_absolute(where)))
        if write is not None:
            write.write_text(text, encoding="utf-8")
            out.say(f"wrote {write}; next: larder files preview {where} --mapping {write}")
        elif json:
            out.document({"mapping": text})
        else:
            out.say(text + "# next: --write FILE, edit it, then: larder files preview … --mapping FILE")
        return
    reference = source or _unsaved(where)
    if mapping is not None:
        reference = replace(reference, config={**reference.config, MAPPING: read_mapping(mapping)})
    seen = preview_of(reference, rows or None)
    if json:
        out.document({"streams": [asdict(one) for one in seen]})
        return
    for one in seen:
        good = one.records - one.refused
        out.table(
            one.first, f"{one.stream}: {one.rows} rows → {good} records, {one.refused} to quarantine", "no records"
        )
        if one.problems:
            out.table(one.problems, "set aside", columns=["file", "line", "reason"])


@app.command("map")
def map_(key: Key, mapping: Annotated[Path, typer.Argument(help="The mapping file.")], json: JsonFlag = False) -> None:
    """Give a source another mapping. What it read is read again by it at the next extract."""
    from ingestion.data.mapping import read_mapping

    catalogue = get_context().catalogue
    source = _of_data(catalogue.source(key))
    content = read_mapping(mapping)
    changed = catalogue.set_source_config(source.id, {**source.config, MAPPING: content})
    if json:
        Output(json).document(asdict(changed))
    else:
        Output().say(f"{changed.label} has a new mapping; next: larder extract --source {changed.label} --force")


@app.command("put")
def put(
    key: Key,
    files: Annotated[list[Path], typer.Argument(help="Files to upload into the source's folder.")],
    json: JsonFlag = False,
) -> None:
    """Upload files into a source's folder, each whole or not at all; one of the same name is replaced."""
    import fsspec

    source = _of_data(get_context().catalogue.source(key))
    fs, root = fsspec.core.url_to_fs(str(source.config[PATH]), **get_context().catalogue.credentials(source))
    for file in files:
        if not file.is_file():
            raise LarderError(f"there is no file {file}", "you", f"ls -l {file.parent}")
        target = f"{root.rstrip('/')}/{file.name}"
        fs.makedirs(root, exist_ok=True)
        with file.open("rb") as read, fs.transaction, fs.open(target, "wb") as written:
            shutil.copyfileobj(read, written)
    out = Output(json)
    if json:
        out.document({"uploaded": [file.name for file in files]})
    else:
        out.say(f"{len(files)} in {source.config[PATH]}; next: larder extract --source {source.label} --force")


@app.command("list")
def list_(key: Key, json: JsonFlag = False) -> None:
    """The files of a source, and which part of its mapping each belongs to."""
    from ingestion.data.run import check, folder_of
    from orchestration.sources import source_ref

    catalogue = get_context().catalogue
    source = source_ref(catalogue, _of_data(catalogue.source(key)))
    folder, mapping = folder_of(source), check(source)
    matched: dict[str, list[str]] = {}
    for rows in mapping.rows:
        for file in folder.matching(rows):
            matched.setdefault(file.name, []).append(str(rows.files))
    listed = [
        {"file": file.name, "size": file.mark.split("|")[0], "mapped by": ", ".join(matched.get(file.name, ())) or None}
        for file in folder.files()
    ]
    Output(json).table(listed, empty=f"there are no files in {folder.url}")


@app.command("tables")
def tables(
    secret: Annotated[str, typer.Argument(help="Where the database's URL is: env:NAME or file:PATH.")],
    json: JsonFlag = False,
) -> None:
    """The tables of a database."""
    from ingestion.data.database import Database
    from sharding.credentials import read_secret

    database = Database(read_secret(secret, get_context().settings.home), "larder files tables")
    Output(json).table([{"table": name} for name in database.tables()], empty=f"{database.shown} has no tables")


def connect(
    context: Context, owner: Business, kind: str, name: str, path: str | None, mapping: Path | None,
    tables: list[str] | None, secret: str | None,
) -> Source:  # fmt: skip
    """Add a source of files or of a database, once its mapping fits what is there."""
    from ingestion.errors import LarderError as IngestionError

    config: dict[str, Any] = {KIND: kind}
    if kind == "files":
        if mapping is None:
            raise LarderError("files need --mapping FILE", "you", "larder files preview PATH --write mapping.yml")
        folder = context.settings.home / "uploads" / owner.name / name
        config[PATH] = _absolute(path) if path else str(folder)
        if not path:
            folder.mkdir(parents=True, exist_ok=True)
    try:
        config = _checked(context, owner, name, config, mapping, tables, secret, look=bool(path) or kind == "database")
    except IngestionError as error:
        if "source check" in error.next_command:
            error.next_command = "larder source add --help"  # there is no source to check yet
        raise
    return context.catalogue.add_source(owner.name, NAME, name, config, secret)


def _checked(
    context: Context, owner: Business, name: str, config: dict[str, Any], mapping: Path | None,
    tables: list[str] | None, secret: str | None, *, look: bool,
) -> dict[str, Any]:  # fmt: skip
    """The settings with their mapping, having read some rows by it; raises what is wrong with them."""
    from ingestion.data.mapping import read_mapping
    from ingestion.data.run import check, database_of
    from ingestion.probe import probe
    from ingestion.registry import spec_of
    from orchestration.sources import source_ref

    draft = Source(0, owner.id, owner.name, owner.shard, NAME, name, config, secret, "active")
    reference = source_ref(context.catalogue, draft)
    if mapping is not None:
        config = {**config, MAPPING: read_mapping(mapping)}
    else:
        chosen = tables or database_of(reference).tables()
        config = {**config, MAPPING: {"rows": [_whole(one) for one in chosen]}}
    reference = replace(reference, config=config)
    check(reference)
    if look:
        seen = probe(reference, spec_of(NAME, config, reference.check_command), context.clock())
        typer.echo(f"{seen.url}: read {seen.records} rows of {seen.stream}", err=True)
    return config


def _whole(table: str) -> dict[str, Any]:
    """A mapping that reads a table as it is."""
    return {"database_table": table, "into": [{"table": _plain(table)}]}


def _plain(table: str) -> str:
    from ingestion.data.records import plain_names

    short = table.rpartition(".")[2]
    return plain_names([short])[short][:40]


def _source(where: str) -> SourceRef | None:
    """The source of that name; None where `where` is a place."""
    from orchestration.sources import source_ref

    if "://" in where or where.startswith(("/", ".")) or Path(where).exists():
        return None
    catalogue = get_context().catalogue
    return source_ref(catalogue, _of_data(catalogue.source(where)))


def _unsaved(where: str) -> SourceRef:
    from ingestion.source import SourceRef

    return SourceRef(0, 0, "", NAME, where, {PATH: _absolute(where), KIND: "files"})


def _of_data(source: Source) -> Source:
    if source.integration != NAME:
        raise LarderError(f"{source.label} is not of files or a database", "you", "larder source list")
    return source


def _absolute(where: str) -> str:
    return where if "://" in where else str(Path(where).resolve())
