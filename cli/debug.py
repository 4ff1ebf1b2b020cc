"""larder debug: why a number is what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output, text
from sharding.errors import LarderError

if TYPE_CHECKING:
    from orchestration.debug import Explanation
    from sharding.model import Shard

READS = {
    "facet": "its rows of this facet",
    "slice": "its rows by the model's slice",
    "twin": "what it makes of this facet's records",
    "whole": "looked up: read whole",
}
NAMED = {"location_id": "location", "employee_id": "employee", "item_id": "item"}
UPRIGHT = 3  # rows of a result that are shown as columns, as results are wide
WIDE = 12  # columns of a parent's row that still fit on a screen


def debug(
    model: Annotated[str, typer.Argument(help="Name of a model that has a facet, such as sum_sales_day.")],
    facet: Annotated[
        list[str],
        typer.Option(help="column=value of every facet column, with commas or repeated. Ids may be business/name."),
    ],
    shard: Annotated[str | None, typer.Option(help="Where to look; an id in the facet says it too.")] = None,
    business: Annotated[str | None, typer.Option(help="Whose facet it is; a plain name is looked up in it.")] = None,
    limit: Annotated[int, typer.Option(help="Rows to show of each parent and difference.", min=1)] = 5,
    timeout: Annotated[float, typer.Option(help="Seconds before a query is ended; 0: never.")] = 60,
    json: JsonFlag = False,
) -> None:
    """One part of a model beside what its SELECT says of it now: parents' rows, result, differences. Only reads.

    Exit code 5 where the table holds something else than the SELECT gives.
    """
    from orchestration.debug import Explainer
    from orchestration.project import project_dir
    from orchestration.transform import target_of
    from sharding.settings import project_root

    context, out = get_context(), Output(json)
    context.catalogue.shards()  # an installation that does not run says so before dbt is imported for nothing
    given = _parsed(facet)
    home = context.settings.home / "dbt"
    explainer = Explainer(project_dir(project_root(), home), home)
    explainer.check(model, given)
    place, values = _placed(given, shard, business)
    explained = explainer.explain(target_of(place), model, values, limit, timeout)
    if json:
        out.document(_document(explained))
    else:
        _show(explained, out, limit)
    if not explained.compared.equal:
        raise typer.Exit(5)


def _parsed(facet: Sequence[str]) -> dict[str, str]:
    """`a=1,b=2` and `a=1`, `b=2` as {a: 1, b: 2}; a comma in a value is kept where no `=` follows it."""
    parts: list[str] = []
    for word in (word for option in facet for word in option.split(",")):
        if "=" in word or not parts:
            parts.append(word)
        else:
            parts[-1] += "," + word
    pairs = [part.partition("=") for part in parts]
    if wrong := [column for column, equals, value in pairs if not (equals and value)]:
        raise LarderError(f"{wrong[0]!r} has no value: write column=value", "you", "larder debug --help")
    return {column.strip(): value.strip() for column, _, value in pairs}


def _placed(facet: Mapping[str, str], shard: str | None, business: str | None) -> tuple[Shard, dict[str, str]]:
    """The shard, and the facet with ids in place of names."""
    context = get_context()
    catalogue = context.catalogue
    values, owner = dict(facet), catalogue.business(business).id if business else None
    for column, value in facet.items():
        if not (column in NAMED or column == "source_id") or value.lstrip("-").isdigit():
            continue
        name, slash, rest = value.partition("/")
        if slash:
            owner = catalogue.business(name).id
        elif owner is None:
            command = f"larder debug … --facet '{column}=<business>/{value}'"
            raise LarderError(f"whose {column} is {value!r}?", "you", command)
        values[column] = str(_id_of(column, owner, rest if slash else value))
    if shard:
        return catalogue.shard(shard), values
    if owner is not None:
        return context.router.shard_of(owner), values
    ids = [int(v) for c, v in values.items() if c.endswith("_id") and v.lstrip("-").isdigit()]
    if ids:
        return context.router.for_id(ids[0]), values
    shards = catalogue.shards()
    if len(shards) != 1:
        raise LarderError("this facet may be on any shard", "you", f"larder debug … --shard {shards[0].name}")
    return shards[0], values


def _id_of(column: str, owner: int, name: str) -> int:
    from sharding import maps

    context = get_context()
    if column == "source_id":
        return context.catalogue.source(f"{context.catalogue.business(owner).name}/{name}").id
    entity: Any = NAMED[column]
    with context.router.pinned(owner) as connection, connection.cursor() as cursor:
        return maps.find_target(cursor, context.router.shard_of(owner), entity, owner, name)


def _document(found: Explanation) -> dict[str, Any]:
    compared = found.compared
    return {
        "model": found.model,
        "shard": found.shard,
        "facet": dict(found.facet),
        "mark": {"seen": found.seen, "marked_at": found.marked_at, "whole_next_time": found.due},
        "changes": [dict(row) for row in found.changes],
        "news": {"parents": found.news, "touch_this_facet": found.touched},
        "upstream_not_built": found.behind,
        "parents": [
            {
                "name": parent.name,
                "reads": parent.reads,
                "restriction": parent.restriction,
                "count": parent.count,
                "rows": [dict(row) for row in parent.rows],
            }
            for parent in found.parents
        ],
        "equal": compared.equal,
        "computed": [dict(row) for row in compared.rows],
        "rows_in_table": compared.held,
        "missing": [dict(row) for row in compared.missing],
        "surplus": [dict(row) for row in compared.surplus],
        "differing": [
            {"key": dict(one.key), "column": one.column, "table": one.table, "computed": one.computed}
            for one in compared.differing
        ],
        "facet_local": found.local,
    }


def _show(found: Explanation, out: Output, limit: int) -> None:
    facet = ", ".join(f"{column} = {text(value)}" for column, value in found.facet.items())
    out.say(f"{found.model} on {found.shard}, {facet}")
    out.say(f"  mark: {f'snapshot {found.seen}, {text(found.marked_at)}' if found.seen else 'none'}")
    if found.due:
        out.say(f"  the next build computes it whole: {found.due}")
    if found.news:
        touch = "which touches this facet" if found.touched else "which does not touch this facet"
        out.say(f"  not built yet: news in {', '.join(found.news)}, {touch}")
    if found.behind:
        out.say(f"  upstream not built yet: {', '.join(found.behind)}")
    out.table(found.changes, "Why it last changed", empty="no build changed it")
    out.table(
        [{"parent": p.name, "what a build reads of it": READS[p.reads], "rows": p.count} for p in found.parents],
        "Parents",
        empty="none",
    )
    for parent in found.parents:
        if parent.rows:
            _rows(out, parent.rows, f"{parent.name}: {len(parent.rows)} of {parent.count} rows", found.facet)
    _result(found, out, limit)


def _result(found: Explanation, out: Output, limit: int) -> None:
    compared = found.compared
    count = len(compared.rows)
    rows = f"{count} row{'s' * (count != 1)}"
    if 0 < count <= UPRIGHT:
        lines = [
            {"column": column, **{f"row {n}": text(row[column]) for n, row in enumerate(compared.rows, 1)}}
            for column in compared.rows[0]
        ]
        out.say("What its SELECT gives now")
        out.table(lines)
    else:
        _rows(out, compared.rows[:limit], f"What its SELECT gives now: {rows}", found.facet)
    if compared.equal:
        out.say(f"equal: the table holds what its SELECT gives now, {rows}")
    else:
        out.say(f"different: its SELECT gives {rows} now, the table holds {compared.held}")
        _rows(out, compared.missing[:limit], f"Missing in the table: {len(compared.missing)}", {})
        _rows(out, compared.surplus[:limit], f"Only in the table: {len(compared.surplus)}", {})
        differing = [
            {
                **{column: value for column, value in one.key.items() if column not in found.facet},
                "column": one.column,
                "table": one.table,
                "SELECT now": one.computed,
            }
            for one in compared.differing[:limit]
        ]
        if differing:
            out.say(f"Other values: {len(compared.differing)}")
            out.table(differing)
        out.say(_advice(found))
    if found.local is False:
        out.say(
            "not facet-local: over its parents' rows of this facet alone the SELECT gives something else than over all"
            " of them; see docs/changed-facets.md"
        )


def _advice(found: Explanation) -> str:
    build = f"larder build --shard {found.shard}"
    if found.due or found.touched:
        return f"it has yet to be built; next: {build}"
    return (
        "no change of a parent explains it: the model depends on something that no feed tells of, or the table was"
        f" written by hand; next: {build} --select {found.model} --full-refresh"
    )


def _rows(out: Output, rows: Sequence[Mapping[str, Any]], title: str, facet: Mapping[str, Any]) -> None:
    """Rows for people: without the facet, which the heading says, and columns that are empty in all of them."""
    if rows:
        told = [c for c in rows[0] if c not in facet and any(row[c] is not None for row in rows)]
        left = len(told) - WIDE
        out.say(title + (f" (--json has {left} more columns)" if left > 0 else ""))  # a table would fold it
        out.table(rows, columns=told[:WIDE])
