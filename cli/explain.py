"""`larder explain`: from a number back to its receipts."""

from __future__ import annotations

from contextlib import closing
from datetime import date as Date
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

if TYPE_CHECKING:
    from ingestion.blocks import Manifest
    from orchestration.explain_account import Account, Amounts, Part

SHORT = 12  # lines of a list that are shown to people unless --all


def explain(
    model: Annotated[str, typer.Argument(help="A summary of a place and a day, such as sum_sales_day.")],
    date: Annotated[str, typer.Option(help="The business date; of a week or month its first day.")],
    location: Annotated[str | None, typer.Option(help="business/name of a location, or its id.")] = None,
    business: Annotated[
        str | None, typer.Option(help="Of a model that is about a business; also whose location.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Which number; default: net sales, labour cost or spend.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every receipt, not the largest alone.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds before a query is ended; 0: never.")] = 120,
    json: JsonFlag = False,
) -> None:
    """What a number is made of (receipts, their versions, blocks and requests), and what changed it when. Only reads.

    Exit code 5 where what is listed does not add up to the number.
    """
    from orchestration.explain import Accountant
    from orchestration.project import project_dir
    from orchestration.transform import target_of
    from sharding.settings import project_root

    context, out = get_context(), Output(json)
    try:
        day = Date.fromisoformat(date)
    except ValueError as error:
        raise LarderError(f"{date!r} is no date", "you", "larder explain … --date 2024-04-02") from error
    owner, name, identity = _placed(location, business)
    shard = context.router.shard_of(owner)
    home = context.settings.home / "dbt"
    accountant, target = Accountant(project_dir(project_root(), home), home), target_of(shard)
    where = accountant.place_column(target, model)
    if where == "location_id" and identity is None:
        raise LarderError(f"{model} is about a location", "you", f"larder explain {model} … --location business/name")
    value = identity if where == "location_id" and identity is not None else owner
    told = accountant.account(target, model, (where, value), day, column, timeout)
    manifests = _manifests(told)
    if json:
        out.document(_document(told, manifests))
    else:
        out.say(f"{told.model} of {name if where == 'location_id' else business or name}, {day}")
        _show(told, manifests, out, all_)
    if not told.adds_up:
        raise typer.Exit(5)


def _placed(location: str | None, business: str | None) -> tuple[int, str, int | None]:
    """The business, what to call the place, and the location's id."""
    from sharding import maps
    from sharding.ids import business_of

    context = get_context()
    if location is None:
        if business is None:
            raise LarderError("of which location or business?", "you", "larder explain … --location business/name")
        found = context.catalogue.business(business)
        return found.id, found.name, None
    if location.lstrip("-").isdigit():
        return business_of(int(location)), location, int(location)
    owner, slash, rest = location.partition("/")
    if not slash and business is None:
        raise LarderError(f"whose location is {location!r}?", "you", f"larder explain … --location business/{location}")
    at = context.catalogue.business(owner if slash else str(business))
    with context.router.pinned(at.id) as connection, connection.cursor() as cursor:
        name = rest if slash else location
        identity = maps.find_target(cursor, context.router.shard_of(at.id), "location", at.id, name)
    return at.id, f"{at.name}/{name}", identity


def _manifests(told: Account) -> dict[UUID, Manifest]:
    """The blocks behind the number, as far as the index has them."""
    from ingestion import index

    wanted = {v.block_id for part in told.parts for v in part.versions if v.block_id}
    wanted |= {change.block_id for change in told.history or () if change.block_id}
    with closing(index.connect(get_context().catalogue.dsn)) as control:
        found = {block: index.find_block(control, block) for block in sorted(wanted)}
    return {block: manifest for block, manifest in found.items() if manifest is not None}


def _show(told: Account, manifests: dict[UUID, Manifest], out: Output, every: bool) -> None:
    from orchestration.explain_account import said

    sources = _source_names()
    out.say(f"{told.column}: {said(told.number)}")
    out.say("")
    lines = sorted(told.parts, key=lambda part: -max((abs(a) for a in part.amounts.values()), default=0))
    counted = [part for part in lines if part.amounts]
    shown = counted if every else counted[:SHORT]
    out.table([_line(part, manifests, sources) for part in shown], "What it is made of", empty="no record")
    if len(counted) > len(shown):
        rest = _total(counted[len(shown) :])
        out.say(f"and {len(counted) - len(shown)} more, together {said(rest)} (--all)")
    if told.apart:
        out.say(f"from no single record: {said(told.apart)}")
    verdict = "which is the number" if told.adds_up else f"but the number is {said(told.number)}"
    out.say(f"{len(counted)} parts, together {said(_total(counted, told.apart))}: {verdict}")
    if not told.adds_up:
        out.say("not every number is a sum (a share, a count of different people), or it is still to be built;")
        out.say(f"next: larder debug {told.model} --facet …")
    _show_history(told, out, every)
    for decision in told.decisions:
        out.say(f"{decision.at:%Y-%m-%d %H:%M} {decision.by} decided: {decision.what}")
    _show_blocks(told, manifests, out)


def _show_history(told: Account, out: Output, every: bool) -> None:
    from orchestration.explain_account import said

    out.say("")
    if told.history is None:
        out.say(f"What changed it when cannot be told: {told.why_not}")
        return
    rows = [
        {
            "arrived (UTC)": f"{change.at:%Y-%m-%d %H:%M:%S}",
            "change": said(change.amounts),
            "of": f"{_kind(change.fact)} {change.records[0][1]}"
            if len(change.records) == 1
            else f"{len(change.records)} × {_kind(change.fact)}",
            "came to": said(change.after),
            "block": str(change.block_id or ""),
        }
        for change in told.history
    ]
    cut = rows if every else rows[-3 * SHORT :]
    out.table(cut, "What changed it when", empty="nothing")
    if len(rows) > len(cut):
        out.say(f"{len(rows) - len(cut)} earlier changes are not shown (--all)")
    if told.why_not:
        out.say(told.why_not)


def _show_blocks(told: Account, manifests: dict[UUID, Manifest], out: Output) -> None:
    out.say("")
    rows = [
        {
            "block": str(block),
            "stream": f"{manifest.integration}.{manifest.stream}",
            "read (UTC)": f"{manifest.observed_at:%Y-%m-%d %H:%M:%S}",
            "requests": manifest.http.requests,
            "first request": manifest.http.first_url,
        }
        for block, manifest in sorted(manifests.items())
    ]
    out.table(rows, "Blocks and requests it was received by", empty="none is in the index")


def _line(part: Part, manifests: dict[UUID, Manifest], sources: dict[int, str]) -> dict[str, Any]:
    from orchestration.explain_account import said

    versions = sorted((v for v in part.versions if v.key == (part.source_id, part.record)), key=lambda v: v.position)
    last = versions[-1] if versions else None
    return {
        "amount": said(part.amounts),
        "of": _kind(part.fact),
        "receipt": part.record,
        "source": sources.get(part.source_id, str(part.source_id)),
        "versions": len(versions),
        "last read (UTC)": f"{last.observed_at:%Y-%m-%d %H:%M:%S}" if last else "",
        "block": str(last.block_id) if last else "",
    }


def _document(told: Account, manifests: dict[UUID, Manifest]) -> dict[str, Any]:
    return {
        "model": told.model,
        "column": told.column,
        "number": told.number,
        "adds_up": told.adds_up,
        "from_no_record": told.apart,
        "parts": [
            {
                "fact": part.fact,
                "source_id": str(part.source_id),
                "record": part.record,
                "amounts": part.amounts,
                "versions": [
                    {
                        "version_id": str(v.version_id),
                        "stream": f"{v.stream[0].removeprefix('raw_')}.{v.stream[1]}",
                        "record": v.key[1],
                        "deleted": v.is_deletion,
                        "observed_at": v.observed_at,
                        "arrived_at": v.arrived,
                        "block": str(v.block_id) if v.block_id else None,
                    }
                    for v in sorted(part.versions, key=lambda v: (v.arrived, v.version_id))
                ],
            }
            for part in told.parts
        ],
        "history": None
        if told.history is None
        else [
            {
                "arrived_at": change.at,
                "block": str(change.block_id) if change.block_id else None,
                "fact": change.fact,
                "amounts": change.amounts,
                "records": [key for _, key in change.records],
                "after": change.after,
            }
            for change in told.history
        ],
        "why_no_history": told.why_not,
        "decisions": [{"at": d.at, "by": d.by, "what": d.what} for d in told.decisions],
        "blocks": {
            str(block): {
                "stream": f"{manifest.integration}.{manifest.stream}",
                "observed_at": manifest.observed_at,
                "window": manifest.window.model_dump(),
                "http": manifest.http.model_dump(),
            }
            for block, manifest in manifests.items()
        },
    }


def _kind(fact: str) -> str:
    return fact.removeprefix("fct_").replace("_", " ")


def _source_names() -> dict[int, str]:
    return {source.id: source.label for source in get_context().catalogue.sources()}


def _total(parts: list[Part], apart: Amounts | None = None) -> Amounts:
    from orchestration.explain_account import total

    return total([*(part.amounts for part in parts), apart or {}])
