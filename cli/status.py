"""`larder status`: one page on how the installation stands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import Context, get_context
from cli.output import JsonFlag, Output
from sharding import instances
from sharding.errors import LarderError

if TYPE_CHECKING:
    from orchestration.freshness import Freshness, State
    from orchestration.overview import Overview, ShardState
    from sharding.catalogue import Catalogue

LIVE_SHARDS = 16
"""So many are looked at before they are shown; of more, the last look is shown with its time."""
SHOWN = 10
_BAD: tuple[State, ...] = ("late", "very_late", "wrong")


def status(
    business: Annotated[str | None, typer.Option(help="Only this business, and the shard where it lives.")] = None,
    json: JsonFlag = False,
) -> None:
    """What runs, how fresh the data are, and what needs somebody. The worst few one by one, the rest counted."""
    context, out = get_context(), Output(json)
    servers = [asdict(instances.status(name, context.settings)) for name in instances.known(context.settings)]
    overview, waiting, of = _seen(context, business)
    if json:
        out.document(_document(context, servers, overview, waiting, of))
        return
    out.say(f"home: {context.settings.home}")
    out.table(servers, "instances", "none yet; next: larder up")
    if overview is None:
        out.say("\nshards: unknown while the control database is down; next: larder up")
        return
    shown = sorted(overview.shards, key=_gravity)[:SHOWN]
    out.say("")
    out.table([_shard_row(one, overview) for one in shown], _titled("shards", len(shown), len(overview.shards)))
    out.say("")
    out.table(_freshness_rows(overview), _fresh_title(overview), "no sources; next: larder source add")
    told = [one for one in overview.fresh.worst if business is not None or one.state in _BAD]
    if told:
        out.say("")
        total = overview.fresh.sources(*(() if business is not None else _BAD))
        title = "late, the latest first" if business is None else "its sources"
        out.table([_source_row(one) for one in told], _titled(title, len(told), total))
    if waiting:
        out.say("")
        out.table(waiting, _titled("sources that are not read now", len(waiting), of))
    out.say("")
    for line in _lines(overview):
        out.say(line)


def _seen(context: Context, business: str | None) -> tuple[Overview | None, list[dict[str, Any]], int]:
    """The installation, sources that are not read now, and how many these are; None where it does not run."""
    try:
        catalogue = context.catalogue
    except LarderError as error:
        if error.turn != "you":
            raise
        return None, [], 0
    from ingestion import index
    from orchestration import samples
    from orchestration.overview import look, troubled

    now = context.clock()
    number = None if business is None else catalogue.business(business).id
    if len(catalogue.shards()) <= LIVE_SHARDS:
        samples.take(catalogue)
    overview = look(catalogue, context.store, now, context.settings.slow_request, business=number, worst=SHOWN)
    with closing(index.connect(catalogue.dsn)) as conn:
        ids, of = troubled(conn, now, number, SHOWN)
    return overview, _waiting(catalogue, now, ids) if ids else [], of


def _waiting(catalogue: Catalogue, now: datetime, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Sources that are not read now, with the reason and what helps."""
    from orchestration.standing import standings

    return [
        {"source": one.source, "state": one.state, "until": one.next_due, "because": one.because,
         "next": one.next_command}
        for one in standings(catalogue, now, catalogue.sources_of(ids))
    ]  # fmt: skip


def _gravity(one: ShardState) -> tuple[Any, ...]:
    """The shards that need somebody come first."""
    return (one.up is not False, one.cycle != "failed", one.behind_since is None, -one.blocks, -(one.seconds or 0.0))


def _shard_row(one: ShardState, overview: Overview) -> dict[str, Any]:
    return {
        "name": one.shard,
        "instance": one.instance,
        "state": one.state,
        "answers": "not looked at" if one.up is None else f"{one.milliseconds:.0f} ms" if one.up else one.error,
        "businesses": one.businesses,
        "last cycle": _cycle(one, overview),
        "s": None if one.seconds is None else round(one.seconds, 1),
        "waiting": f"{one.blocks:,} blocks, {_bytes(one.bytes)}" if one.blocks else "nothing",
        "quarantined": sum(one.quarantined.values()),
    }


def _cycle(one: ShardState, overview: Overview) -> str:
    if one.ended_at is None:
        return "none yet"
    said = f"{one.cycle} {_ago(overview.at - one.ended_at)} ago"
    if one.cycle == "failed":
        said += f": {one.reason}"
    if one.behind_since is not None:
        said += f"; models behind since {one.behind_since:%Y-%m-%d %H:%M}"
    return said


def _fresh_title(overview: Overview) -> str:
    fresh = overview.fresh
    return f"freshness: {fresh.late_businesses:,} of {fresh.businesses:,} businesses have data that are late"


def _freshness_rows(overview: Overview) -> list[dict[str, Any]]:
    """A line an integration."""
    from orchestration.freshness import STATES

    rows: dict[str, dict[str, Any]] = {}
    for count in overview.fresh.counts:
        row = rows.setdefault(
            count.integration, {"integration": count.integration, "kind": count.kind, **dict.fromkeys(STATES, 0)}
        )
        row[count.state] = count.sources
        if count.oldest is not None and count.state != "paused":
            row["oldest"] = max(row.get("oldest", timedelta()), count.oldest)
    for row in rows.values():
        row["oldest"] = None if "oldest" not in row else _ago(row["oldest"])
    return list(rows.values())


def _source_row(one: Freshness) -> dict[str, Any]:
    return {
        "source": one.source,
        "state": one.state.replace("_", " "),
        "stream": one.stream,
        "data through": f"{one.through:%Y-%m-%d %H:%M}" if one.through else "never read to the end",
        "age": None if one.age is None else _ago(one.age),
        "may be": None if one.allowed is None else _ago(one.allowed),
        "objective": _ago(one.objective),
    }


def _lines(overview: Overview) -> list[str]:
    """What is no table: a line each, and only where there is something."""
    lines = []
    missing = {one.statements for one in overview.shards if one.statements}
    for name, breaker in overview.breakers.items():
        lines.append(f"breaker of {name}: open until {breaker.probe_at:%Y-%m-%d %H:%M}: {breaker.cause}")
    if overview.quarantined:
        told = ", ".join(f"{name} {n:,}" for name, n in overview.quarantined.items())
        lines.append(f"quarantine: {told}; next: larder quarantine list")
    if overview.failing_blocks:
        lines.append(
            f"blocks that cannot be loaded: {overview.failing_blocks:,}; next: larder blocks list --state failed"
        )
    if overview.moves:
        told = ", ".join(f"{state} {n:,}" for state, n in overview.moves.items())
        lines.append(f"moves: {told}; next: larder business moves")
    if overview.uploads is not None and overview.uploads.waiting:
        waiting = overview.uploads
        lines.append(f"copies in the object store: {waiting.waiting:,} blocks wait, {_bytes(waiting.bytes)}"
                     + (f": {waiting.error}" if waiting.error else ""))  # fmt: skip
    lines += [f"slow: {reader.said}; next: larder slow" for reader in overview.slow[:SHOWN]]
    lines += sorted(missing)
    return lines


def _document(
    context: Context, servers: list[dict[str, Any]], overview: Overview | None, waiting: Sequence[Any], of: int
) -> dict[str, Any]:
    document: dict[str, Any] = {"home": str(context.settings.home), "instances": servers, "shards": []}
    if overview is None:
        return document
    from orchestration.freshness import as_row

    return document | {
        "now": overview.now,
        "shards": [{"name": one.shard, "up": one.up, **asdict(one)} for one in overview.shards],
        "freshness": {
            "businesses": overview.fresh.businesses,
            "late_businesses": overview.fresh.late_businesses,
            "counts": [asdict(count) for count in overview.fresh.counts],
            "worst": [as_row(one) for one in overview.fresh.worst],
        },
        "sources_not_read": waiting,
        "sources_not_read_in_all": of,
        "breakers": {name: asdict(one) for name, one in overview.breakers.items()},
        "backing_off": overview.backing_off,
        "quarantined": overview.quarantined,
        "failing_blocks": overview.failing_blocks,
        "moves": overview.moves,
        "uploads": None if overview.uploads is None else asdict(overview.uploads),
        "slow": [asdict(reader) for reader in overview.slow],
    }


def _titled(title: str, shown: int, total: int) -> str:
    return title if shown == total else f"{title} ({shown} of {total:,})"


def _ago(span: timedelta) -> str:
    """A span as people say it: the two largest units."""
    seconds = max(0, int(span.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds % 86_400 // 3_600, "h"), (seconds % 3_600 // 60, "min")]
    said = [f"{n} {unit}" for n, unit in parts if n]
    return " ".join(said[:2]) or f"{seconds} s"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
