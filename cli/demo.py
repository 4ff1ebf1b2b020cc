"""larder demo: from nothing to a report, on sandbox vendors; again, it does only what is new."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
import yaml
from psycopg2.extensions import connection as Connection

from cli.context import get_context
from cli.output import EXIT_CODES, Output
from cli.reconcile import all_businesses, show
from cli.report import report_week
from cli.report_cycle import print_report, watched
from ingestion.registry import get
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.spec import OAuthRefreshAuth
from orchestration.cycle import Installation
from orchestration.events import CycleReport
from orchestration.record import record_cycle
from sharding import maps
from sharding import up as installation
from sharding.catalogue import Catalogue
from sharding.credentials import write_secret
from sharding.router import Router

DEMO = Path(__file__).with_name("demo.yml")
DECIDED_BY = "demo"

NEXT = """
What to try next (after: source .venv/bin/activate)
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
    out.say("Businesses")
    for wanted in definition:
        connect(catalogue, wanted, served.urls, context.settings.home)
        decide_maps(catalogue, wanted)
        sources = ", ".join(source["name"] for source in wanted["sources"])
        out.say(f"  {wanted['display_name']}: business {wanted['number']} on {wanted['shard']}; {sources}")
    out.say("Cycle: extract, load, build what is due, as a run of Dagster's")
    at = Installation.of(context.settings, catalogue)
    with watched(out) as watch:
        report = record_cycle(at, context.settings, watch)
    out.say("")
    print_report(report, out)
    out.say("")
    equal = _reconciled(out)
    out.say("")
    report_week(out)
    out.say(NEXT)
    _exit(report, equal)


def connect(catalogue: Catalogue, wanted: dict[str, Any], urls: dict[str, str], home: Path) -> None:
    """A business and its sources, as far as they are not there; the vendors' current addresses."""
    name = wanted["name"]
    if name not in {business.name for business in catalogue.businesses()}:
        currency = wanted.get("currency", "USD")
        catalogue.add_business(
            name, wanted["display_name"], wanted["shard"], reporting_currency=currency, business=wanted["number"]
        )
    connected = {source.name: source for source in catalogue.sources(business=name)}
    for source in wanted["sources"]:
        config = {**source.get("config", {}), **_addresses(source["integration"], urls)}
        present = connected.get(source["name"])
        if present is None:
            secret = f"secrets/{name}.{source['name']}.json"
            write_secret(home / secret, json_text.dumps(source["secret"]))
            catalogue.add_source(name, source["integration"], source["name"], config, f"file:{secret}")
        elif dict(present.config) != config:
            catalogue.set_source_config(present.id, config)


def _addresses(integration: str, urls: dict[str, str]) -> dict[str, str]:
    """Where the sandbox serves a vendor: its API and, at the vendor's own path, where it gives tokens out."""
    addresses = {"base_url": urls[integration]}
    auth = get(integration).auth
    if isinstance(auth, OAuthRefreshAuth):
        addresses["token_url"] = urls[integration] + urlsplit(auth.url).path
    return addresses


def decide_maps(catalogue: Catalogue, wanted: dict[str, Any]) -> None:
    """The business's own locations and which vendors' sites and campaigns are theirs; once, before the first record."""
    router = Router(catalogue)
    business = catalogue.business(wanted["name"])
    shard = router.shard_of(business.id)
    sources = {source.name: source.id for source in catalogue.sources(business=business.id)}

    def decide(connection: Connection) -> None:
        if maps.list_settings(connection, shard, business.id):
            return
        for name, things in wanted["locations"].items():
            with connection.cursor() as cursor:
                location = maps.add_target(cursor, shard, "location", business.id, name)
                found: list[tuple[maps.Entity, int]] = []
                for entity, references in things.items():
                    for reference in references:
                        source, _, key = reference.partition(":")
                        found.append((entity, maps.expect_thing(cursor, shard, entity, sources[source], key)))
            for entity, thing in found:
                maps.set_map(connection, shard, entity, thing, location, DECIDED_BY)

    router.run(business.id, decide)


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
