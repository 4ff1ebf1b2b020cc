"""larder shard: databases that businesses live on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding import instances
from sharding.errors import LarderError
from sharding.migrate import shard_drift
from sharding.model import Instance, Shard
from sharding.provision import READER, allow_reader_login, provision_shard
from sharding.query import read_only

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """Shards, where they are, and how many businesses live on each."""
    catalogue = get_context().catalogue
    businesses = [business.shard for business in catalogue.businesses()]
    rows = [{**shard_row(shard), "businesses": businesses.count(shard.name)} for shard in catalogue.shards()]
    Output(json).table(rows, empty="no shards; next: larder up")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _; businesses refer to it.")],
    instance: Annotated[
        str, typer.Option(help="An instance of the catalogue, or a new name: then an embedded one is made and started.")
    ] = "",
    database: Annotated[str, typer.Option(help="Default: larder_<name>.")] = "",
    namespace: Annotated[str, typer.Option(help="Prefix of the shard's schemas, where shards share a database.")] = "",
    host: Annotated[str, typer.Option(help="Of a server that runs elsewhere, such as RDS.")] = "",
    port: Annotated[int, typer.Option(help="Of that server.")] = 5432,
    username: Annotated[str, typer.Option(help="A login there that may create databases and roles.")] = "larder",
    secret: Annotated[str, typer.Option(help="Where its password is: env:NAME or file:PATH.")] = "",
    json: JsonFlag = False,
) -> None:
    """Add a shard: its instance if it is new, its database and its schemas. Repeating it finishes what was begun."""
    context = get_context()
    catalogue, out = context.catalogue, Output(json)
    instance = instance or f"pg_{name.removeprefix('shard_')}"
    if host:
        if not secret:
            raise LarderError(
                "a server elsewhere needs --secret env:NAME or file:PATH", "you", "larder shard add --help"
            )
        catalogue.add_instance(Instance(instance, "external", host, port, username, secret))
    elif instance not in {known.name for known in catalogue.instances()}:
        catalogue.add_instance(instances.start(instance, context.settings))
        out.say(f"{instance}: made and started")
    present = {shard.name: shard for shard in catalogue.shards()}
    shard = present.get(name) or catalogue.add_shard(name, instance, database or f"larder_{name}", namespace)
    applied = provision_shard(shard)
    out.say(f"{name}: {'schema version ' + applied[-1] if applied else 'is there already'}")
    if json:
        out.document(shard_row(shard))


@app.command()
def show(name: str, json: JsonFlag = False) -> None:
    """One shard: where it is, its schema version against this checkout, its size, and who lives there."""
    context, out = get_context(), Output(json)
    shard = context.catalogue.shard(name)
    drift = shard_drift(shard)
    [(size,)] = read_only(shard, "select pg_database_size(current_database())").rows
    told = {
        **shard_row(shard),
        "schema": "as this checkout"
        if not drift
        else f"missing {', '.join(drift.missing) or 'nothing'}"
        f", unknown {', '.join(drift.unknown) or 'none'}, edited {', '.join(drift.edited) or 'none'}",
        "database_mb": round(size / 2**20, 1),
        "businesses": ", ".join(business.name for business in context.catalogue.businesses(name)),
    }
    if json:
        out.document(told)
        return
    out.table([{"what": what, "is": value} for what, value in told.items()], empty="")


@app.command()
def drain(name: str, json: JsonFlag = False) -> None:
    """Close a shard for new businesses; those it has stay until they are moved. `open` undoes it."""
    _set_state(name, "draining", "larder business move NAME --to SHARD, then larder shard retire " + name, json)


@app.command("open")
def open_(name: str, json: JsonFlag = False) -> None:
    """Open a draining or retired shard again."""
    _set_state(name, "active", f"larder business add NAME --shard {name}", json)


@app.command()
def retire(name: str, json: JsonFlag = False) -> None:
    """Take an empty shard out of every cycle; its database is left alone. Refused while a business lives there."""
    _set_state(name, "retired", f"larder shard open {name} undoes it", json)


def _set_state(name: str, state: Literal["active", "draining", "retired"], following: str, json: bool) -> None:
    shard, out = get_context().catalogue.set_shard_state(name, state), Output(json)
    if json:
        out.document(shard_row(shard))
        return
    out.say(f"{name}: {shard.state}")
    out.say(f"next: {following}")


@app.command()
def reader(
    name: str,
    password: Annotated[str, typer.Option(help="env:NAME or file:PATH; default: a password drawn for this home.")] = "",
) -> None:
    """Print the URL a BI tool connects with: the role `larder_reader`, which reads the schema `bi` and nothing else."""
    from sharding.credentials import password_of, read_secret

    context = get_context()
    shard = context.catalogue.shard(name)
    own = context.settings.secrets_dir / f"{shard.instance}.{READER}.password"
    secret = read_secret(password, context.settings.home) if password else password_of(own)
    Output().say(allow_reader_login(shard, secret))


def shard_row(shard: Shard) -> dict[str, Any]:
    """A shard as commands show it: everything but the password."""
    fields = ("name", "instance", "host", "port", "database", "namespace", "state")
    return {field: getattr(shard, field) for field in fields}
