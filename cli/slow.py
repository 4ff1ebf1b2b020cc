"""`larder slow`: who waits for the databases, and for what."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import EXIT_CODES, JsonFlag, Output

if TYPE_CHECKING:
    from sharding.errors import LarderError
    from sharding.model import Shard


def slow(
    business: Annotated[str | None, typer.Option(help="Only what this business's role asked.")] = None,
    shard: Annotated[str | None, typer.Option(help="Only this shard.")] = None,
    statements: Annotated[int, typer.Option(help="How many of the slowest statements are shown a shard.")] = 5,
    json: JsonFlag = False,
) -> None:
    """What readers asked of the shards since their statistics began, and what takes longer than expected."""
    import psycopg2

    from ingestion import index
    from orchestration import samples
    from orchestration.slow import findings
    from sharding import statements as kept
    from sharding.access.tenants import list_access
    from sharding.errors import LarderError

    context, out = get_context(), Output(json)
    catalogue = context.catalogue
    owners = {access.role: access.business for access in list_access(catalogue)}
    role = None
    if business is not None:
        name = catalogue.business(business).name
        role = next((role for role, owner in owners.items() if owner == name), None)
        if role is None:
            raise LarderError(f"{name} has no role of its own", "you", f"larder access grant {name}")
        shard = catalogue.business(name).shard
    shards = [catalogue.shard(shard)] if shard else catalogue.shards()
    asked: list[dict[str, Any]] = []
    slowest: list[dict[str, Any]] = []
    failed: list[LarderError] = []
    for databases in _by_database(shards):
        one = databases[0]
        try:
            asked += [
                {"shard": one.name, "reader": use.reader, "business": owners.get(use.reader), "calls": use.calls,
                 "mean ms": round(use.total_ms / max(1, use.calls), 1), "longest ms": round(use.max_ms, 1),
                 "total s": round(use.total_ms / 1000, 1), "rows": use.rows}
                for use in sorted(kept.usage(one, [one.database]), key=lambda use: -use.total_ms)
                if role in (None, use.reader)
            ]  # fmt: skip
            slowest += [
                {"shard": one.name, "reader": found.reader, "business": owners.get(found.reader), "calls": found.calls,
                 "mean ms": round(found.mean_ms, 1), "longest ms": round(found.max_ms, 1), "statement": found.text}
                for found in kept.slowest(one, one.database, role, statements)
            ]  # fmt: skip
        except LarderError as error:
            failed.append(error)
        except psycopg2.Error as error:
            failed.append(LarderError(f"{one.name}: {' '.join(str(error).split())}", "config", "larder status"))
    samples.take(catalogue)
    with closing(index.connect(catalogue.dsn)) as conn:
        found = findings(conn, context.settings.slow_request)
    longer = [
        {"shard": one.shard, "reader": one.reader, "business": one.business, "calls": one.calls,
         "mean ms": round(one.mean * 1000, 1),
         "usually ms": None if one.usual is None else round(one.usual * 1000, 1),
         "because": f"over {context.settings.slow_request:g} s" if one.because == "slow" else "slower than it was"}
        for one in found
        if role in (None, one.reader) and (shard is None or one.shard == shard)
    ]  # fmt: skip
    if json:
        out.document({"readers": asked, "statements": slowest, "longer_than_expected": longer,
                      "failed": [fault.cause for fault in failed]})  # fmt: skip
    else:
        out.table(asked, "readers", "no requests yet")
        out.say("")
        out.table(slowest, "slowest statements", "none")
        out.say("")
        out.table(longer, "longer than expected in the last half hour", "none")
        for fault in failed:
            out.say(f"{fault.cause}\n  next: {fault.next_command}")
    if failed:
        raise typer.Exit(EXIT_CODES[failed[0].turn])


def _by_database(shards: list[Shard]) -> list[list[Shard]]:
    """Shards of one database together: their statements cannot be told apart."""
    found: dict[tuple[str, str], list[Shard]] = {}
    for shard in shards:
        found.setdefault((shard.instance, shard.database), []).append(shard)
    return list(found.values())
