"""`larder export`: marts as Parquet files in an object store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output


def export(
    business: Annotated[
        list[str] | None, typer.Option(help="May be repeated. Default: every business that has a role of its own.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Folder or URL, s3://…; default: LARDER_EXPORT_STORE.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Write every month again, not only those that changed.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write marts to Parquet, a file a month; only months that changed since the last export. One that fails stops no
    other."""
    from orchestration.mart_files import export_marts
    from sharding.access.tenants import list_access
    from sharding.errors import LarderError

    context, out = get_context(), Output(as_json)
    target = to or context.settings.export_store
    if not target:
        raise LarderError("nobody says where to", "you", "larder export --to FOLDER")
    names = business or [access.business for access in list_access(context.catalogue)]
    rows, failed = [], []
    with out.progress("export", len(names)) as bar:
        for name in names:
            try:
                rows.append(asdict(export_marts(context.catalogue, name, target, full=full)))
            except LarderError as error:
                failed.append(error)
                rows.append({"business": name, "error": error.cause, "turn": error.turn, "next": error.next_command})
            bar.advance(1, name)
    columns = ["business", "marts", "parts", "changed", "removed", "rows", "bytes", "manifest"]
    empty = "no business has a role of its own; next: larder access grant BUSINESS"
    out.table(rows, "export", empty, [*columns, "error", "next"] if failed else columns)
    if failed:
        out.fail(failed[0])
