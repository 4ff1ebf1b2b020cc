"""larder shard: databases that businesses live on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from cli import many
from cli.context import get_context
from cli.output import JsonFlag, Output
from cli.replica import app as replica_app
from cli.replica import replica_rows
from sharding.access.roles import READER
from sharding.bootstrap import ADMINISTRATOR
from sharding.errors import LarderError
from sharding.migrate import Locks, shard_drift
from sharding.migrating import fleet
from sharding.migrating.health import require_healthy
from sharding.model import Instance, Shard
from sharding.placing import make_shard
from sharding.provision import allow_reader_login
from sharding.query import read_only

app = typer.Typer(no_args_is_help=True)
app.command()(many.split)
app.command()(many.rebalance)
app.add_typer(replica_app, name="replica")


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
    username: Annotated[str, typer.Option(help="A role there as docs/access.md has it; no superuser.")] = ADMINISTRATOR,
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
    database = database or f"larder_{name}"
    shard = make_shard(catalogue, context.settings, name, instance, database, namespace, out.say)
    if json:
        out.document(shard_row(shard))


@app.command()
def show(name: str, json: JsonFlag = False) -> None:
    """One shard: where it is, its schema version against this checkout, its size, its replicas, and who lives there."""
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
        "replicas": replica_rows(shard),
        "businesses": ", ".join(business.name for business in context.catalogue.businesses(name)),
    }
    if json:
        out.document(told)
        return
    for row in told["replicas"]:
        behind = "" if row["lag_seconds"] is None else f", {row['lag_seconds']} s and {row['lag_bytes']} bytes behind"
        told[f"replica {row['replica']}"] = f"{row['state']}{behind} {row['message']}".strip()
    del told["replicas"]
    out.table([{"what": what, "is": value} for what, value in told.items()], empty="")


@app.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Say what each shard lacks, and change nothing.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="This shard; may be repeated. Default: all.")] = None,
    canary: Annotated[
        str | None, typer.Option(help="The shard that goes first. Default: the one with the fewest businesses.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Shards at once, after the first.")] = fleet.WORKERS,
    lock_timeout: Annotated[float, typer.Option(help="Seconds to wait for a lock, with readers behind.")] = 0.5,
    patience: Annotated[float, typer.Option(help="Seconds to try a shard whose tables stay locked.")] = 60,
    build: Annotated[bool, typer.Option(help="Also build the first shard's models before the others follow.")] = True,
    json: JsonFlag = False,
) -> None:
    """Bring shards to this checkout's schema: one first, then the others. Killed, it goes on when run again."""
    context, out = get_context(), Output(json)
    shards = [shard for shard in context.catalogue.shards() if only is None or shard.name in only]
    for name in only or []:
        context.catalogue.shard(name)
    if plan:
        rows = [_standing_row(one) for one in fleet.plan(shards)]
        out.table(rows, empty="no shards; next: larder up")
        return
    done = fleet.migrate(
        context.catalogue, shards, canary=canary, workers=parallel, locks=Locks(lock_timeout, patience),
        check=_check_with_build if build else require_healthy, say=out.say,
    )  # fmt: skip
    rows = [{"shard": one.shard, "state": one.state, "applied": ", ".join(one.revisions),
             "seconds": round(one.seconds, 2), "error": one.error} for one in done]  # fmt: skip
    out.table(rows, empty="no shards; next: larder up")
    if error := fleet.refused(done):
        out.fail(error)


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


def _check_with_build(shard: Shard) -> None:
    """The shard is healthy, and its models, if it has any yet, still build."""
    require_healthy(shard)
    [(built,)] = read_only(shard, "select exists (select from {raw}.build_mark)").rows
    if built:
        from orchestration.cycle import Installation
        from orchestration.moves import build_shard

        context = get_context()
        build_shard(Installation.of(context.settings, context.catalogue), shard)


def _standing_row(one: fleet.Standing) -> dict[str, Any]:
    drift = one.drift
    told = {"missing": drift.missing, "unknown": drift.unknown, "edited": drift.edited}
    return {"shard": one.shard, "at": one.at, **{k: ", ".join(v) for k, v in told.items()}, "error": one.error}


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
