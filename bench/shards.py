"""Cycles of a shard with three vendors and of one with all: each pays for those that it has."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import yaml

from ingestion.registry import get
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.server import VENDORS
from ingestion.spec import OAuthRefreshAuth
from orchestration.cycle import Installation, Scope, run_cycle
from sharding import instances
from sharding.catalogue import Catalogue
from sharding.settings import Settings
from sharding.up import down, up

FEW = ("square", "sevenshifts", "meta_ads")
OBJECTS = """
select count(*) from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'v', 'm') and (n.nspname ~ '^raw_' or n.nspname in ('staging', 'intermediate', 'slices'))
"""


@dataclass(frozen=True)
class Shards:
    """One shard: its vendors, their tables and views below the marts, seconds of its builds (on the wall)."""

    vendors: int
    objects: int
    first: float
    later: float  # a morning of the same three vendors' trade
    idle: float


def measure_shards(home: Path) -> list[Shards]:
    """A first cycle, one that asks the same three vendors on both shards after a morning, and one with nothing new.

    Raises RuntimeError when a step of a cycle failed.
    """
    settings = Settings(home=home)
    served_by_all = sorted(file.parent.name for file in VENDORS.glob("*/source.yml"))
    try:
        catalogue = up(settings)
        served, clock = process.up(home), SandboxClock(home)
        since = (clock.now() - timedelta(days=7)).date().isoformat()
        kinds = {"shard_1": FEW, "shard_2": tuple(served_by_all)}
        for shard, vendors in kinds.items():
            catalogue.add_business(shard, shard, shard)
            for vendor in vendors:
                _connect(catalogue, shard, vendor, served.urls[vendor], since, home)
        at = Installation.of(settings, catalogue)
        few = frozenset((vendor, stream.name) for vendor in FEW for stream in get(vendor).streams)
        first = {shard: _build(at, shard, None) for shard in kinds}
        clock.advance(timedelta(hours=4))
        later = {shard: _build(at, shard, few) for shard in kinds}
        idle = {shard: _build(at, shard, frozenset()) for shard in kinds}
        return [
            Shards(len(kinds[name]), _objects(catalogue, name), first[name], later[name], idle[name]) for name in kinds
        ]
    finally:
        process.down(home)
        down(settings)
        for name in instances.known(settings):
            instances.remove(name, settings)


def _connect(catalogue: Catalogue, business: str, vendor: str, url: str, since: str, home: Path) -> None:
    told = yaml.safe_load((VENDORS / vendor / "source.yml").read_text())
    secret = home / "secrets" / f"{business}.{vendor}.json"
    secret.write_text(json.dumps(told["secret"]))
    secret.chmod(0o600)
    config = {**told["config"], "base_url": url, "since": since}
    match get(vendor).auth:
        case OAuthRefreshAuth(url=told_url):
            config["token_url"] = f"{url}{urlsplit(told_url).path}"
    catalogue.add_source(business, vendor, vendor, config, f"file:secrets/{secret.name}")


def _build(at: Installation, shard: str, streams: frozenset[tuple[str, str]] | None) -> float:
    """A cycle of one shard, of some streams or of all; seconds of its build."""
    report = run_cycle(at, Scope(shards=frozenset({shard}), streams=streams, force=streams is None))
    for who, failure in report.failures:
        raise RuntimeError(f"{who}: {failure.cause}; next: {failure.next_command}")
    return sum(cost.wall_seconds for cost in report.costs if cost.step == "build")


def _objects(catalogue: Catalogue, name: str) -> int:
    with closing(psycopg2.connect(catalogue.shard(name).dsn)) as conn, conn.cursor() as cur:
        cur.execute(OBJECTS)
        ((count,),) = cur.fetchall()
        return int(count)


def rows(shards: Sequence[Shards]) -> list[dict[str, object]]:
    """As a table."""
    return [
        {
            "vendors on the shard": one.vendors,
            "tables and views below the marts": one.objects,
            "first build s": round(one.first, 1),
            "a morning later s": round(one.later, 2),
            "nothing new s": round(one.idle, 2),
        }
        for one in shards
    ]
