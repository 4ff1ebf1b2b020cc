"""`larder metrics`: for Prometheus, over HTTP or as a file."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import get_context
from cli.output import Output
from sharding.errors import LarderError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PORT = 9108
LOOK_SECONDS = 60.0


def metrics(
    serve: Annotated[bool, typer.Option("--serve", help="Answer scrapes until it is stopped.")] = False,
    address: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any free one.")] = PORT,
    textfile: Annotated[
        Path | None, typer.Option(help="Write them to a file, for node_exporter's textfile collector: NAME.prom.")
    ] = None,
) -> None:
    """Print metrics of the whole installation as Prometheus reads them; or serve them; or write them to a file."""
    from prometheus_client import generate_latest, write_to_textfile

    from orchestration import samples

    if serve:
        _serve(address, port)
        return
    samples.take(get_context().catalogue)
    if textfile is not None:
        write_to_textfile(str(textfile), registry())  # beside it first, then renamed
        Output().say(f"written to {textfile}")
    else:
        Output().say(generate_latest(registry()).decode().rstrip())


def registry() -> CollectorRegistry:
    """The metrics of this process's installation."""
    from orchestration.metrics import WORST, registry_of
    from orchestration.overview import look

    context = get_context()
    return registry_of(
        lambda: look(context.catalogue, context.store, context.clock(), context.settings.slow_request, worst=WORST)
    )


def _serve(address: str, port: int) -> None:
    """Scrapes read the control database; the shards are looked at once a minute, whether or not anybody scrapes."""
    from prometheus_client import start_http_server

    out, stopped = Output(), threading.Event()
    try:
        server, thread = start_http_server(port, address, registry())
    except OSError as error:
        raise LarderError(f"{address}:{port}: {error}", "you", "larder metrics --serve --port 0") from error
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    out.say(f"http://{address}:{server.server_port}/metrics")
    while not stopped.is_set():
        _look_at_shards(out)
        stopped.wait(LOOK_SECONDS)
    server.shutdown()
    thread.join()


def _look_at_shards(out: Output) -> None:
    import psycopg2

    from ingestion.errors import LarderError as IngestionError
    from orchestration import samples

    try:
        samples.take(get_context().catalogue)
    except (LarderError, IngestionError, psycopg2.Error) as error:  # the control database is away: scrapes say so too
        out.say(f"shards were not looked at: {' '.join(str(error).split())}")
