"""larder shard replica: where streaming replicas of a shard's server are reached."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError
from sharding.model import Address, Shard
from sharding.replicas import Lag, lags

app = typer.Typer(no_args_is_help=True, help="Streaming replicas of a shard's server, for reads.")

At = Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the replica is reached.")]


@app.command()
def add(shard: str, at: At, json: JsonFlag = False) -> None:
    """Let reads go to a replica of the shard's server, while it is fresh. All shards of that server share it."""
    context, address = get_context(), _address(at)
    here = context.catalogue.shard(shard)
    context.catalogue.add_replica(here.instance, address)
    _show(context.catalogue.shard(shard), json)


@app.command()
def remove(shard: str, at: At, json: JsonFlag = False) -> None:
    """Send no more reads to a replica."""
    context = get_context()
    context.catalogue.remove_replica(context.catalogue.shard(shard).instance, _address(at))
    _show(context.catalogue.shard(shard), json)


@app.command("list")
def list_(shard: str, json: JsonFlag = False) -> None:
    """Replicas of the shard's server and how far each is behind, asked now."""
    _show(get_context().catalogue.shard(shard), json)


def replica_rows(shard: Shard) -> list[dict[str, Any]]:
    """Replicas as commands show them."""
    return [_row(lag) for lag in lags(shard, get_context().settings.replica_lag)]


def _row(lag: Lag) -> dict[str, Any]:
    seconds = None if lag.seconds is None else round(lag.seconds, 1)
    return {
        "replica": str(lag.address), "state": lag.state, "lag_seconds": seconds, "lag_bytes": lag.bytes,
        "message": lag.message,
    }  # fmt: skip


def _show(shard: Shard, json: bool) -> None:
    Output(json).table(replica_rows(shard), f"replicas of {shard.instance}", "none")


def _address(at: str) -> Address:
    host, _, port = at.rpartition(":")
    if not host or not port.isdigit():
        raise LarderError(f"{at!r} is not HOST:PORT", "you", "larder shard replica add --help")
    return Address(host, int(port))
