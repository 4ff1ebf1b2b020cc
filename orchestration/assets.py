"""The assets as Dagster runs them: one op over the whole graph, any subset of it, any number of shards.

One op and not one per step: a failed step keeps the next one from running, and one dead vendor or shard
would then hold up all others. The order, and who waits for whom, is the cycle's business.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent

from orchestration.alive import alive
from orchestration.cycle import Scope, cycle_events, due
from orchestration.emit import Output, outputs
from orchestration.events import Event, StepName
from orchestration.installation import Larder
from orchestration.notices.causes import Cause, Well
from orchestration.notices.telling import Run, say
from orchestration.results import GOOD
from orchestration.specs import Graph, receipts_check
from orchestration.transform import Choice, ShardBuild
from orchestration.translator import shards
from reconcile.reader import ReceiptError
from reconcile.run import Reconciliation
from reconcile.run import run as reconcile
from reconcile.told import differences
from sharding.model import INSPECTOR

SHOWN_DIFFERENCES = 20
AD_HOC = "__ASSET_JOB"  # the job of assets that a person materializes in the UI


def cycle_assets(graph: Graph) -> dg.AssetsDefinition:
    """The multi-asset of blocks, raw streams and models."""

    @dg.multi_asset(
        name="larder",
        specs=graph.assets,
        check_specs=graph.checks,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        allow_arbitrary_check_specs=True,
    )
    def cycle(context: dg.AssetExecutionContext, larder: dg.ResourceParam[Larder]) -> Iterator[Output]:
        at = larder.open()
        context.instance.add_dynamic_partitions(str(shards.name), [s.name for s in at.catalogue.shards()])
        asked = (
            frozenset(context.partition_keys) if context.has_partition_key_range or context.has_partition_key else None
        )
        ad_hoc = context.job_name == AD_HOC
        chosen = asked if asked is not None or ad_hoc else frozenset(due(at))
        scope = scope_of(graph, context.selected_asset_keys, chosen, force=ad_hoc)
        scope = replace(scope, within=None if ad_hoc else larder.within, run=Run(context.run.run_id, context.job_name))
        residents: dict[str, list[str]] = {}
        for business in at.catalogue.businesses():
            residents.setdefault(business.shard, []).append(business.display_name)
        ends: dict[str, ShardBuild] = {}  # of shards, by the last of their passes

        def heard(events: Iterator[Event]) -> Iterator[Event]:
            for event in events:
                larder.hear(event)
                if isinstance(event, ShardBuild):
                    context.log.info(f"{event.shard}: {event.state}, {event.reason}{_work(graph, event)}")
                    ends[event.shard] = event
                yield event

        with alive(at.catalogue.dsn, context.run.run_id), closing(cycle_events(at, scope, larder.watch)) as events:
            yield from outputs(graph, heard(events), residents)
        failed = [build for build in ends.values() if build.state == "failed"]
        if failed:
            if asked is None:
                _plan_failures(context, graph, failed)
            raise dg.Failure(
                "; ".join(f"{b.shard}: {b.reason}" for b in failed),
                metadata={b.shard: b.reason for b in failed},
                allow_retries=False,  # the next tick tries again
            )

    return cycle


def _work(graph: Graph, build: ShardBuild) -> str:
    """How many of the models a build changed, found unchanged, or had no reason to touch."""
    if build.result is None:
        return ""
    done = [n for n in build.result.models if n.unique_id in graph.key_of and n.status in GOOD and not n.skipped]
    changed = sum(1 for n in done if n.changed)
    skipped = len(graph.models) - len(done) - sum(1 for n in build.result.models if n.status not in GOOD)
    return (
        f": {changed} models changed, {len(done) - changed} came out the same, {skipped} skipped, nothing new for them"
    )


def scope_of(graph: Graph, keys: set[dg.AssetKey], chosen: frozenset[str] | None, force: bool) -> Scope:
    """What of the cycle a selection of assets means."""
    streams = {graph.streams[k] for k in keys if k in graph.streams}
    models = [graph.models[k] for k in keys if k in graph.models]
    steps: list[StepName] = []
    if any(step == "extract" for step, _, _ in streams):
        steps.append("extract")
    if any(step == "load" for step, _, _ in streams):
        steps.append("load")
    if models:
        steps.append("build")
    all_models = len(models) == len(graph.models)
    python = sorted(m.removeprefix("python.larder.") for m in models if m.startswith("python."))
    select = sorted(m.split(".")[-1] for m in models if not m.startswith("python."))
    choice = Choice(force=force) if all_models else Choice(select=tuple(select), python=tuple(python))
    all_streams = {(i, s) for _, i, s in graph.streams.values()}
    wanted = {(i, s) for _, i, s in streams}
    return Scope(
        steps=tuple(steps),
        shards=chosen,
        streams=None if wanted == all_streams else frozenset(wanted),
        force=force,
        choice=choice,
    )


def _plan_failures(context: dg.AssetExecutionContext, graph: Graph, failed: list[ShardBuild]) -> None:
    """Make a failed shard's models show as failed, and nothing else.

    A cycle's run names no partitions: Dagster marks every partition of a failed run that it named beforehand and that
    got no materialization, idle shards among them. So the failed ones are named here, just before the run fails.
    """
    for build in failed:
        done = {n.unique_id for n in (build.result.nodes if build.result else ()) if n.status in GOOD}
        for key in context.selected_asset_keys:
            if key in graph.models and graph.models[key] not in done:
                planned = AssetMaterializationPlannedData(key, partition=build.shard, partitions_subset=None)
                event = DagsterEvent.build_asset_materialization_planned_event(
                    context.job_name, context.op_execution_context.get_step_execution_context().step.key, planned
                )
                context.instance.report_dagster_event(event, context.run.run_id)


def reconcile_checks(graph: Graph) -> list[dg.AssetChecksDefinition]:
    """The reconciliation as an asset check of each shard; empty where there is no summary to hang it on."""
    spec = receipts_check(graph)
    if spec is None:
        return []

    @dg.multi_asset_check(name="receipts", specs=[spec])
    def reconcile_shards(
        context: dg.AssetCheckExecutionContext, larder: dg.ResourceParam[Larder]
    ) -> Iterator[dg.AssetCheckEvaluation]:
        at = larder.open()
        asked = set(context.partition_keys) if context.has_partition_key_range or context.has_partition_key else None
        for shard in at.catalogue.shards():
            if asked is not None and shard.name not in asked:
                continue
            results: list[Reconciliation] = []
            copies = at.store.remote.url if at.store.remote else ""
            untold: dict[str, str] = {}  # one business that cannot be read keeps no other from being compared
            for business in at.catalogue.businesses(shard.name):
                sources = at.catalogue.sources(business.name)
                try:
                    results.append(
                        reconcile(business.name, sources, shard.as_role(INSPECTOR), at.store.url, at.clock(), copies)
                    )
                except ReceiptError as error:
                    untold[business.name] = str(error)
            unequal = [r.business for r in results if not r.equal] + list(untold)
            say(at, [_cause(name) for name in unequal], _equal(results), context.run.run_id, send=False)
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=not unequal,
                partition=shard.name,
                description=f"{shard.name}: {'differs: ' + ', '.join(unequal) if unequal else 'equal to the cent'}",
                metadata={**{r.business: _said(r) for r in results}, **untold},
            )

    return [reconcile_shards]


def _cause(business: str) -> Cause:
    """Numbers that differ from their receipts; by how much is for the eyes of who may see them."""
    said = "blocks, raw, facts and summaries are not equal"
    return Cause(
        "reconcile",
        "our bug",
        "receipts",
        business,
        said,
        f"larder reconcile --business {business}",
        names=frozenset({business}),
    )


def _equal(results: Sequence[Reconciliation]) -> Well:
    return Well(others=frozenset(("reconcile", r.business) for r in results if r.equal))


def _said(result: Reconciliation) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.json(
        {
            **{
                s.source: {"blocks": s.blocks, "records": s.records, "compared": s.cells, "equal": s.equal}
                for s in result.sources
            },
            "differences": differences(result)[:SHOWN_DIFFERENCES],
        }
    )
