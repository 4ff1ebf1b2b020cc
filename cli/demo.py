"""larder demo: from nothing to a report, on sandbox vendors; again, it does only what is new."""

from __future__ import annotations

import json as json_text
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
import yaml

from cli.context import get_context
from cli.output import EXIT_CODES, Output
from cli.reconcile import all_businesses, show
from cli.report import report_week
from cli.report_cycle import print_report, watched
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from orchestration.cycle import Installation, Scope, run_cycle
from orchestration.events import CycleReport
from orchestration.transform import Choice
from sharding import maps
from sharding import up as installation
from sharding.catalogue import Catalogue
from sharding.credentials import write_secret
from sharding.errors import LarderError

DEMO = Path(__file__).with_name("demo.yml")
DECIDED_BY = "demo"

NEXT = """
What to try next
  larder sandbox advance 1d && make demo    the vendors trade on: refunds, edits, corrections, restated spend
  larder report --business jaffle_shop      the week of one business
  larder reconcile --date 2024-04-01        every amount of a day, from the receipts
  larder sql "select * from bi.sum_location_day order by business_date desc limit 5"
  larder blocks list                        what was received, block by block
  larder map list location                  which vendor's site is which location
  make dagster                              lineage, partitions, checks, on http://127.0.0.1:3000
  make clean                                stop it all and remove its data
"""


def demo() -> None:
    """From nothing to a report: databases, sandbox vendors, extract, load, transform, reconcile."""
    context, out = get_context(), Output()
    definition = yaml.safe_load(DEMO.read_text())["businesses"]
    out.say("Databases")
    catalogue = installation.up(context.settings, lambda line: out.say(f"  {line}"))
    out.say("Sandbox vendors")
    served = process.up(context.settings.home)
    for vendor, url in served.urls.items():
        out.say(f"  {vendor}: {url}")
    now = SandboxClock(context.settings.home).now()
    out.say(f"  it is {now:%A %Y-%m-%d %H:%M} UTC there")
    connect(catalogue, definition, served.urls, context.settings.home, out)

    at = Installation.of(context.settings, catalogue)
    with watched(out) as watch:
        received = run_cycle(at, Scope(steps=("extract", "load")), watch)
        decide_maps(at, catalogue, definition, out)
        built = run_cycle(at, Scope(steps=("build",)), watch)
    report = replace(received, builds=built.builds, costs=(*received.costs, *built.costs))
    out.say("")
    print_report(report, out)
    out.say("")
    equal = _reconciled(out)
    out.say("")
    report_week(out)
    out.say(NEXT)
    _exit(report, equal)


def connect(
    catalogue: Catalogue, definition: list[dict[str, Any]], urls: dict[str, str], home: Path, out: Output
) -> None:
    """Businesses and their sources, as far as they are not there; the vendors' current addresses."""
    known = {business.name for business in catalogue.businesses()}
    for wanted in definition:
        if wanted["name"] not in known:
            catalogue.add_business(wanted["name"], wanted["display_name"], wanted["shard"], business=wanted["number"])
            out.say(f"  {wanted['display_name']}: business {wanted['number']} on {wanted['shard']}")
        connected = {source.name: source for source in catalogue.sources(business=wanted["name"])}
        for source in wanted["sources"]:
            config = {**source.get("config", {}), "base_url": urls[source["integration"]]}
            present = connected.get(source["name"])
            if present is None:
                secret = f"secrets/{wanted['name']}.{source['name']}.json"
                write_secret(home / secret, json_text.dumps(source["secret"]))
                catalogue.add_source(wanted["name"], source["integration"], source["name"], config, f"file:{secret}")
            elif dict(present.config) != config:
                catalogue.set_source_config(present.id, config)


def decide_maps(at: Installation, catalogue: Catalogue, definition: list[dict[str, Any]], out: Output) -> None:
    """Map the vendors' sites and campaigns as the demo has it, once they have been seen and are not yet mapped."""
    from sharding.router import Router

    router = Router(catalogue)
    for wanted in definition:
        business = catalogue.business(wanted["name"])
        shard = router.shard_of(business.id)

        def open_maps(business_id: int = business.id, shard: Any = shard, wanted: Any = wanted) -> list[dict[str, str]]:
            with router.pinned(business_id) as connection:
                decided = {
                    f"{row.source}:{row.natural_key}"
                    for entity in {m["entity"] for m in wanted["maps"]}
                    for row in maps.list_map(connection, shard, entity, business_id)
                    if row.decided_by == DECIDED_BY
                }
            return [m for m in wanted["maps"] if m["thing"] not in decided]

        todo = open_maps()
        if not todo:
            continue
        # Sites and campaigns get their ids before the facts do, so that the facts are built once.
        keys = Choice(select=("+keys_location_map", "+keys_source_campaign"), tests=False)
        run_cycle(at, Scope(steps=("build",), shards=frozenset({shard.name}), choice=keys))

        def decide(connection: Any, business_id: int = business.id, shard: Any = shard, todo: Any = todo) -> int:
            done = 0
            for row in todo:
                with connection.cursor() as cursor:
                    try:
                        thing = maps.find_thing(cursor, shard, row["entity"], business_id, row["thing"])
                        target = maps.find_target(cursor, shard, row["entity"], business_id, row["target"])
                    except LarderError as error:  # a vendor that fails is reported below, and mapped the next time
                        out.say(f"  not mapped yet: {error.cause}")
                        continue
                maps.set_map(connection, shard, row["entity"], thing, target, DECIDED_BY)
                done += 1
            return done

        mapped = router.run(business.id, decide)
        out.say(f"  {business.display_name}: {mapped} sites and campaigns mapped to its own locations")


def _reconciled(out: Output) -> bool:
    results = all_businesses()
    for result in results:
        show(result, out)
    return all(result.equal for result in results)


def _exit(report: CycleReport, equal: bool) -> None:
    codes = [EXIT_CODES.get(failure.turn, 1) for _, failure in report.failures]
    if not equal:
        codes.append(EXIT_CODES["data"])
    if codes:
        raise typer.Exit(max(codes))
