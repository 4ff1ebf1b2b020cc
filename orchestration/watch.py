"""Freshness and slow requests as asset checks, told once a minute by Dagster's daemon, whether or not a cycle runs.

A sensor and not a schedule: it records checks without a run, which would cost 3.5 CPU-seconds each time. It tells what
changed, and once an hour what did not. The check of a vendor says which sources are late: a check for each of a hundred
thousand businesses nobody could look through.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import dagster as dg

from ingestion import index
from orchestration import samples, slow
from orchestration.cycle import Installation
from orchestration.freshness import STATES, Freshness, Report, evaluate
from orchestration.installation import Larder
from orchestration.specs import Graph
from sharding.errors import LarderError
from sharding.settings import get_settings

FRESH = "fresh"
LATE = "late businesses"
QUICK = "requests_as_quick_as_expected"
READERS = dg.AssetKey(["readers"])
EVERY = 60
AGAIN = 3600.0
"""Seconds after which what has not changed is told once more."""
TOLD = 200
"""Late sources that are told one by one, of all vendors together."""


def readers_asset(graph: Graph) -> dg.AssetSpec:
    """What BI tools, businesses' roles and Larder's own parts ask of the shards."""
    marts = [key for key in graph.models if key.path[0] == "bi"]
    return dg.AssetSpec(READERS, deps=marts, group_name="readers", kinds={"postgres"},
                        description="Requests to the shards, by reader: larder slow.")  # fmt: skip


def watch_checks(graph: Graph) -> list[dg.AssetChecksDefinition]:
    """The checks, to be run by hand too."""
    vendors = {str(spec.key.path[-1]): spec.key for spec in graph.external}
    specs = [
        dg.AssetCheckSpec(FRESH, asset=key, description="No source's data are older than their objective allows.")
        for key in vendors.values()
    ]
    about = "No reader's requests take longer than the limit, or much longer than they did."
    specs.append(dg.AssetCheckSpec(QUICK, asset=READERS, description=about))

    @dg.multi_asset_check(name="watch", specs=specs, can_subset=True)
    def look(
        context: dg.AssetCheckExecutionContext, larder: dg.ResourceParam[Larder]
    ) -> Iterator[dg.AssetCheckEvaluation]:
        wanted = context.selected_asset_check_keys
        for found in evaluations(larder.open(), vendors):
            if found.asset_check_key in wanted:
                yield found

    return [look]


def watch_sensor(graph: Graph) -> dg.SensorDefinition:
    """Once a minute: look at the shards, and tell what is late or slow."""
    vendors = {str(spec.key.path[-1]): spec.key for spec in graph.external}

    @dg.sensor(
        name="watch",
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Freshness against objectives, and slow requests, as checks of vendors and readers. No run.",
    )
    def watch(context: dg.SensorEvaluationContext, larder: dg.ResourceParam[Larder]) -> dg.SensorResult | dg.SkipReason:
        try:
            at = larder.open()
        except LarderError as error:
            return dg.SkipReason(f"{error.cause}; next: {error.next_command}")
        samples.take(at.catalogue)
        told: dict[str, list[Any]] = json.loads(context.cursor or "{}")
        found = list(news(evaluations(at, vendors), told, time.time()))
        return dg.SensorResult(asset_events=found, cursor=json.dumps(told))

    return watch


def news(
    found: Iterable[dg.AssetCheckEvaluation], told: dict[str, list[Any]], now: float
) -> Iterator[dg.AssetCheckEvaluation]:
    """What differs from what was told (also who is late), or was told an hour ago. `told`: by check what and when;
    brought up to date."""
    for one in found:
        who = one.metadata.get(LATE)
        name, said = one.asset_check_key.to_user_string(), [one.passed, one.severity.value, who and str(who.value)]
        before = told.get(name)
        if before is None or before[:3] != said or now - before[3] >= AGAIN:
            told[name] = [*said, now]
            yield one


def evaluations(at: Installation, vendors: Mapping[str, dg.AssetKey]) -> Iterator[dg.AssetCheckEvaluation]:
    """The checks as they are now."""
    limit = get_settings().slow_request
    with closing(index.connect(at.catalogue.dsn)) as conn:
        report = evaluate(conn, at.clock(), worst=TOLD, late_only=True)
        longer = slow.findings(conn, limit)
    for integration, key in vendors.items():
        yield _freshness(key, report, integration)
    yield _requests(longer, limit)


def _freshness(key: dg.AssetKey, report: Report, integration: str) -> dg.AssetCheckEvaluation:
    counts = {count.state: count.sources for count in report.counts if count.integration == integration}
    late = [one for one in report.worst if one.integration == integration]
    number = counts.get("late", 0) + counts.get("very_late", 0)
    total = sum(counts.values())
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=FRESH,
        passed=not number,
        # Late: the next cycle may mend it. Much later than that: it did not.
        severity=dg.AssetCheckSeverity.ERROR if counts.get("very_late") else dg.AssetCheckSeverity.WARN,
        description=f"{number} of {total} sources are late: {_names(late)}"
        if number
        else f"{total} sources, none late",
        metadata={
            **{state.replace("_", " "): counts.get(state, 0) for state in STATES},
            **({LATE: _names(late, TOLD), "latest": _table(late)} if late else {}),
        },
    )


def _names(late: Sequence[Freshness], most: int = 5) -> str:
    """The businesses of late sources, by name."""
    names = sorted({one.business for one in late})
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _table(late: Sequence[Freshness]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {"business": one.business, "source": one.source, "shard": one.shard, "stream": one.stream or "",
                 "data_through": str(one.through or "never read to the end"), "age": str(one.age or ""),
                 "may_be": str(one.allowed or ""), "objective": str(one.objective)}
            )
            for one in late
        ]
    )  # fmt: skip


def _requests(longer: Sequence[slow.Reader], limit: float) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=READERS,
        check_name=QUICK,
        passed=not longer,
        severity=dg.AssetCheckSeverity.WARN,
        description=longer[0].said if longer else f"none over {limit:g} s, none much slower than it was",
        metadata={f"{one.business or one.reader} on {one.shard}": one.said for one in longer},
    )
