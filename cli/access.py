"""larder access: a business's own way to its rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.access.tenants import Access, grant_access, list_access, revoke_access, rotate_access

app = typer.Typer(no_args_is_help=True)

Business = Annotated[str, typer.Argument(help="Name or number.")]
Secret = Annotated[
    str | None, typer.Option(help="Its password: env:NAME or file:PATH; default: one drawn for this home.")
]


@app.command()
def grant(
    business: Business,
    raw: Annotated[bool, typer.Option("--raw", help="It reads its vendors' records too.")] = False,
    workspace: Annotated[
        int | None,
        typer.Option(min=1, help="Megabytes of a schema of its own to write in; needs an instance of its own."),
    ] = None,
    secret: Secret = None,
    json: JsonFlag = False,
) -> None:
    """Give a business a role that reads its own rows and nobody else's. Repeating it changes what the role may read."""
    catalogue = get_context().catalogue
    granted = grant_access(catalogue, business, raw, None if workspace is None else workspace * 2**20, secret)
    _told(granted, json)


@app.command()
def revoke(business: Business, json: JsonFlag = False) -> None:
    """End a business's access: its sessions, its role, and its workspace with all that is in it."""
    ended = revoke_access(get_context().catalogue, business)
    out = Output(json)
    if json:
        out.document({"business": business, "revoked": ended})
        return
    out.say(f"{business}: {'its role is gone' if ended else 'it had no role'}")


@app.command()
def rotate(business: Business, secret: Secret = None, json: JsonFlag = False) -> None:
    """A new password for a business's role; open sessions go on."""
    _told(rotate_access(get_context().catalogue, business, secret), json)


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """The roles of businesses, where they connect to, and what they may read."""
    rows = [_row(access) for access in list_access(get_context().catalogue)]
    Output(json).table(rows, empty="no business has a role; next: larder access grant BUSINESS")


def _told(access: Access, json: bool) -> None:
    out = Output(json)
    if json:
        out.document(_row(access))
        return
    out.say(access.url)
    out.say(f"password: {access.secret_ref}")
    out.say(f"reads: bi{', raw_<vendor>' if access.reads_raw else ''} of {access.business}")
    if access.workspace_bytes is not None:
        out.say(f"writes: schema workspace, at most {access.workspace_bytes // 2**20} MB")


def _row(access: Access) -> dict[str, Any]:
    return asdict(access)
