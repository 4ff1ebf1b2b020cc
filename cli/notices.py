"""`larder notices`: what failed, who was told of it, and what waits to be sent."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output, text

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from orchestration.notices.channels import Channels

app = typer.Typer(help="Failures: one letter a cause, and one when it is over.", no_args_is_help=True)
Number = Annotated[int, typer.Argument(help="The cause's number, as `larder notices list` shows it.")]


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False, as_json: JsonFlag = False
) -> None:
    """Causes that are open, newest first; then the letters that no server took yet."""
    from orchestration.notices import outbox, state

    out = Output(as_json)
    with closing(_connect()) as conn:
        rows = [dict(row) for row in state.listed(conn, healed=every)]
        waiting = outbox.waiting(conn)
    for row in rows:
        row["state"] = "over" if row["healed_at"] else "told" if row["told_at"] else "to be told"
    if as_json:
        out.document({"notices": rows, "waiting": waiting})
        return
    columns = ["notice", "class", "step", "subject", "affected_now", "cause", "first_seen", "last_seen", "state"]
    out.table(rows, "Failures", "none is open", columns)
    if waiting:
        out.table(waiting, "Letters that wait", columns=("letter", "channel", "subject", "attempts", "error"))


@app.command()
def show(
    numbers: Annotated[list[int], typer.Argument(help="One cause or several.")], as_json: JsonFlag = False
) -> None:
    """Everything about a cause: whom it affects or affected, since when, and what was sent."""
    from orchestration.notices import outbox, state
    from sharding.errors import LarderError

    out, shown = Output(as_json), []
    with closing(_connect()) as conn:
        for number in numbers:
            found = state.listed(conn, notice=number)
            if not found:
                raise LarderError(f"there is no notice {number}", "you", "larder notices list --all")
            whom = [dict(row) for row in state.affected(conn, number)]
            shown.append({**found[0], "whom": whom, "letters": outbox.letters_of(conn, number)})
    if as_json:
        out.document(shown)
        return
    for one in shown:
        fields = [
            {"field": k, "value": text(v)} for k, v in one.items() if k not in ("whom", "letters") and v is not None
        ]
        out.table(fields, f"notice {one['notice']}")
        of_records = ("records",) if one["reason"] else ()
        columns = ("who", "parts", *of_records, "shard", "first_seen", "last_seen", "ended", "ended_at")
        out.table(one["whom"], "Affected", columns=columns)
        out.table(one["letters"], "Letters", "none was written", ("letter", "channel", "subject", "sent_at", "error"))


@app.command()
def test(as_json: JsonFlag = False) -> None:
    """Send a letter to those who run Larder, by mail and webhook, and say what the servers answered."""
    from orchestration.notices.channels import Letter, NotSentError
    from sharding.errors import LarderError

    channels = _channels()
    rows: list[dict[str, Any]] = []
    for name in channels.names:
        letter = Letter.of(channels, name, "Larder: a test", "This is what failures will come as.\n")
        try:
            answer = channels.send(letter)
        except (NotSentError, LarderError) as error:
            answer = f"not sent: {error}"
        whom = ", ".join(channels.to) if name == "mail" else "the webhook"
        rows.append({"channel": name, "to": whom, "result": answer or "sent"})
    Output(as_json).table(rows)
    if any(row["result"] != "sent" for row in rows):
        raise typer.Exit(2)


@app.command()
def send(as_json: JsonFlag = False) -> None:
    """Write and send at once what there is to tell, also letters that wait for their next try."""
    from orchestration.notices import outbox, state
    from sharding.errors import LarderError

    channels = _channels()
    with closing(_connect()) as conn:
        state.heal(conn)
        outbox.write(conn, channels)
        result = outbox.send(conn, channels, now=True)
    Output(as_json).table([{"sent": result.sent, "waiting": result.failed}])
    if result.errors:
        raise LarderError("; ".join(result.errors), "config", "larder notices test")


@app.command()
def close(number: Number) -> None:
    """Say that a cause is over, where no cycle can see it: a test that was taken out, a job that nobody runs."""
    from orchestration.notices import state
    from sharding.errors import LarderError

    with closing(_connect()) as conn:
        if not state.close(conn, number):
            raise LarderError(f"there is no open notice {number}", "you", "larder notices list")
    Output().say(f"notice {number} is closed; met again, it is told again")


@app.command()
def recipients(
    business: Annotated[str, typer.Argument(help="Name or number of the business.")],
    add: Annotated[list[str] | None, typer.Option(help="A mail address. May be repeated.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A mail address. May be repeated.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Who of a business gets mails of its own sources, and of nobody else's; added or removed."""
    from orchestration.notices import outbox
    from orchestration.notices.channels import check_addresses

    found = get_context().catalogue.business(business)
    check_addresses(add or ())
    with closing(_connect()) as conn:
        listed = outbox.change_recipients(conn, found.id, add or (), remove or ())
    Output(as_json).table([{"business": found.name, "address": address} for address in listed], empty="nobody")


def _connect() -> Connection:
    from ingestion import index

    return index.connect(get_context().catalogue.dsn)


def _channels() -> Channels:
    from orchestration.notices.channels import Channels
    from sharding.errors import LarderError

    channels = Channels.of(get_context().settings)
    if not channels.names:
        raise LarderError(
            "no mail server with recipients and no webhook is set",
            "config",
            "export LARDER_MAIL_HOST=… LARDER_MAIL_TO=…",
        )
    return channels
